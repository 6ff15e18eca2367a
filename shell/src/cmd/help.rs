//! `help`: what there is, and what it does.

use core::fmt::Write as _;

use crate::arg::{Arg, Kind, Usage};
use crate::command::{self, Call, Command, commands, first_word};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};

/// A short lesson.
pub struct Topic {
    /// What `help` is asked for.
    pub name: &'static str,
    /// What it is about, in a few words.
    pub summary: &'static str,
    /// Lines of at most 78 characters.
    pub text: &'static str,
}

/// What `help` knows besides the commands. Facts are those of v5.0.
pub const TOPICS: [Topic; 3] = [
    Topic {
        name: "orders",
        summary: "how large a block can be",
        text: "\
A block of order n is 2^n pages in a row, of 4 KiB each, at a page number that
2^n divides. MAX_ORDER is 11 and exclusive in v5.0, so orders go from 0 to 10:
1 page to 1,024 pages, 4 MiB. (Older texts say that 512 pages, 2 MiB, are the
most.) Orders above 3 are costly: the slow path gives up on them sooner. A
freed block merges with its buddy, the other half of the block of order n + 1,
when that is free, too; cat /proc/buddyinfo counts the free blocks.",
    },
    Topic {
        name: "watermarks",
        summary: "who may take how much of a zone",
        text: "\
Each zone has three: min is the zone's share of vm.min_free_kbytes, low and
high lie above it by a quarter of min or vm.watermark_scale_factor/10000 of
the zone, whichever is more, and twice that. The fast path stops at low for
everybody and wakes kswapd; kswapd works until high. The slow path goes to
min: GFP_KERNEL. __GFP_HIGH goes to 1/2 of min, __GFP_ATOMIC to 3/4, both
together (GFP_ATOMIC) to 3/8, not to the last page as older texts say; that
only __GFP_MEMALLOC and PF_MEMALLOC reach. An OOM victim goes to 1/2. On top
of all of these comes lowmem_reserve: what a zone keeps from requests that a
higher zone could serve.",
    },
    Topic {
        name: "zones",
        summary: "which memory a request may use",
        text: "\
A zone is memory of one kind: DMA and DMA32 below a limit that devices have,
Normal, HighMem outside of the kernel's map, Movable for what can be moved
away. Which of them a machine has is set by the boot argument zones=; arm64 in
v5.0 has DMA32 (below 4 GiB), Normal and Movable, so that GFP_DMA has no
effect. A request takes from the highest zone that its mask allows, then from
the lower ones, then from the next node; gfp MASK tells where it starts.",
    },
];

/// `help [COMMAND|TOPIC]`
pub const fn help<M: Machine>() -> Command<M> {
    Command {
        name: "help",
        summary: "list the commands, or explain one",
        help: "\
A line may have several commands: a; b runs both, a && b runs b if a ended
with 0, a || b if it did not. $? is the status of the last command: 0 done, 1
the allocator refused, 2 not understood, 3 the audit failed, 130 stopped by
^C. Numbers are decimal or 0x and hexadecimal. TAB completes.",
        args: &[Arg::Maybe("COMMAND|TOPIC", Kind::HelpTopic), Arg::Maybe("MEMBER", Kind::Text)],
        examples: &["help", "help alloc", "help task new", "help watermarks"],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let Some(first) = call.args.word(0) else { return list(call) };
    let member = call.args.word(1);
    let wanted = |row: &&Command<M>| match (member, row.name.split_once(' ')) {
        (Some(member), Some((family, name))) => family == first && name == member,
        (Some(_), None) => false,
        (None, _) => first_word(row.name) == first,
    };
    let mut rows = commands::<M>().iter().filter(wanted).peekable();
    if let Some(topic) = TOPICS.iter().find(|topic| topic.name == first && member.is_none()) {
        writeln!(call, "{}: {}", topic.name, topic.summary)?;
        topic.text.lines().try_for_each(|line| writeln!(call, "  {line}"))?;
        return Ok(Status::DONE);
    }
    if rows.peek().is_none() {
        return Err(Trouble::Name(command::no_such::<M>(first, member.unwrap_or_default())));
    }
    for (i, row) in rows.enumerate() {
        if i > 0 {
            writeln!(call)?;
        }
        explain(call, row)?;
    }
    Ok(Status::DONE)
}

fn list<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    for row in commands::<M>() {
        writeln!(call, "{:<15}  {}", row.name, row.summary)?;
    }
    writeln!(call, "help COMMAND tells more, and so does help with")?;
    for topic in &TOPICS {
        writeln!(call, "{:<15}  {}", topic.name, topic.summary)?;
    }
    Ok(Status::DONE)
}

fn explain<M: Machine>(call: &mut Call<'_, '_, M>, row: &Command<M>) -> Result<(), Trouble<'static>> {
    writeln!(call, "{}{}\n  {}", row.name, Usage(row.args), row.summary)?;
    for line in row.help.lines() {
        writeln!(call, "  {line}")?;
    }
    for example in row.examples {
        writeln!(call, "  e.g. {example}")?;
    }
    Ok(())
}
