//! From which nodes a task gets its memory, when it may choose.
//!
//! [`place`] turns the policy of a task into what the page allocator understands: a node to be near to, and a nodemask.
//! `alloc_pages` asks it while some task has a policy ([`Hook::Mempolicy`]); requests that name a node themselves
//! (`alloc_pages_node`), that want just their own (`__GFP_THISNODE`), or come from an interrupt do not. Neighbours:
//! [`crate::task::Mempolicy`] is the policy; [`super::cpuset`] says what a task may do at all. Linux: `mm/mempolicy.c`,
//! `alloc_pages_current`.
//!
//! Linux does more: parts of an address space may have policies of their own, and pages can be moved to obey a new one.

use super::memory::{Env, Hook, Memory};
use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::mmzone::{NodeId, NodeMask, ZoneType};
use crate::task::{Current, Mempolicy, PolicyError, Task};
use crate::vmstat::NumaStat;

/// Where a request should go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The node to be near to.
    pub node: NodeId,
    /// The nodes that it may use; `None` for all.
    pub nodes: Option<NodeMask>,
    /// Whether it was the node's turn.
    pub interleaved: bool,
}

/// How nodes take turns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// One request after the other. Linux: `interleave_nodes`.
    Next,
    /// By the page's number among the task's own. Linux: `offset_il_node`.
    Place(u64),
}

/// Gives a task a policy, about those of its nodes that it may use and that have memory.
///
/// # Errors
///
/// When there is none of them; the task keeps the policy that it has. Linux: `set_mempolicy`.
pub fn set_mempolicy<E: Env>(memory: &Memory<'_, E>, task: &Task, policy: Mempolicy) -> Result<(), PolicyError> {
    let usable = task.mems_allowed().and(memory.nodes_with_memory());
    task.placement.set_policy(policy.within(usable)?);
    let chosen = memory.env.tasks().iter().any(|task| task.placement.policy() != Mempolicy::Default);
    memory.set_hook(Hook::Mempolicy, chosen);
    Ok(())
}

/// Where a request of `current` should go. Linux: `get_task_policy`, `policy_node`, `policy_nodemask`.
pub(super) fn place<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, gfp: Gfp, turn: Turn) -> Place {
    let local = Place { node: memory.near_node(), nodes: None, interleaved: false };
    if current.context().in_interrupt() || gfp.contains(Gfp::__GFP_THISNODE) {
        return local;
    }
    match current.task.placement.policy() {
        Mempolicy::Default => local,
        Mempolicy::Preferred(node) => Place { node, ..local },
        Mempolicy::Bind(nodes) => {
            let binds = applies_to(memory, nodes, gfp) && nodes.intersects(current.task.mems_allowed());
            Place { nodes: binds.then_some(nodes), ..local }
        }
        Mempolicy::Interleave(nodes) => {
            let node = match turn {
                Turn::Next => current.task.placement.interleave(nodes),
                Turn::Place(number) => nodes.iter().nth((number % u64::from(nodes.count().max(1))) as usize),
            };
            node.map_or(local, |node| Place { node, interleaved: true, ..local })
        }
    }
}

/// Whether a request with `gfp` is bound to `nodes`: not when it needs a zone below those that policies are about, for
/// the nodes may have none such. Linux: `apply_policy_zone`, `policy_zone`.
fn applies_to<E: Env>(memory: &Memory<'_, E>, nodes: NodeMask, gfp: Gfp) -> bool {
    let fixed = || memory.populated_zones().filter(|zone| zone.zone_type != ZoneType::Movable);
    let policy_zone = if fixed().any(|zone| nodes.contains(zone.node)) {
        fixed().map(|zone| zone.index).max().unwrap_or(0)
    } else {
        memory.zone_table.zone(Gfp::GFP_HIGHUSER_MOVABLE)
    };
    memory.zone_table.zone(gfp) >= policy_zone
}

/// Counts a page that came from the node whose turn it was. Linux: `alloc_page_interleave`.
pub(super) fn count_interleaved<E: Env>(memory: &Memory<'_, E>, place: Place, pfn: Pfn) {
    let zone = memory.zone(memory.pages.at(memory.pages.index(pfn)).state().zone());
    if place.interleaved && zone.node == place.node && !memory.has(Hook::NumaStatOff) {
        let pin = memory.pin();
        zone.pageset(pin.cpu()).count_numa(NumaStat::NumaInterleave);
    }
}

/// Whether the task may have memory of `nodes`, of which a bound request ran out: whether its death could help. Linux:
/// `mempolicy_nodemask_intersects`.
pub(super) fn may_have_memory_of(task: &Task, nodes: NodeMask) -> bool {
    match task.placement.policy() {
        Mempolicy::Default | Mempolicy::Preferred(_) => true,
        Mempolicy::Bind(own) | Mempolicy::Interleave(own) => own.intersects(nodes),
    }
}
