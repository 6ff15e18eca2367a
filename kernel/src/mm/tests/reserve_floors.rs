//! How far each mask, context and task gets into the reserves: the table that a real arm64 Linux filled in.
//!
//! `reserve-floors-256M.tsv` says, for each row, at how many free pages the first request failed on a machine whose Min is
//! 486. Ours must stop at the row's rule, to the page, for it has no per-CPU lists here. What a rule leaves free is Min, a
//! part of it, or nothing; a block needs all but one of its pages on top, and whoever may not use HighAtomic blocks leaves
//! those, too.

use crate::addr::Order;
use crate::explain;
use crate::gfp::Gfp;
use crate::mm::memory::Hook;
use crate::mm::page_alloc;
use crate::mm::testing::{HostMachine, Lab, MIB};
use crate::mm::zone::AllocFlags;
use crate::mmzone::{MigrateType, Watermark};
use crate::proc::sysctl;
use crate::task::{Context, Current, TaskFlags, TaskKind};
use crate::trace::Tracer;
use crate::trace::walk::{Step, walk};

const TABLE: &str = include_str!("../../../tests/fixtures/reserve-floors-256M.tsv");

/// Min of the machine in the table, and what is left of it by each rule.
const MIN: u64 = 486;
const RULES: [u64; 5] = [MIN, 365, 243, 183, 0];

struct Row {
    text: &'static str,
    order: u32,
    gfp: Gfp,
    context: Context,
    /// `pf`: the task has PF_MEMALLOC; `pfin`: the handler sets it.
    pf: &'static str,
    task: &'static str,
    /// Pages in HighAtomic blocks then.
    highatomic: u64,
    threshold: u64,
    /// It failed earlier, for what was left were HighAtomic blocks.
    only_highatomic: bool,
}

fn rows() -> impl Iterator<Item = Row> {
    TABLE.lines().skip(1).map(|text| {
        let field: Vec<&str> = text.split('\t').collect();
        Row {
            text,
            order: field[0].parse().unwrap(),
            gfp: Gfp::parse(field[1]).unwrap().mask,
            context: match field[2] {
                "proc" => Context::Task,
                name => Context::ALL.into_iter().find(|context| context.name() == name).unwrap(),
            },
            pf: field[3],
            task: field[4],
            highatomic: field[6].parse().unwrap(),
            threshold: field[7].parse().unwrap(),
            only_highatomic: field[8] == "only_highatomic",
        }
    })
}

impl Row {
    /// What the rule leaves free, and whether HighAtomic blocks count as free for it.
    fn rule(&self) -> (u64, bool) {
        let block = (1 << self.order) - 1;
        let rule = |kept: u64| RULES.into_iter().find(|rule| rule + block + kept == self.threshold);
        match (rule(0), rule(self.highatomic)) {
            _ if self.only_highatomic && self.threshold == 0 => (0, true),
            (Some(rule), _) => (rule, true),
            (None, Some(rule)) => (rule, false),
            (None, None) => panic!("no rule gives {}", self.text),
        }
    }

    /// Asks until the answer is no; how often it was yes.
    fn exhaust(&self, lab: &Lab<'_>, task: Current<'_>) -> u64 {
        self.act(task, |current| lab.loop_until_null(&current, self.gfp, self.order).len() as u64)
    }

    /// Has the row's task act in the row's context.
    fn act<'t, R>(&self, task: Current<'t>, ask: impl FnOnce(Current<'t>) -> R) -> R {
        match (self.context, self.pf) {
            (Context::SoftIrq, pf) => task.serve_softirq(|softirq| {
                ask(if pf == "pfin" { softirq.with(TaskFlags::PF_MEMALLOC) } else { softirq })
            }),
            (context, _) => ask(task.in_context(context)),
        }
    }
}

/// The machine of the table with a few thousand free pages in large blocks, and HighAtomic blocks if it had any.
fn prepare(lab: &Lab<'_>, row: &Row) {
    sysctl::find("min_free_kbytes").unwrap().write(&lab.memory, &lab.current(), &(MIN * 4).to_string()).unwrap();
    assert_eq!(lab.zone().watermark(Watermark::Min), MIN);
    if row.highatomic > 0 {
        lab.take(Gfp::GFP_ATOMIC, 1, AllocFlags::HARDER).unwrap();
        assert_eq!(lab.zone().nr_reserved_highatomic(), 512);
    }
    while lab.nr_free() > 5000 {
        lab.take(Gfp::GFP_NOWAIT, 10, AllocFlags::NO_WATERMARKS).unwrap();
    }
}

/// Whether there is a free block of at least `order` that is not HighAtomic.
fn has_block(lab: &Lab<'_>, order: u32) -> bool {
    MigrateType::ALL
        .into_iter()
        .filter(|migratetype| *migratetype != MigrateType::HighAtomic)
        .any(|migratetype| lab.zone().counts.orders(migratetype) >> order != 0)
}

/// Who asks.
fn spawn<'l>(lab: &'l Lab<'_>, row: &Row) -> Current<'l> {
    let kind = if row.task == "rt" { TaskKind::RealTime } else { TaskKind::User };
    let task = lab.tasks().spawn("asks", kind).unwrap();
    task.set_oom_victim(row.task == "victim");
    if row.pf != "-" {
        task.change_flags(TaskFlags::PF_MEMALLOC, TaskFlags::empty());
    }
    lab.acting_as(task)
}

fn check(row: &Row) {
    let machine = HostMachine::new("", &[(0x4000_0000, 256 * MIB, 0)], &[]);
    let lab = Lab::scenario(&machine, u64::MAX);
    prepare(&lab, row);
    let got = row.exhaust(&lab, spawn(&lab, row));

    let (rule, any_block) = row.rule();
    let kept = if any_block { 0 } else { lab.zone().nr_reserved_highatomic() };
    let block = Order::new(row.order).unwrap().nr_pages();
    let (free, threshold) = (lab.nr_free(), rule + kept + block - 1);
    if has_block(&lab, row.order) {
        // The watermark refused, and would not have refused one block earlier.
        assert!(free <= threshold && free + block > threshold, "{}: {free} free, not {threshold}", row.text);
    } else {
        assert!(row.order > 0 || row.only_highatomic || free == 0, "{}: {free} free", row.text);
    }
    assert!(got > 0, "{}", row.text);
}

#[test]
fn every_row_of_the_table_stops_at_its_rule() {
    assert_eq!(rows().count(), 147);
    rows().for_each(|row| check(&row));
}

#[test]
fn a_wrong_rule_would_be_noticed() {
    let mut row = rows().find(|row| row.gfp == Gfp::GFP_ATOMIC && row.order == 0 && row.task == "-").unwrap();
    row.threshold = 243;
    assert!(std::panic::catch_unwind(|| check(&row)).is_err());
}

/// What `explain` says of the last request that was served, and of the one that was not.
struct Told {
    served: String,
    refused: String,
}

/// The words of the events from number `start` on.
fn words(lab: &Lab<'_>, start: u64) -> String {
    let ring = lab.memory.env.ring();
    let words = |step| match step {
        Step::Entry(entry) => explain::explain(&entry.event).to_string() + "\n",
        Step::Lost(events) => panic!("{events} events lost"),
    };
    walk(ring, start..ring.next_seq()).map(words).collect()
}

/// Takes the row's blocks until the answer is no; told are the requests below the watermarks.
fn tell(row: &Row) -> Told {
    let machine = HostMachine::new("", &[(0x4000_0000, 256 * MIB, 0)], &[]);
    let lab = Lab::scenario(&machine, u64::MAX);
    prepare(&lab, row);
    row.act(spawn(&lab, row), |current| {
        let mut served = String::new();
        let explained_below = 1100 + lab.zone().nr_reserved_highatomic();
        loop {
            lab.memory.set_hook(Hook::Trace, lab.nr_free() <= explained_below);
            let start = lab.memory.env.ring().next_seq();
            match page_alloc::alloc_pages(&lab.memory, &current, row.gfp, row.order) {
                Ok(_) => served = words(&lab, start),
                Err(_) => return Told { served, refused: words(&lab, start) },
            }
        }
    })
}

/// What keeps the request out at a rule: the sum's right side, with every flag that lowers it.
fn floor_words(row: &Row, rule: u64) -> &'static str {
    match rule {
        486 => "min 486 +",
        365 => "(min 486 - 121 ALLOC_HARDER = 365)",
        243 if row.task == "victim" => "(min 486 - 243 ALLOC_OOM = 243)",
        243 => "(min 486 - 243 ALLOC_HIGH = 243)",
        183 => "(min 486 - 243 ALLOC_HIGH - 60 ALLOC_HARDER = 183)",
        _ => "ALLOC_NO_WATERMARKS opened the whole reserve",
    }
}

/// Which flag let the request below Min at a rule, and by what. Where only HighAtomic blocks are left, a victim was not
/// below Min yet, and `GFP_ATOMIC` gets further by its own mask, which opens those blocks, than by PF_MEMALLOC.
fn opener_words(row: &Row, rule: u64) -> [&'static str; 2] {
    let memalloc = row.gfp.contains(Gfp::__GFP_MEMALLOC);
    match rule {
        243 if row.only_highatomic => ["enough", "(ALLOC_OOM): the task is a victim of the OOM killer"],
        0 if row.only_highatomic && row.gfp.contains(Gfp::__GFP_ATOMIC) => opener_words(row, 183),
        486 => ["enough", "enough"],
        365 => ["; ALLOC_HARDER opened the reserve", "ALLOC_HARDER by the task's real-time priority"],
        243 if row.task == "victim" => {
            ["; ALLOC_OOM opened the reserve", "(ALLOC_OOM): the task is a victim of the OOM killer"]
        }
        243 => ["; ALLOC_HIGH opened the reserve", "ALLOC_HIGH by __GFP_HIGH"],
        183 => ["; ALLOC_HIGH and ALLOC_HARDER opened the reserve", "ALLOC_HARDER by __GFP_ATOMIC"],
        _ if memalloc => [floor_words(row, 0), "(ALLOC_NO_WATERMARKS): __GFP_MEMALLOC"],
        _ if row.pf == "pfin" => [floor_words(row, 0), "(ALLOC_NO_WATERMARKS): a softirq that has set PF_MEMALLOC"],
        _ => [floor_words(row, 0), "(ALLOC_NO_WATERMARKS): the task has PF_MEMALLOC"],
    }
}

/// The point of refusal names the term, the point of success the flag that opened the reserve and who gave it.
#[test]
fn each_row_is_explained_by_its_rule() {
    for row in rows() {
        let Told { served, refused } = tell(&row);
        let (rule, _) = row.rule();
        let kept_apart = refused.contains(" has nothing to give after all");
        let few = refused.lines().any(|line| line.contains(floor_words(&row, rule)) && line.contains("too few"));
        assert!(few || row.only_highatomic, "{}:\n{refused}", row.text);
        assert_eq!(kept_apart, rule == 0 || row.only_highatomic, "{}:\n{refused}", row.text);
        for words in opener_words(&row, rule) {
            assert!(served.contains(words), "{}: no {words:?}:\n{served}", row.text);
        }
    }
}
