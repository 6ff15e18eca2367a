//! `ctx`: run one command in another context.

use kernel::task::Context;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status};
use crate::value;

/// `ctx hardirq|softirq|atomic|bhoff|task COMMAND...`
pub const fn ctx<M: Machine>() -> Command<M> {
    Command {
        name: "ctx",
        summary: "run one command in another context",
        help: "\
The calls into the kernel that COMMAND makes are made from a hard interrupt, a
softirq, an atomic section, or with bottom halves disabled. A request that may
sleep is a bug in all of these, and reported as Linux does. PF_MEMALLOC of the
interrupted task counts in a softirq, not in a hard interrupt nor with bottom
halves disabled.",
        args: &[Arg::One("CONTEXT", Kind::Choice(&["hardirq", "softirq", "atomic", "bhoff", "task"])), Arg::Rest],
        examples: &["ctx softirq alloc GFP_ATOMIC", "ctx hardirq alloc GFP_ATOMIC -o 2"],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let context =
        value::one_of("context", call.args.must(0), Context::ALL.iter().map(|&context| (context.name(), context)))?;
    let outer = core::mem::replace(&mut call.shell.session.context, context);
    let status: Status = call.shell.run_command(call.args.rest(), call.redirection);
    call.shell.session.context = outer;
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::Context;
    use crate::testing::{check, run, shell};

    #[test]
    fn the_context_lasts_for_one_command() {
        let mut shell = shell();
        let output = run(&mut shell, "ctx hardirq alloc GFP_KERNEL");
        assert!(output.contains("BUG: sleeping function called from invalid context"), "{output}");
        assert!(output.ends_with("DMA32 Unmovable\n"), "{output}");
        assert_eq!(shell.session.context, Context::Task);
        assert!(!run(&mut shell, "alloc GFP_KERNEL").contains("BUG"));
        assert!(!run(&mut shell, "ctx softirq alloc GFP_ATOMIC").contains("BUG"));
    }

    #[test]
    fn the_status_is_the_commands() {
        check("ctx atomic bad; echo $?", "no command `bad`\n2");
        check("ctx harirq echo", "ctx: no context `harirq`; did you mean `hardirq`?");
    }
}
