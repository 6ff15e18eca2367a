//! `kswapd`, `kcompactd`, `flusher`, `reaper`: freezing the daemons, and making them work, by hand.

use core::fmt::{self, Write as _};

use kernel::daemon::Daemon;
use kernel::mm::memory::Env;
use kernel::mm::node::Node;
use kernel::mmzone::{MAX_NUMNODES, NodeId};

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// What can be done to a daemon.
const WHAT: Arg = Arg::One("WHAT", Kind::Choice(&["freeze", "thaw", "run", "status"]));
const OF_NODE: &[Arg] = &[WHAT, Arg::Maybe("NODE", Kind::Node), Arg::Flag("--json")];
const THE_ONE: &[Arg] = &[WHAT, Arg::Flag("--json")];

/// `kswapd freeze|thaw|run|status [NODE]`
pub const fn kswapd<M: Machine>() -> Command<M> {
    Command {
        name: "kswapd",
        summary: "freeze, thaw or run the daemon that keeps memory free",
        help: "\
Of NODE, or of every node. Frozen it is woken as ever but does not begin to
work; thaw lets it work on what it was woken for; run makes it work once,
frozen or not, and waits until it is done (^C ends the wait).",
        args: OF_NODE,
        examples: &["kswapd freeze; pc ra 0 0 100; kswapd run; kswapd thaw", "kswapd status"],
        run: |call| of_nodes(call, "kswapd", |node| &node.kswapd.daemon),
    }
}

/// `kcompactd freeze|thaw|run|status [NODE]`
pub const fn kcompactd<M: Machine>() -> Command<M> {
    Command {
        name: "kcompactd",
        summary: "freeze, thaw or run the daemon that brings free memory together",
        help: "\
As kswapd.",
        args: OF_NODE,
        examples: &["kcompactd freeze; kcompactd status; kcompactd thaw"],
        run: |call| of_nodes(call, "kcompactd", |node| &node.kcompactd.daemon),
    }
}

/// `flusher freeze|thaw|run|status`
pub const fn flusher<M: Machine>() -> Command<M> {
    Command {
        name: "flusher",
        summary: "freeze, thaw or run the daemon that writes dirty pages",
        help: "\
As kswapd; there is one on the machine, kworker/flush.",
        args: THE_ONE,
        examples: &["flusher freeze; pc write 0 0 -n 10; flusher thaw; pc sync"],
        run: |call| {
            let users = call.users();
            the_one(call, "kworker/flush", &users.flusher)
        },
    }
}

/// `reaper freeze|thaw|run|status`
pub const fn reaper<M: Machine>() -> Command<M> {
    Command {
        name: "reaper",
        summary: "freeze, thaw or run the daemon that frees what OOM victims have",
        help: "\
As kswapd; there is one on the machine, oom_reaper.",
        args: THE_ONE,
        examples: &["reaper freeze; reaper status; reaper thaw"],
        run: |call| {
            let memory = call.shell.machine.memory();
            the_one(call, "oom_reaper", &memory.oom.reaper)
        },
    }
}

/// Something that is done to a daemon.
#[derive(Clone, Copy)]
enum What {
    Freeze,
    Thaw,
    Run,
    Status,
}

fn what<'a, M: Machine>(call: &Call<'_, 'a, M>) -> Result<What, Trouble<'a>> {
    let names = [("freeze", What::Freeze), ("thaw", What::Thaw), ("run", What::Run), ("status", What::Status)];
    Ok(value::one_of("such step", call.args.must(0), names.into_iter())?)
}

fn of_nodes<'a, M: Machine>(call: &mut Call<'_, 'a, M>, name: &str, daemon: fn(&Node) -> &Daemon) -> Outcome<'a> {
    let (what, memory) = (what(call)?, call.shell.machine.memory());
    let number = |word| value::number_in("the node", word, 0, MAX_NUMNODES as i64 - 1);
    let wanted = call.args.word(1).map(number).transpose()?.map(|number| NodeId(number as u8));
    if wanted.is_some_and(|wanted| !memory.online_nodes().any(|node| node.id == wanted)) {
        return Err(Trouble::Usage("the machine has no such node"));
    }
    for node in memory.online_nodes().filter(|node| wanted.is_none_or(|wanted| node.id == wanted)) {
        act(call, what, format_args!("{name}{}", node.id), daemon(node))?;
    }
    Ok(Status::DONE)
}

fn the_one<'a, M: Machine>(call: &mut Call<'_, 'a, M>, name: &str, daemon: &Daemon) -> Outcome<'a> {
    let what = what(call)?;
    act(call, what, format_args!("{name}"), daemon)?;
    Ok(Status::DONE)
}

fn act<M: Machine>(
    call: &mut Call<'_, '_, M>,
    what: What,
    name: fmt::Arguments<'_>,
    daemon: &Daemon,
) -> Result<(), Trouble<'static>> {
    let sched = call.shell.machine.memory().env.sched();
    match what {
        What::Freeze => daemon.freeze(),
        What::Thaw => daemon.thaw(sched),
        What::Run if !daemon.run(sched) => {
            call.shell.machine.interrupted();
            return Err(Trouble::Interrupted);
        }
        What::Run => {}
        What::Status => return Ok(show(call, name, daemon)?),
    }
    Ok(())
}

fn show<M: Machine>(call: &mut Call<'_, '_, M>, name: fmt::Arguments<'_>, daemon: &Daemon) -> fmt::Result {
    let (frozen, asleep, runs) = (daemon.is_frozen(), daemon.is_asleep(), daemon.runs());
    if call.json() {
        return writeln!(call, r#"{{"daemon":"{name}","frozen":{frozen},"asleep":{asleep},"runs":{runs}}}"#);
    }
    let state = match (frozen, asleep) {
        (false, true) => "asleep",
        (false, false) => "at work",
        (true, true) => "frozen",
        (true, false) => "frozen, and was woken",
    };
    writeln!(call, "{name}: {state}, has worked {runs} times")
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, run, shell};

    #[test]
    fn a_frozen_daemon_works_when_it_is_told_to() {
        let mut shell = shell();
        run(
            &mut shell,
            "kswapd freeze; free to 200 DMA32; pc gfp 0 GFP_HIGHUSER_MOVABLE; alloc GFP_NOWAIT|__GFP_NOWARN",
        );
        assert_eq!(run(&mut shell, "kswapd status"), "kswapd0: frozen, and was woken, has worked 0 times\n");
        let worked = "{\"daemon\":\"kswapd0\",\"frozen\":true,\"asleep\":true,\"runs\":1}\n";
        assert_eq!(run(&mut shell, "kswapd run; kswapd status --json"), worked);
        assert_eq!(run(&mut shell, "kswapd thaw 0; kswapd status 0"), "kswapd0: asleep, has worked 1 times\n");
    }

    #[test]
    fn every_daemon_obeys() {
        for (command, name) in
            [("kswapd", "kswapd0"), ("kcompactd", "kcompactd0"), ("flusher", "kworker/flush"), ("reaper", "oom_reaper")]
        {
            let script = format!("{command} freeze; {command} status; {command} run; {command} thaw; {command} status");
            check(&script, &format!("{name}: frozen, has worked 0 times\n{name}: asleep, has worked 1 times"));
        }
    }

    #[test]
    fn bad_words() {
        check("kswapd stop; echo $?", "kswapd: no such step `stop`\n2");
        check("kswapd run 3; echo $?", "kswapd: the machine has no such node\n2");
        check("reaper run 0", "reaper: `0` is one word too many; usage: reaper freeze|thaw|run|status [--json]");
    }
}
