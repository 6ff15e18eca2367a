//! Whose memory a task may use: the nodes of its cpuset.
//!
//! [`cpuset_allows`] answers for a request; it is only asked while there is another cpuset than the root
//! ([`Hook::Cpusets`], Linux: `cpusets_enabled`). [`create`], [`attach`] and their kin are what a person does in
//! /dev/cpuset. Whoever is in a cpuset whose nodes change has new ones at once, and requests that are under way and
//! about to fail notice ([`crate::task::Placement::mems_cookie`]). Neighbours: [`super::cpuset_state`] holds the
//! cpusets. Linux: `kernel/cgroup/cpuset.c`.
//!
//! Linux does more: cpusets form a tree, and pages may be moved when the nodes change (`memory_migrate`).

use core::fmt;

use super::memory::{Env, Hook, Memory};
use super::zone::Zone;
use crate::comm::{COMM_BYTES, Comm};
use crate::gfp::Gfp;
use crate::mmzone::NodeMask;
use crate::task::{Current, Task, TaskFlags};
use crate::trace::decision::Verdict;

/// The number of the first cpuset.
const ROOT: u8 = 0;

/// Whether the cpuset of `current` lets it use the zone's node. Linux: `__cpuset_zone_allowed`.
pub(super) fn cpuset_allows<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, gfp: Gfp) -> bool {
    barred(memory, current, zone, gfp).is_none()
}

/// Why the cpuset of `current` does not let it use the zone's node; `None` if it does.
#[cold]
#[inline(never)]
pub(super) fn barred<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, zone: &Zone, gfp: Gfp) -> Option<Verdict> {
    if current.context().in_interrupt()
        || current.task.mems_allowed().contains(zone.node)
        || current.task.is_oom_victim()
    {
        return None;
    }
    if gfp.contains(Gfp::__GFP_HARDWALL) {
        return Some(Verdict::Cpuset);
    }
    let within = || memory.cpusets.nearest_hardwall(current.task.placement.cpuset()).mems().contains(zone.node);
    let may = current.flags().contains(TaskFlags::PF_EXITING) || within();
    (!may).then_some(Verdict::Hardwall)
}

/// Makes a cpuset of the nodes `mems`, with nobody in it; its number. Linux: `cpuset_css_online`.
///
/// # Errors
///
/// When the name or the nodes will not do, or there are too many.
pub fn create<E: Env>(memory: &Memory<'_, E>, name: &str, mems: NodeMask) -> Result<u8, CpusetError> {
    if name.is_empty() || name.len() > COMM_BYTES || name.contains(|byte: char| !byte.is_ascii_graphic() || byte == '/')
    {
        return Err(CpusetError::Name);
    }
    if memory.cpusets.find(name).is_some() {
        return Err(CpusetError::NameTaken);
    }
    validate(memory, None, mems, false)?;
    let id = memory.cpusets.add(name, mems).ok_or(CpusetError::Full)?;
    memory.set_hook(Hook::Cpusets, true);
    Ok(id)
}

/// Gives the cpuset other nodes, and everybody in it. Linux: `update_nodemask`, `update_tasks_nodemask`.
///
/// # Errors
///
/// When it may not have them.
pub fn set_mems<E: Env>(memory: &Memory<'_, E>, id: u8, mems: NodeMask) -> Result<(), CpusetError> {
    let set = memory.cpusets.get(not_root(id)?);
    validate(memory, Some(id), mems, set.is_exclusive())?;
    set.set_mems(mems);
    members(memory, id).for_each(|task| task.placement.change_mems(mems));
    Ok(())
}

/// Lets no other cpuset have a node of this one, or again any. Linux: `cpuset.mem_exclusive`.
///
/// # Errors
///
/// When another one has one already.
pub fn set_exclusive<E: Env>(memory: &Memory<'_, E>, id: u8, on: bool) -> Result<(), CpusetError> {
    let set = memory.cpusets.get(not_root(id)?);
    validate(memory, Some(id), set.mems(), on)?;
    set.set_exclusive(on);
    Ok(())
}

/// Confines the memory that the kernel needs on behalf of those in the cpuset, too, or only their own. Linux:
/// `cpuset.mem_hardwall`.
///
/// # Errors
///
/// When it is the root, which has all nodes anyway.
pub fn set_hardwall<E: Env>(memory: &Memory<'_, E>, id: u8, on: bool) -> Result<(), CpusetError> {
    memory.cpusets.get(not_root(id)?).set_hardwall(on);
    Ok(())
}

/// Takes a task into a cpuset, from wherever it was. Linux: `cpuset_attach`.
pub fn attach<E: Env>(memory: &Memory<'_, E>, id: u8, task: &Task) {
    task.placement.enter_cpuset(id);
    task.placement.change_mems(memory.cpusets.get(id).mems());
}

/// Removes a cpuset that nobody is in.
///
/// # Errors
///
/// When somebody is, or it is the root. Linux: `cpuset_css_offline`.
pub fn remove<E: Env>(memory: &Memory<'_, E>, id: u8) -> Result<(), CpusetError> {
    let tasks = members(memory, not_root(id)?).count();
    if tasks > 0 {
        return Err(CpusetError::Busy(tasks));
    }
    memory.cpusets.remove(id);
    memory.set_hook(Hook::Cpusets, memory.cpusets.iter().count() > 1);
    Ok(())
}

/// The tasks in the cpuset.
pub fn members<'m, E: Env>(memory: &'m Memory<'_, E>, id: u8) -> impl Iterator<Item = &'m Task> {
    memory.env.tasks().iter().filter(move |task| task.placement.cpuset() == id)
}

fn not_root(id: u8) -> Result<u8, CpusetError> {
    if id == ROOT { Err(CpusetError::Root) } else { Ok(id) }
}

/// Whether cpuset `id`, or one to be made, may have the nodes `mems`, for itself alone if it is to be `exclusive`.
/// Linux: `validate_change`.
fn validate<E: Env>(
    memory: &Memory<'_, E>,
    id: Option<u8>,
    mems: NodeMask,
    exclusive: bool,
) -> Result<(), CpusetError> {
    let usable = memory.nodes_with_memory();
    if mems == NodeMask(0) || !usable.contains_all(mems) {
        return Err(CpusetError::Nodes { mems, usable });
    }
    let mut siblings = memory.cpusets.iter().filter(|(other, _)| *other != ROOT && Some(*other) != id);
    match siblings.find(|(_, set)| (exclusive || set.is_exclusive()) && set.mems().intersects(mems)) {
        Some((_, set)) => Err(CpusetError::Exclusive(set.name())),
        None => Ok(()),
    }
}

/// Why a cpuset could not be made, changed or removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CpusetError {
    /// No name for one.
    Name,
    /// There is one of that name.
    NameTaken,
    /// There are [`super::cpuset_state::MAX_CPUSETS`].
    Full,
    /// No nodes, or some that have no memory.
    Nodes {
        /// The nodes.
        mems: NodeMask,
        /// Those that would do.
        usable: NodeMask,
    },
    /// It would share nodes with this one, and one of the two is exclusive.
    Exclusive(Comm),
    /// So many tasks are in it.
    Busy(usize),
    /// The root stays as it is.
    Root,
}

impl fmt::Display for CpusetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CpusetError::Name => {
                write!(f, "a cpuset's name has 1 to {COMM_BYTES} characters, printable and without blank and /")
            }
            CpusetError::NameTaken => f.write_str("there is a cpuset of that name already"),
            CpusetError::Full => f.write_str("there are too many cpusets already; destroy one first"),
            CpusetError::Nodes { mems, usable } => write!(f, "nodes `{mems}` must be some of {usable}"),
            CpusetError::Exclusive(name) => {
                write!(f, "cpuset {name} has one of the nodes, and one of both is exclusive")
            }
            CpusetError::Busy(tasks) => write!(f, "there are tasks in it: {tasks}; attach them to another first"),
            CpusetError::Root => f.write_str("the root has all nodes, and stays"),
        }
    }
}
