//! How far each mask, context and task gets into the reserves: the table that a real arm64 Linux filled in.
//!
//! `reserve-floors-256M.tsv` says, for each row, at how many free pages the first request failed on a machine whose Min is
//! 486. Ours must stop at the row's rule, to the page, for it has no per-CPU lists here. What a rule leaves free is Min, a
//! part of it, or nothing; a block needs all but one of its pages on top, and whoever may not use HighAtomic blocks leaves
//! those, too.

use crate::addr::Order;
use crate::gfp::Gfp;
use crate::mm::testing::{HostMachine, Lab, MIB};
use crate::mm::zone::AllocFlags;
use crate::mmzone::{MigrateType, Watermark};
use crate::proc::sysctl;
use crate::task::{Context, Current, TaskFlags, TaskKind};

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

    /// Asks until the answer is no.
    fn exhaust(&self, lab: &Lab<'_>, task: Current<'_>) -> u64 {
        let ask = |current: Current<'_>| lab.loop_until_null(&current, self.gfp, self.order).len() as u64;
        match (self.context, self.pf) {
            (Context::SoftIrq, pf) => task.serve_softirq(|softirq| {
                if pf == "pfin" {
                    softirq.task.change_flags(TaskFlags::PF_MEMALLOC, TaskFlags::empty());
                }
                ask(softirq)
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

fn check(row: &Row) {
    let machine = HostMachine::new("", &[(0x4000_0000, 256 * MIB, 0)], &[]);
    let lab = Lab::scenario(&machine, u64::MAX);
    prepare(&lab, row);
    let kind = if row.task == "rt" { TaskKind::RealTime } else { TaskKind::User };
    let task = lab.tasks().spawn("asks", kind).unwrap();
    task.set_oom_victim(row.task == "victim");
    if row.pf != "-" {
        task.change_flags(TaskFlags::PF_MEMALLOC, TaskFlags::empty());
    }
    let got = row.exhaust(&lab, lab.acting_as(task));

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
