//! The audit: every page accounted for exactly once, and everything else that must hold in a machine at rest.
//!
//! [`table`] is the list of invariants, by the ids of the specification, each with the function that looks; [`audit`]
//! asks them all in one pass over lists and records, and gives an [`Audit`] whose findings name the property, the place,
//! and both numbers. Some properties belong to a call, not to a state: their rows say who watches over them. The machine
//! must be at rest, since the numbers of a zone are compared with each other. Neighbour: [`census`] does the walking.
//!
//! Linux does more: `CONFIG_DEBUG_VM` asserts at hundreds of places while it runs.

use core::fmt;

use crate::addr::{MAX_ORDER, Pfn};
use crate::mm::census;
use crate::mm::memory::{Env, Memory};
use crate::mm::page::{Kind, PageState};
use crate::mm::zone::Zone;
use crate::mmzone::{MigrateType, NodeId, ZoneType};

mod invariants;
mod lru;

pub use invariants::table;

/// Number of rows of [`table`].
pub const ROWS: usize = 30;

/// Who finds out that a property is broken.
pub enum Look<E: Env> {
    /// Asked of every block on a free list.
    FreeBlock(fn(&Zone, &census::FreeBlock) -> Option<Fault>),
    /// Asked of the first page of every block, free or not.
    Head(fn(&Zone, Pfn, PageState) -> Option<Fault>),
    /// Asked of every zone when its pages have been counted.
    Zone(fn(&ZoneCount<'_>) -> Option<Fault>),
    /// Asked once at the end.
    Machine(fn(&Memory<'_, E>, &Totals) -> Option<Fault>),
    /// Not visible in a state; tells where it is checked instead.
    Elsewhere(&'static str),
}

/// A property that must hold.
pub struct Invariant<E: Env> {
    /// Its id in the specification.
    pub id: &'static str,
    /// The property in one line.
    pub property: &'static str,
    /// Whether v5.0 itself may break it, so that a finding is only a warning.
    pub is_warning: bool,
    /// Who looks.
    pub look: Look<E>,
}

/// Where something is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In the sums of the machine.
    Machine,
    /// In a node.
    Node(NodeId),
    /// In a zone.
    Zone(NodeId, ZoneType),
    /// At a page.
    Page(Pfn),
}

/// What is wrong: a number that should be another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// Which number.
    pub what: &'static str,
    /// What it is.
    pub found: u64,
    /// What it should be, or the limit that it passes.
    pub expected: u64,
}

/// A broken property: its first fault, and how many there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Id of the invariant.
    pub id: &'static str,
    /// The property.
    pub property: &'static str,
    /// Whether it is only a warning.
    pub is_warning: bool,
    /// The first fault.
    pub first: Fault,
    /// All faults.
    pub faults: u64,
}

/// What a zone's lists and records hold.
pub struct ZoneCount<'a> {
    /// The zone.
    pub zone: &'a Zone,
    /// Blocks on the free lists by type and order.
    pub listed: [[u64; MAX_ORDER as usize]; MigrateType::COUNT],
    /// Lists that cannot be walked.
    pub broken_lists: u64,
    /// Free blocks by their records.
    pub free_heads: u64,
    /// Pages on per-CPU lists by their records.
    pub pcp_pages: u64,
    /// Pages in use by their records.
    pub allocated: u64,
    /// Pages kept out of use by their records.
    pub bad: u64,
    /// The CPU that counts, and pages on its lists of the zone; `None` if these cannot be walked.
    pub own_pcp: (usize, Option<u64>),
    /// Pages on the lists of this CPU that do not belong there.
    pub strange_pcp: u64,
    /// Pages that count as set aside for high-order atomic requests.
    pub nr_reserved_highatomic: u64,
    /// Pageblocks of type HighAtomic.
    pub highatomic_blocks: u64,
}

/// Where all pages of the machine are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    /// Pages handed to the allocator.
    pub managed: u64,
    /// On free lists, Isolate among them.
    pub free: u64,
    /// On per-CPU lists.
    pub pcp: u64,
    /// In use.
    pub allocated: u64,
    /// Kept out of use.
    pub bad: u64,
}

/// What an audit found.
pub struct Audit {
    /// Where all pages are.
    pub totals: Totals,
    findings: [Option<Finding>; ROWS],
}

impl Audit {
    /// The broken properties, in the order of the table.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().flatten()
    }

    /// Whether nothing is wrong but, perhaps, what v5.0 may get wrong itself.
    pub fn is_clean(&self) -> bool {
        self.findings().all(|finding| finding.is_warning)
    }

    fn note<E: Env>(&mut self, row: usize, invariant: &Invariant<E>, fault: Option<Fault>) {
        let Some(first) = fault else { return };
        let Invariant { id, property, is_warning, .. } = *invariant;
        let finding = self.findings[row].get_or_insert(Finding { id, property, is_warning, first, faults: 0 });
        finding.faults += 1;
    }
}

/// Checks everything. The machine must be at rest.
pub fn audit<E: Env>(memory: &Memory<'_, E>) -> Audit {
    let table = table::<E>();
    let mut audit = Audit { totals: Totals::default(), findings: [None; ROWS] };
    for zone in memory.populated_zones() {
        let count = count_zone(memory, zone, &table, &mut audit);
        for (row, invariant) in table.iter().enumerate() {
            if let Look::Zone(look) = invariant.look {
                audit.note(row, invariant, look(&count));
            }
        }
        audit.totals.add(&count);
    }
    let totals = audit.totals;
    for (row, invariant) in table.iter().enumerate() {
        if let Look::Machine(look) = invariant.look {
            audit.note(row, invariant, look(memory, &totals));
        }
    }
    audit
}

/// Walks the zone's lists and records; asks the invariants of blocks on the way.
fn count_zone<'a, E: Env>(
    memory: &Memory<'_, E>,
    zone: &'a Zone,
    table: &[Invariant<E>; ROWS],
    audit: &mut Audit,
) -> ZoneCount<'a> {
    let mut count = ZoneCount::of(zone);
    count.highatomic_blocks = census::pageblocks(memory, zone)[MigrateType::HighAtomic as usize];
    let listed = &mut count.listed;
    let of_blocks = Rows::that(table, |look| matches!(look, Look::FreeBlock(_)));
    let of_heads = Rows::that(table, |look| matches!(look, Look::Head(_)));
    let visit = |block: &census::FreeBlock| {
        listed[block.list as usize][block.order.index()] += 1;
        for row in of_blocks.iter() {
            if let Look::FreeBlock(look) = table[row].look {
                audit.note(row, &table[row], look(zone, block));
            }
        }
    };
    census::for_each_free(memory, zone, visit, |_| count.broken_lists += 1);
    census::for_each_head(memory, zone, |pfn, state| {
        count.add_head(state);
        for row in of_heads.iter() {
            if let Look::Head(look) = table[row].look {
                audit.note(row, &table[row], look(zone, pfn, state));
            }
        }
    });
    count.add_own_pcp(memory);
    count
}

/// Some rows of the table: there are millions of blocks to look at, and few rows that do.
struct Rows {
    rows: [usize; ROWS],
    len: usize,
}

impl Rows {
    /// Those that look at what is asked for.
    fn that<E: Env>(table: &[Invariant<E>; ROWS], asked_for: fn(&Look<E>) -> bool) -> Rows {
        let mut found = Rows { rows: [0; ROWS], len: 0 };
        for (row, _) in table.iter().enumerate().filter(|(_, invariant)| asked_for(&invariant.look)) {
            found.rows[found.len] = row;
            found.len += 1;
        }
        found
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.rows[..self.len].iter().copied()
    }
}

impl<'a> ZoneCount<'a> {
    fn of(zone: &'a Zone) -> ZoneCount<'a> {
        ZoneCount {
            zone,
            listed: [[0; MAX_ORDER as usize]; MigrateType::COUNT],
            broken_lists: 0,
            free_heads: 0,
            pcp_pages: 0,
            allocated: 0,
            bad: 0,
            own_pcp: (0, None),
            strange_pcp: 0,
            nr_reserved_highatomic: zone.nr_reserved_highatomic(),
            highatomic_blocks: 0,
        }
    }

    fn add_head(&mut self, state: PageState) {
        let nr_pages = state.order().nr_pages();
        match state.kind() {
            Kind::Buddy => self.free_heads += 1,
            Kind::Pcp => self.pcp_pages += nr_pages,
            Kind::Allocated => self.allocated += nr_pages,
            Kind::Bad => self.bad += nr_pages,
            Kind::Tail => {}
        }
    }

    fn add_own_pcp<E: Env>(&mut self, memory: &Memory<'_, E>) {
        let (mut pages, mut strange) = (0, 0);
        let zone = self.zone;
        let cpu = memory.pin().cpu();
        let walked = census::for_each_pcp(memory, zone, |pfn, state| {
            pages += 1;
            let belongs = state.is(Kind::Pcp)
                && state.order().get() == 0
                && state.zone() == usize::from(zone.id)
                && zone.span.contains(pfn)
                && state.migratetype() != MigrateType::Isolate;
            strange += u64::from(!belongs);
        });
        self.own_pcp = (cpu, walked.then_some(pages));
        self.strange_pcp = strange;
    }

    /// Where the zone is.
    pub fn place(&self) -> Place {
        place_of(self.zone)
    }

    /// Free blocks of all lists.
    pub fn listed_blocks(&self) -> u64 {
        self.listed.iter().flatten().sum()
    }

    /// Pages on the free lists of `migratetype`.
    pub fn listed_pages(&self, migratetype: MigrateType) -> u64 {
        let blocks = self.listed[migratetype as usize];
        blocks.iter().enumerate().map(|(order, blocks)| blocks << order).sum()
    }

    /// Pages on all free lists.
    pub fn free_pages(&self) -> u64 {
        MigrateType::ALL.iter().map(|&migratetype| self.listed_pages(migratetype)).sum()
    }
}

impl Totals {
    fn add(&mut self, count: &ZoneCount<'_>) {
        self.managed += count.zone.managed();
        self.free += count.free_pages();
        self.pcp += count.pcp_pages;
        self.allocated += count.allocated;
        self.bad += count.bad;
    }
}

fn place_of(zone: &Zone) -> Place {
    Place::Zone(zone.node, zone.zone_type)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Machine => f.write_str("machine"),
            Place::Node(node) => write!(f, "node {node}"),
            Place::Zone(node, zone) => write!(f, "node {node} zone {zone}"),
            Place::Page(pfn) => write!(f, "pfn {pfn}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A counter that went below 0 is told as what it is.
        let (found, expected) = (self.found as i64, self.expected as i64);
        write!(f, "{}: {} is {found}, should be {expected}", self.place, self.what)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = if self.is_warning { "warning: " } else { "" };
        write!(f, "{severity}{} {}: {}", self.id, self.property, self.first)?;
        if self.faults > 1 { write!(f, " (and {} more)", self.faults - 1) } else { Ok(()) }
    }
}

/// One line that adds up.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { managed, free, pcp, allocated, bad } = self;
        write!(f, "{managed} pages: {free} free, {pcp} per-CPU, {allocated} allocated, {bad} bad")
    }
}

#[cfg(test)]
mod tests;
