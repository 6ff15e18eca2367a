//! `cpuset`: sets of nodes that tasks are confined to.
//!
//! Linux: the files of /dev/cpuset, a directory for each.

use core::fmt::Write as _;

use kernel::mm::cpuset::{self, CpusetError};
use kernel::mm::memory::Memory;
use kernel::mmzone::NodeMask;
use kernel::proc::json::Quoted;

use super::task;
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// `cpuset new NAME NODES`
pub const fn new<M: Machine>() -> Command<M> {
    Command {
        name: "cpuset new",
        summary: "make a cpuset of some nodes",
        help: "\
NODES is a list such as 0-1,3. Tasks in the cpuset get their memory from these
nodes: whatever has __GFP_HARDWALL (GFP_USER and its kin) from nowhere else,
the kernel's own memory only as long as it lasts; see cpuset hardwall.
Linux: mkdir /dev/cpuset/NAME, and cpuset.mems.",
        args: &[Arg::One("NAME", Kind::Text), Arg::One("NODES", Kind::Text)],
        examples: &["cpuset new near 0; cpuset attach near sh; cpuset ls"],
        run: run_new,
    }
}

/// `cpuset mems NAME NODES`
pub const fn mems<M: Machine>() -> Command<M> {
    Command {
        name: "cpuset mems",
        summary: "give a cpuset other nodes",
        help: "\
Every task in it may use them at once, and its memory policy moves along. A
request that is under way and about to fail begins again: setting the nodes
that it has already is enough for that.
Linux: cpuset.mems, check_retry_cpuset.",
        args: &[Arg::One("NAME", Kind::Text), Arg::One("NODES", Kind::Text)],
        examples: &["cpuset new near 0; cpuset mems near 0"],
        run: run_mems,
    }
}

/// `cpuset hardwall NAME on|off`
pub const fn hardwall<M: Machine>() -> Command<M> {
    Command {
        name: "cpuset hardwall",
        summary: "confine the kernel's memory to a cpuset, too",
        help: "\
off: a request without __GFP_HARDWALL, such as GFP_KERNEL, may take from every
node once those of the cpuset have nothing left. on: it may not. Interrupts
and victims of the OOM killer may anyway, and GFP_ATOMIC is not asked.
Linux: cpuset.mem_hardwall, __cpuset_node_allowed.",
        args: &[Arg::One("NAME", Kind::Text), Arg::One("SWITCH", Kind::Choice(&["on", "off"]))],
        examples: &["cpuset new near 0; cpuset hardwall near on; cpuset ls"],
        run: |call| run_switch(call, cpuset::set_hardwall),
    }
}

/// `cpuset exclusive NAME on|off`
pub const fn exclusive<M: Machine>() -> Command<M> {
    Command {
        name: "cpuset exclusive",
        summary: "let no other cpuset have a node of this one",
        help: "\
An exclusive cpuset is hardwalled, too.
Linux: cpuset.mem_exclusive.",
        args: &[Arg::One("NAME", Kind::Text), Arg::One("SWITCH", Kind::Choice(&["on", "off"]))],
        examples: &["cpuset new near 0; cpuset exclusive near on; cpuset ls"],
        run: |call| run_switch(call, cpuset::set_exclusive),
    }
}

/// `cpuset attach NAME TASK`
pub const fn attach<M: Machine>() -> Command<M> {
    Command {
        name: "cpuset attach",
        summary: "take a task into a cpuset",
        help: "\
It leaves the one that it was in; / is the one with all nodes, in which every
task begins. /proc/PID/status shows Mems_allowed.
Linux: echo PID > /dev/cpuset/NAME/tasks.",
        args: &[Arg::One("NAME", Kind::Text), Arg::One("TASK", Kind::Task)],
        examples: &["cpuset new near 0; cpuset attach near sh; cat /proc/1/status"],
        run: run_attach,
    }
}

/// `cpuset ls`
pub const fn list<M: Machine>() -> Command<M> {
    Command {
        name: "cpuset ls",
        summary: "list the cpusets",
        help: "\
NODES of the first, /, are all that have memory.",
        args: &[Arg::Flag("--json")],
        examples: &["cpuset ls", "cpuset ls --json"],
        run: run_list,
    }
}

/// `cpuset destroy NAME`
pub const fn destroy<M: Machine>() -> Command<M> {
    Command {
        name: "cpuset destroy",
        summary: "remove a cpuset that nobody is in",
        help: "\
Linux: rmdir /dev/cpuset/NAME.",
        args: &[Arg::One("NAME", Kind::Text)],
        examples: &["cpuset new near 0; cpuset destroy near"],
        run: run_destroy,
    }
}

/// Prints what the kernel said about a cpuset.
fn answer<'a, M: Machine>(call: &mut Call<'_, 'a, M>, result: Result<(), CpusetError>) -> Outcome<'a> {
    let Err(error) = result else { return Ok(Status::DONE) };
    writeln!(call, "cpuset: {error}")?;
    Ok(match error {
        CpusetError::Full | CpusetError::Busy(_) | CpusetError::Exclusive(_) => Status::REFUSED,
        _ => Status::USAGE,
    })
}

/// The number of the cpuset called `name`.
fn find<'a, M: Machine>(call: &Call<'_, 'a, M>, name: &'a str) -> Result<u8, Trouble<'a>> {
    let sets = &call.shell.machine.memory().cpusets;
    let names = || sets.iter().map(|(_, set)| set.name());
    sets.find(name).ok_or_else(|| {
        let mut search = value::Search::new(name);
        names().for_each(|name| search.offer(name.as_str()));
        value::ValueError::Unknown { what: "cpuset", word: name, nearest: search.nearest() }.into()
    })
}

fn run_new<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let (name, nodes) = (call.args.must(0), value::nodes(call.args.must(1))?);
    let made = cpuset::create(call.shell.machine.memory(), name, nodes).map(|_| ());
    answer(call, made)
}

fn run_mems<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let (set, nodes) = (find(call, call.args.must(0))?, value::nodes(call.args.must(1))?);
    let changed = cpuset::set_mems(call.shell.machine.memory(), set, nodes);
    answer(call, changed)
}

/// Switches something about a cpuset on or off.
type Switch<E> = fn(&Memory<'static, E>, u8, bool) -> Result<(), CpusetError>;

fn run_switch<'a, M: Machine>(call: &mut Call<'_, 'a, M>, switch: Switch<M::Env>) -> Outcome<'a> {
    let set = find(call, call.args.must(0))?;
    let on = value::one_of("switch", call.args.must(1), [("on", true), ("off", false)].into_iter())?;
    let switched = switch(call.shell.machine.memory(), set, on);
    answer(call, switched)
}

fn run_attach<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let (set, task) = (find(call, call.args.must(0))?, task::find(call, call.args.must(1))?);
    cpuset::attach(call.shell.machine.memory(), set, task);
    Ok(Status::DONE)
}

fn run_list<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let memory = call.shell.machine.memory();
    if !call.json() {
        writeln!(call, "CPUSET          NODES    TASKS FLAGS")?;
    }
    for (id, set) in memory.cpusets.iter() {
        let (name, mems) = (set.name(), set.mems().and(memory.nodes_with_memory()));
        let (tasks, hardwall, exclusive) = (cpuset::members(memory, id).count(), set.is_hardwall(), set.is_exclusive());
        if call.json() {
            write!(call, r#"{{"cpuset":{},"nodes":"{mems}","tasks":{tasks},"#, Quoted(name.as_str()))?;
            writeln!(call, r#""hardwall":{hardwall},"exclusive":{exclusive}}}"#)?;
        } else {
            let flags = [(hardwall, " hardwall"), (exclusive, " exclusive")];
            write!(call, "{name:<15} {:<8} {tasks:>5}", Padded(mems))?;
            flags.iter().filter(|(on, _)| *on).try_for_each(|(_, text)| call.write_str(text))?;
            writeln!(call)?;
        }
    }
    Ok(Status::DONE)
}

fn run_destroy<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let set = find(call, call.args.must(0))?;
    let removed = cpuset::remove(call.shell.machine.memory(), set);
    answer(call, removed)
}

/// Nodes in a column.
struct Padded(NodeMask);

impl core::fmt::Display for Padded {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(&alloc::format!("{}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use crate::exec::Shell;
    use crate::host::HostMachine;
    use crate::testing::{assert_prints, check, run};

    fn two_nodes() -> Shell<HostMachine> {
        Shell::new(HostMachine::new("", &[(0x4000_0000, 64 << 20, 0), (0x4400_0000, 64 << 20, 1)], &[]))
    }

    #[test]
    fn a_task_gets_its_memory_from_its_cpuset() {
        let mut shell = two_nodes();
        run(&mut shell, "cpuset new far 1; cpuset attach far sh; cpuset hardwall far on");
        let list = "CPUSET          NODES    TASKS FLAGS\n/               0-1      [..] exclusive\nfar             1            1 hardwall";
        assert_prints(&run(&mut shell, "cpuset ls"), list);
        assert!(run(&mut shell, "cat /proc/1/status").contains("\nMems_allowed:\t2\nMems_allowed_list:\t1\n"));
        assert_prints(&run(&mut shell, "alloc GFP_USER --json"), r#"{"handle":1,[..],"node":1,[..]}"#);
        let busy = "cpuset: there are tasks in it: 1; attach them to another first\n1";
        assert_prints(&run(&mut shell, "cpuset destroy far; echo $?"), busy);
        assert_prints(
            &run(&mut shell, "cpuset attach / sh; cpuset destroy far; cpuset ls --json"),
            "{\"cpuset\":\"/\",[..]",
        );
    }

    #[test]
    fn bad_words_change_nothing() {
        check("cpuset new a 1; echo $?", "cpuset: nodes `1` must be some of 0\n2");
        check("cpuset new a 9", "cpuset new: `9` is not a list of nodes, as 0-1,3 is");
        check("cpuset new a/b 0; echo $?", "cpuset: a cpuset's name has 1 to 15 [..]\n2");
        check("cpuset attach x sh", "cpuset attach: no cpuset `x`[..]");
        check("cpuset mems / 0; echo $?", "cpuset: the root has all nodes, and stays\n2");
        check("cpuset new a 0; cpuset exclusive a on; cpuset new b 0; echo $?", "cpuset: cpuset a has [..]\n1");
    }
}
