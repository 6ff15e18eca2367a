//! `floors`: the reserve floors of a real Linux, row by row, at the prompt.
//!
//! `reserve-floors-256M.tsv` says for each mask, context and task at how many free pages a real arm64 Linux refused it.
//! Here each row is typed as a person would: make the task, give it its flags, act as it in the row's context until the
//! answer is no, and look at what is left. The contexts are the machine's own: on a board `ctx hardirq` is an interrupt.
//!
//! Key types: [`Row`], which types itself, and [`Left`], what the console says afterwards. The same table as a test of the
//! kernel crate alone: `mm/tests/reserve_floors.rs`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::console::PROMPT;
use crate::corpus::{self, PlaceArgs};
use crate::qemu::MachineArgs;
use crate::tally::{self, Tally};
use crate::transcript::Place;

const TABLE: &str = include_str!("../../kernel/tests/fixtures/reserve-floors-256M.tsv");

/// Min of the machine in the table, and what each rule leaves of it.
const MIN: u64 = 486;
const RULES: [u64; 5] = [MIN, 365, 243, 183, 0];
/// Pages of a pageblock.
const PAGEBLOCK: u64 = 512;
/// The same Min here, no boost, no per-CPU lists, nobody else at work, and a few thousand free pages in large blocks.
const SCENE: &str = "\
sysctl vm.watermark_boost_factor=0; sysctl vm.min_free_kbytes=1944; pcp off
kswapd freeze; kcompactd freeze; flusher freeze; reaper freeze
free to 5000
";
/// What ends the script, whatever the rows' status was.
const END: &str = "free all; audit\npoweroff 0\n";

/// When to give up.
const LIMIT: Duration = Duration::from_secs(120);

/// Plays the table where the options say and prints the result.
pub fn run(args: &PlaceArgs) -> Result<u8> {
    Ok(play(args.places())?.finish())
}

/// Plays the table in each place.
pub fn play(places: &[Place]) -> Result<Tally> {
    let (places, image) = corpus::open(places, "reserve floors")?;
    Ok(tally::parallel(
        &places,
        |place| format!("every reserve floor on {}", place.name()),
        |&place| play_at(place, image.as_deref()),
    ))
}

/// Plays the table in one place.
fn play_at(place: Place, image: Option<&Path>) -> Result<()> {
    let machine = MachineArgs { append: "mem=64M".to_owned(), ..MachineArgs::default() };
    let (console, status) = corpus::session(place, image, &machine, &script(), LIMIT)?;
    ensure!(status == 0, "status {status}:\n{console}");
    judge(&console)
}

/// What is typed.
fn script() -> String {
    rows().map(|row| row.line() + "\n").fold(SCENE.to_owned(), |script, line| script + &line) + END
}

/// Holds what each row's line printed against the row.
fn judge(console: &str) -> Result<()> {
    let mut rest = console;
    for row in rows() {
        let prompt = format!("{PROMPT}{}\n", row.line());
        let (_, behind) = rest.split_once(&prompt).with_context(|| format!("{}: its line is not there", row.text))?;
        let printed = behind.split(PROMPT).next().unwrap_or_default();
        row.check(printed).with_context(|| format!("{}:\n{printed}", row.text))?;
        rest = behind;
    }
    ensure!(rest.contains("\naudit passed: ") && rest.contains(" 0 allocated, 0 bad"), "the end:\n{rest}");
    Ok(())
}

/// A row of the table.
struct Row {
    text: &'static str,
    order: u32,
    mask: &'static str,
    context: &'static str,
    /// `pf`: the task has PF_MEMALLOC; `pfin`: the handler sets it, too.
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
        let number = |n: usize| field[n].parse().expect("a number of the table");
        Row {
            text,
            order: number(0) as u32,
            mask: field[1],
            context: field[2],
            pf: field[3],
            task: field[4],
            highatomic: number(6),
            threshold: number(7),
            only_highatomic: field[8] == "only_highatomic",
        }
    })
}

impl Row {
    /// The line that plays the row, and leaves nothing but HighAtomic blocks behind.
    fn line(&self) -> String {
        let Row { order, mask, .. } = self;
        let mut line = "task new asks".to_owned();
        line += if self.task == "rt" { " --rt" } else { "" };
        line += if self.task == "victim" { "; oom victim asks" } else { "" };
        line += if self.pf == "-" { "" } else { "; task set asks +PF_MEMALLOC" };
        line += "; task use asks; ";
        if self.context != "proc" {
            let memalloc = if self.pf == "pfin" { " --memalloc" } else { "" };
            line += &format!("ctx {}{memalloc} ", self.context);
        }
        line += &format!("alloc {mask}|__GFP_NOWARN -o {order} -n max; ");
        line + "cat /proc/pagetypeinfo; task kill asks"
    }

    /// What the row's rule leaves free.
    fn rule(&self) -> Result<u64> {
        let block = (1 << self.order) - 1;
        let gives = |rule: &u64| rule + block + self.kept(*rule, self.highatomic) == self.threshold;
        match RULES.into_iter().find(gives) {
            _ if self.only_highatomic && self.threshold == 0 => Ok(0),
            rule => rule.context("no rule gives the threshold"),
        }
    }

    /// Pages of HighAtomic blocks that do not count as free for who is entitled to a rule: those that `ALLOC_HARDER` and
    /// `ALLOC_OOM` do not open.
    fn kept(&self, rule: u64, highatomic: u64) -> u64 {
        let opened = matches!(rule, 0 | 183 | 365) || self.task == "victim" && rule == 243;
        if opened { 0 } else { highatomic }
    }

    /// The watermark refused, and would not have refused one block earlier; or there was no block.
    fn check(&self, printed: &str) -> Result<()> {
        let Left { min, free, highatomic, has_block } = Left::read(printed, self.order)?;
        let (rule, block) = (self.rule()?, 1 << self.order);
        let threshold = rule + self.kept(rule, highatomic) + block - 1;
        ensure!(min == MIN, "min is {min}");
        ensure!(printed.contains(" of max blocks") && printed.contains("page allocation failure"), "not refused");
        if has_block {
            ensure!(free <= threshold && free + block > threshold, "{free} free, not {threshold}");
        } else {
            ensure!(self.order > 0 || self.only_highatomic || free == 0, "{free} free, and no block");
        }
        Ok(())
    }
}

/// What is left when a request is refused.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    min: u64,
    free: u64,
    /// Pages in HighAtomic blocks.
    highatomic: u64,
    /// Whether a block of the order is free elsewhere.
    has_block: bool,
}

impl Left {
    /// Reads the zone's line and /proc/pagetypeinfo.
    fn read(printed: &str, order: u32) -> Result<Left> {
        let zone = printed.lines().find(|line| line.starts_with("Node 0, zone") && line.contains(" free "));
        let zone: Vec<&str> = zone.context("no line of the zone")?.split_whitespace().collect();
        let after = |word: &str| -> Result<u64> {
            let at = zone.iter().position(|other| *other == word).context("a number is missing")?;
            Ok(zone.get(at + 1).context("a number is missing")?.parse()?)
        };
        let mut has_block = false;
        for line in printed.lines().filter(|line| line.contains(", type ") && !line.contains("HighAtomic")) {
            let counts = line.split_whitespace().skip(6).map(str::parse::<u64>).collect::<Result<Vec<u64>, _>>()?;
            has_block |= counts.iter().skip(order as usize).any(|&count| count > 0);
        }
        let mut blocks = printed.lines().skip_while(|line| !line.starts_with("Number of blocks type"));
        let (names, counts) = (blocks.next(), blocks.next());
        let (names, counts) = names.zip(counts).context("no number of blocks of each type")?;
        let at = names.split_whitespace().skip(4).position(|name| name == "HighAtomic").context("no HighAtomic")?;
        let count: u64 = counts.split_whitespace().nth(4 + at).context("no number of HighAtomic blocks")?.parse()?;
        Ok(Left { min: after("min")?, free: after("free")?, highatomic: count * PAGEBLOCK, has_block })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stops_at_its_rule_at_the_hosts_prompt() {
        assert_eq!(rows().count(), 147);
        play_at(Place::Host, None).unwrap();
    }

    #[test]
    fn what_is_left_is_read_from_the_console() {
        let printed = "\
allocated 3 of max blocks of order 1
Node 0, zone    DMA32 free 90 min 486 low 607 high 728
Free pages count per migrate type at order       0      1      2
Node    0, zone    DMA32, type    Unmovable      3      0      0
Node    0, zone    DMA32, type   HighAtomic      0      9      0

Number of blocks type     Unmovable      Movable   HighAtomic
Node 0, zone    DMA32           20            3            2
";
        let left = Left { min: 486, free: 90, highatomic: 1024, has_block: true };
        assert_eq!(Left::read(printed, 0).unwrap(), left);
        assert!(!Left::read(printed, 1).unwrap().has_block);
        assert!(Left::read("", 0).is_err());
    }

    #[test]
    fn a_wrong_number_would_be_noticed() {
        let row = rows().find(|row| row.mask == "GFP_ATOMIC" && row.order == 0).unwrap();
        let printed = |free: u64| {
            format!(
                "allocated 3 of max blocks\npage allocation failure\nNode 0, zone DMA32 free {free} min 486 low 6 high 7\n\
                 Node 0, zone DMA32, type Unmovable 183 0\nNumber of blocks type Unmovable HighAtomic\n\
                 Node 0, zone DMA32 20 0\n"
            )
        };
        row.check(&printed(183)).unwrap();
        assert!(row.check(&printed(184)).is_err() && row.check(&printed(182)).is_err());
    }
}
