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
use crate::trace::Numa;
use crate::trace::reasons::NodeChoice;
use crate::vmstat::NumaStat;

/// Where a request should go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The node to be near to.
    pub node: NodeId,
    /// The nodes that it may use; `None` for all.
    pub nodes: Option<NodeMask>,
    /// What chose the node.
    pub choice: NodeChoice,
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
    let near = |choice| Place { node: memory.near_node(), nodes: None, choice };
    if current.context().in_interrupt() {
        return near(NodeChoice::Interrupt);
    }
    if gfp.contains(Gfp::__GFP_THISNODE) {
        return near(NodeChoice::ThisNode);
    }
    match current.task.placement.policy() {
        Mempolicy::Default => near(NodeChoice::Default),
        Mempolicy::Preferred(node) => Place { node, ..near(NodeChoice::Preferred) },
        Mempolicy::Bind(nodes) if !applies_to(memory, nodes, gfp) => near(NodeChoice::BindLowZone),
        Mempolicy::Bind(nodes) if !nodes.intersects(current.task.mems_allowed()) => near(NodeChoice::BindOutsideCpuset),
        Mempolicy::Bind(nodes) => Place { nodes: Some(nodes), ..near(NodeChoice::Bind) },
        Mempolicy::Interleave(nodes) => {
            let node = match turn {
                Turn::Next => current.task.placement.interleave(nodes),
                Turn::Place(number) => nodes.iter().nth((number % u64::from(nodes.count().max(1))) as usize),
            };
            node.map_or_else(|| near(NodeChoice::Default), |node| Place { node, ..near(NodeChoice::Interleave) })
        }
    }
}

/// Tells where a request should go and why, where there is a choice.
pub(super) fn trace_place<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, place: Place, turn: Turn) {
    if memory.nr_online_nodes() == 1 && !memory.has(Hook::Mempolicy) {
        return;
    }
    let by_place = |turn| if let Turn::Place(vpn) = turn { Some(vpn) } else { None };
    memory.trace(current, || Numa::PolicyAsked {
        choice: place.choice,
        nodes: current.task.placement.policy().nodes(),
        node: place.node,
        vpn: by_place(turn).filter(|_| place.choice == NodeChoice::Interleave),
    });
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
    if place.choice == NodeChoice::Interleave && zone.node == place.node && !memory.has(Hook::NumaStatOff) {
        let pin = memory.pin();
        zone.pageset(pin.cpu()).count_numa(NumaStat::NumaInterleave, 1);
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
