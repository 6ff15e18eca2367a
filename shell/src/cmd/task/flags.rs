//! `task set`, `task pf`, `task scope`: the flags of a task, one by one and in scopes that nest.

use core::fmt::Write as _;

use kernel::task::{Task, TaskFlags};

use super::find;
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value::{self, ValueError};

/// `task set NAME +FLAG -FLAG ...`
pub const fn set<M: Machine>() -> Command<M> {
    Command {
        name: "task set",
        summary: "set (+) and clear (-) flags of a task",
        help: "\
PF_MEMALLOC opens all reserves, as it does for a task that makes room itself.
PF_MEMALLOC_NOIO and PF_MEMALLOC_NOFS take __GFP_IO and __GFP_FS out of every
mask on its way into the slow path.",
        args: &[Arg::One("NAME", Kind::Task), Arg::Many("+FLAG|-FLAG", Kind::TaskFlag)],
        examples: &["task new io; task set io +PF_MEMALLOC; task set io -PF_MEMALLOC"],
        run: run_set,
    }
}

/// `task pf NAME +FLAG -FLAG ...`
pub const fn pf<M: Machine>() -> Command<M> {
    Command {
        name: "task pf",
        summary: "task set, with short names",
        help: "\
The names are those of task set, in short: memalloc, noio, nofs, dumpcore,
exiting, lessthrottle and so on.",
        args: &[Arg::One("NAME", Kind::Task), Arg::Many("+FLAG|-FLAG", Kind::TaskFlag)],
        examples: &["task pf sh +memalloc; alloc GFP_NOWAIT; task pf sh -memalloc"],
        run: run_set,
    }
}

/// `task scope NAME push SCOPE`, `task scope NAME pop`
pub const fn scope<M: Machine>() -> Command<M> {
    Command {
        name: "task scope",
        summary: "take a task into a scope, or out of the innermost",
        help: "\
push noreclaim sets PF_MEMALLOC as memalloc_noreclaim_save does, noio and nofs
PF_MEMALLOC_NOIO and PF_MEMALLOC_NOFS. Scopes nest: pop puts the flag back to
what it was before the push, so an inner scope does not end an outer one.",
        args: &[
            Arg::One("NAME", Kind::Task),
            Arg::One("WHAT", Kind::Choice(&["push", "pop"])),
            Arg::Maybe("noio|nofs|noreclaim", Kind::Choice(&["noio", "nofs", "noreclaim"])),
        ],
        examples: &["task scope sh push nofs; alloc GFP_KERNEL; task scope sh pop"],
        run: run_scope,
    }
}

fn run_set<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let task = find(call, call.args.must(0))?;
    let (mut set, mut clear) = (TaskFlags::empty(), TaskFlags::empty());
    for word in call.args.words().skip(1) {
        let names = TaskFlags::all().iter_names().map(|(name, _)| name);
        let (target, name) = match (word.strip_prefix('+'), word.strip_prefix('-')) {
            (Some(name), _) => (&mut set, name),
            (_, Some(name)) => (&mut clear, name),
            _ => return Err(Trouble::Usage("a flag is set with + before its name and cleared with -")),
        };
        let flag = TaskFlags::by_name(name);
        *target |= flag.ok_or_else(|| -> ValueError<'a> { value::unknown("task flag", name, names) })?;
    }
    let daemon = TaskFlags::PF_KSWAPD | TaskFlags::PF_MEMALLOC;
    if task.flags().contains(TaskFlags::PF_KSWAPD) && clear.intersects(daemon) {
        return Err(Trouble::Usage("kswapd keeps PF_KSWAPD and PF_MEMALLOC: without them it would wait for itself"));
    }
    task.change_flags(set, clear);
    show_flags(call, task)
}

fn show_flags<'a, M: Machine>(call: &mut Call<'_, 'a, M>, task: &Task) -> Outcome<'a> {
    writeln!(call, "{}: {:#x}({})", task.comm(), task.flags().bits(), task.flags())?;
    Ok(Status::DONE)
}

/// The scopes by name. Linux: `memalloc_noio_save` and its kin.
const SCOPES: [(&str, TaskFlags); 3] = [
    ("noio", TaskFlags::PF_MEMALLOC_NOIO),
    ("nofs", TaskFlags::PF_MEMALLOC_NOFS),
    ("noreclaim", TaskFlags::PF_MEMALLOC),
];

fn run_scope<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let task = find(call, call.args.must(0))?;
    let push = value::one_of("such step", call.args.must(1), [("push", true), ("pop", false)].into_iter())?;
    let scopes = &mut call.shell.session.scopes;
    match (push, call.args.word(2)) {
        (true, Some(word)) => {
            let flags = value::one_of("scope", word, SCOPES.into_iter())?;
            scopes.push(task, flags).map_err(|_| Trouble::OutOfHeap)?;
        }
        (false, None) if scopes.pop(task) => {}
        (false, None) => return Err(Trouble::Refused("the task is in no scope")),
        (true, None) => return Err(Trouble::Usage("which scope? task scope sh push nofs")),
        (false, Some(_)) => return Err(Trouble::Usage("pop takes the innermost scope, whichever that is")),
    }
    show_flags(call, task)
}

#[cfg(test)]
mod tests {
    use kernel::mm::memory::Env;

    use crate::machine::Machine;
    use crate::testing::{check, run, shell};

    #[test]
    fn flags_are_set_and_cleared() {
        check("task set sh +PF_MEMALLOC +memalloc_nofs", "sh: 0x40800(PF_MEMALLOC|PF_MEMALLOC_NOFS)");
        check("task set sh +PF_MEMALLOC; task set sh -PF_MEMALLOC", "sh: 0x800(PF_MEMALLOC)\nsh: 0x0()");
        check("task set sh +PF_MEMALOC", "task set: no task flag `PF_MEMALOC`; did you mean `PF_MEMALLOC`?");
        check("task set sh PF_MEMALLOC; echo $?", "task set: a flag is set with + [..]\n2");
        check("task set kswapd0 -PF_MEMALLOC", "task set: kswapd keeps [..]");
    }

    #[test]
    fn flags_have_short_names() {
        check("task pf sh +memalloc +noio +nofs +lessthrottle", "sh: 0x1c0800(PF_MEMALLOC|PF_MEMALLOC_NOFS|[..]");
        check("task pf sh +nofx", "task pf: no task flag `nofx`");
    }

    #[test]
    fn scopes_nest() {
        let script = "task pf sh +memalloc; task scope sh push noreclaim; task scope sh push nofs; task scope sh pop; \
                      task scope sh pop; task scope sh pop; echo $?";
        let output = "sh: 0x800(PF_MEMALLOC)\nsh: 0x800(PF_MEMALLOC)\nsh: 0x40800(PF_MEMALLOC|PF_MEMALLOC_NOFS)\n\
                      sh: 0x800(PF_MEMALLOC)\nsh: 0x800(PF_MEMALLOC)\ntask scope: the task is in no scope\n1";
        check(script, output);
        check("task scope sh push noio; task scope sh push nofs; task scope sh pop", "[..]\n[..]\nsh: 0x80000([..]");
        check(
            "task scope sh push; task scope sh pop nofs",
            "task scope: which scope? [..]\ntask scope: pop takes [..]",
        );
        check("task scope sh push nofx", "task scope: no scope `nofx`; did you mean `nofs`?");
    }

    #[test]
    fn a_scope_does_not_outlive_its_task() {
        let mut shell = shell();
        run(&mut shell, "task new a; task scope a push noio; task kill a; task new b; task pf b +noio");
        assert_eq!(run(&mut shell, "task scope b pop"), "task scope: the task is in no scope\n");
        // Nor when somebody else ends the task.
        run(&mut shell, "task scope b push noio");
        let tasks = shell.machine.memory().env.tasks();
        tasks.remove(tasks.find("b").unwrap()).unwrap();
        let output = run(&mut shell, "task new c; task pf c; task scope c pop");
        assert_eq!(output, "task 2 c\nc: 0x0()\ntask scope: the task is in no scope\n");
    }
}
