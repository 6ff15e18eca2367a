//! `ctx`: run one command in another context.

use kernel::task::Context;

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status};
use crate::value;

/// `ctx hardirq|softirq|atomic|bhoff|task [--memalloc] COMMAND...`
pub const fn ctx<M: Machine>() -> Command<M> {
    Command {
        name: "ctx",
        summary: "run one command in another context",
        help: "\
The calls into the kernel that COMMAND makes are made from a hard interrupt, a
softirq, an atomic section, or with bottom halves disabled. A request that may
sleep is a bug in all of these, and reported as Linux does. PF_MEMALLOC of the
interrupted task counts in none of them but the atomic section. With
--memalloc the handler sets the flag itself, as memalloc_noreclaim_save does:
that counts in a softirq, too.",
        args: &[
            Arg::One("CONTEXT", Kind::Choice(&["hardirq", "softirq", "atomic", "bhoff", "task"])),
            Arg::Flag("--memalloc"),
            Arg::Rest,
        ],
        examples: &[
            "ctx softirq alloc GFP_ATOMIC",
            "ctx hardirq alloc GFP_ATOMIC -o 2",
            "free to 1; ctx softirq --memalloc alloc GFP_NOWAIT; free all",
        ],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let context =
        value::one_of("context", call.args.must(0), Context::ALL.iter().map(|&context| (context.name(), context)))?;
    let memalloc = call.args.flag("--memalloc");
    let outer = core::mem::replace(&mut call.shell.session.context, context);
    let outer_memalloc = core::mem::replace(&mut call.shell.session.memalloc, memalloc);
    let status: Status = call.shell.run_command(call.args.rest(), call.redirection);
    call.shell.session.context = outer;
    call.shell.session.memalloc = outer_memalloc;
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

    /// T11 as a person types it: 300 pages are free, 256 are kept from who has no right to them.
    #[test]
    fn t11_interrupts_have_no_pf_memalloc_but_their_own() {
        let allocated = |context: &str, gfp: &str| {
            let mut shell = shell();
            run(
                &mut shell,
                "pcp off; sysctl watermark_boost_factor=0; sysctl min_free_kbytes=1024; task set sh +PF_MEMALLOC; free to 300",
            );
            let output = run(&mut shell, &format!("ctx {context} alloc {gfp}|__GFP_NOWARN -n max; task set sh"));
            assert!(output.ends_with("sh: 0x800(PF_MEMALLOC)\n"), "{context}: {output}");
            output.split(' ').nth(1).and_then(|blocks| blocks.parse::<u32>().ok())
        };
        assert_eq!(allocated("task", "GFP_KERNEL"), Some(300));
        assert_eq!(allocated("atomic", "GFP_NOWAIT"), Some(300));
        assert_eq!(allocated("hardirq", "GFP_ATOMIC"), Some(204));
        assert_eq!(allocated("bhoff", "GFP_NOWAIT"), Some(44));
        assert_eq!(allocated("softirq", "GFP_NOWAIT"), Some(44));
        assert_eq!(allocated("softirq --memalloc", "GFP_NOWAIT"), Some(300));
        assert_eq!(allocated("hardirq --memalloc", "GFP_NOWAIT"), Some(44));
    }

    #[test]
    fn a_handlers_own_flag_ends_with_it() {
        check("ctx softirq --memalloc alloc GFP_NOWAIT; task set sh", "#1 [..]\nsh: 0x0()");
        check("ctx task --memalloc task set sh; task set sh", "sh: 0x0()\nsh: 0x0()");
    }

    #[test]
    fn the_status_is_the_commands() {
        check("ctx atomic bad; echo $?", "no command `bad`\n2");
        check("ctx harirq echo", "ctx: no context `harirq`; did you mean `hardirq`?");
    }
}
