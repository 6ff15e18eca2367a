//! `task policy`: from which nodes a task gets its memory.

use core::fmt::Write as _;

use kernel::mm::mempolicy;
use kernel::mmzone::NodeId;
use kernel::task::Mempolicy;

use super::task;
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// The modes. Linux: `MPOL_*`.
const MODES: &[&str] = &["default", "preferred", "bind", "interleave"];

/// `task policy NAME [MODE] [NODES]`
pub const fn policy<M: Machine>() -> Command<M> {
    Command {
        name: "task policy",
        summary: "set or show from which nodes a task gets its memory",
        help: "\
default: near its CPU. preferred N: near node N, but any will do. bind NODES:
from these or not at all, but in zones that not every node has, and for who
cannot wait (GFP_ATOMIC). interleave NODES: from each in turn; vmstat counts
numa_interleave. It does not apply to interrupts, __GFP_THISNODE, and alloc
--node. NODES is a list such as 0-1,3.
Linux: set_mempolicy, alloc_pages_current.",
        args: &[
            Arg::One("NAME", Kind::Task),
            Arg::Maybe("default|preferred|bind|interleave", Kind::Choice(MODES)),
            Arg::Maybe("NODES", Kind::Text),
        ],
        examples: &["task policy sh bind 0; alloc GFP_USER; task policy sh"],
        run,
    }
}

/// The policy that the words name.
fn parse<'a>(mode: &'a str, nodes: Option<&'a str>) -> Result<Mempolicy, Trouble<'a>> {
    match (mode, nodes) {
        ("default", None) => Ok(Mempolicy::Default),
        ("default", Some(_)) => Err(Trouble::Usage("default is about no nodes")),
        ("preferred", Some(word)) => {
            let nodes = value::nodes(word)?;
            let one = nodes.iter().next().filter(|_| nodes.count() == 1);
            one.map(|node: NodeId| Mempolicy::Preferred(node)).ok_or(Trouble::Usage("one node can be preferred"))
        }
        ("bind", Some(word)) => Ok(Mempolicy::Bind(value::nodes(word)?)),
        ("interleave", Some(word)) => Ok(Mempolicy::Interleave(value::nodes(word)?)),
        (_, None) if MODES.contains(&mode) => Err(Trouble::Usage("which nodes? task policy sh bind 0-1")),
        _ => Err(value::unknown("policy", mode, MODES.iter().copied()).into()),
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let task = task::find(call, call.args.must(0))?;
    if let Some(mode) = call.args.word(1) {
        let policy = parse(mode, call.args.word(2))?;
        if let Err(error) = mempolicy::set_mempolicy(call.shell.machine.memory(), task, policy) {
            writeln!(call, "task policy: {error}")?;
            return Ok(Status::USAGE);
        }
    }
    writeln!(call, "{}: {}", task.comm(), task.placement.policy())?;
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use crate::exec::Shell;
    use crate::host::HostMachine;
    use crate::testing::{check, run};

    #[test]
    fn nodes_take_turns() {
        let banks = [(0x4000_0000, 64 << 20, 0), (0x4400_0000, 64 << 20, 1)];
        let mut shell = Shell::new(HostMachine::new("", &banks, &[]));
        assert_eq!(run(&mut shell, "task policy sh interleave 0-1"), "sh: interleave:0-1\n");
        let nodes = run(&mut shell, "repeat 4 alloc GFP_USER --json");
        let nodes: Vec<bool> = nodes.lines().map(|line| line.contains("\"node\":1,")).collect();
        assert_eq!(nodes, [false, true, false, true]);
        assert_eq!(run(&mut shell, "task policy sh preferred 1; task policy sh"), "sh: prefer:1\nsh: prefer:1\n");
        assert!(run(&mut shell, "alloc GFP_USER --json").contains("\"node\":1,"));
        assert!(run(&mut shell, "alloc GFP_USER --node 0 --json").contains("\"node\":0,"));
    }

    #[test]
    fn bad_words_change_nothing() {
        check("task policy sh bind 1; echo $?", "task policy: the task may use nodes 0, none of 1\n2");
        check("task policy sh bind; task policy sh", "task policy: which nodes? [..]\nsh: default");
        check("task policy sh preferred 0-1", "task policy: one node can be preferred");
        check("task policy sh bnd 0", "task policy: no policy `bnd`; did you mean `bind`?");
    }
}
