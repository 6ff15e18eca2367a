//! A machine whose pages can move: [`MovableEnv`] is the host with an owner, [`Handles`], and [`MovableLab`] the machine of
//! the scenarios, half of it in the hands of that owner.

use crate::sync::atomic::Ordering::Relaxed;
use std::collections::HashMap;
use std::sync::Mutex;

use crate::addr::{Order, PAGE_SIZE, Pfn};
use crate::check;
use crate::gfp::Gfp;
use crate::mm::compaction;
use crate::mm::freelist;
use crate::mm::memory::{Env, Hook, LinearMap, Memory};
use crate::mm::migrate::migrate_page_states;
use crate::mm::owner::{MigrateError, PageOwner};
use crate::mm::page::{Kind, NIL, Page, PageFlags};
use crate::mm::page_alloc;
use crate::mm::pcp::PcpLimits;
use crate::mm::reserve;
use crate::mm::swap;
use crate::mm::testing::{HostEnv, HostMachine, MIB, OwnedEnv, context, lower_to};
use crate::mm::zone::{AllocFlags, Zone};
use crate::mmzone::{MigrateType, NodeId};
use crate::reclaim_types::{CompactPriority, CompactResult, MigrateMode};
use crate::task::Current;
use crate::trace::walk::{self, Step};
use crate::trace::{Event, Tracer};
use crate::vmstat::{NodeStat, VmEvent};

/// First page of the machine.
pub const BASE: u64 = 0x40000;
/// Pages of the machine.
pub const PAGES: u64 = 16384;
/// Frame of the first handle of [`MovableLab::scattered`].
pub const FIRST_HANDLE: Pfn = Pfn(BASE + PAGES / 2);

/// 64 MiB, all of it free.
pub fn machine() -> HostMachine {
    HostMachine::new("", &[(BASE * PAGE_SIZE, 64 * MIB, 0)], &[])
}

/// A page that its owner knows by a number.
#[derive(Clone, Copy)]
struct Handle {
    frame: u32,
    isolated: bool,
    mapcount: u32,
    /// References of the owner and of the mappings.
    references: u16,
    /// It was locked into memory when it was taken over.
    mlocked: bool,
}

/// Owns pages that can move, by number.
#[derive(Default)]
pub struct Handles {
    handles: Mutex<Vec<Handle>>,
    of_frame: Mutex<HashMap<u32, usize>>,
}

/// Word `at` of the page with number `handle`.
fn word(handle: usize, at: usize) -> u64 {
    (handle as u64) << 32 ^ at as u64 ^ 0x9e37_79b9_7f4a_7c15
}

impl Handles {
    /// Takes over a page with all its references.
    fn adopt<E: Env>(&self, memory: &Memory<'_, E>, frame: u32, mapcount: u32) -> usize {
        let references = memory.pages.at(frame).state().count();
        let mlocked = memory.pages.at(frame).flags().contains(PageFlags::UNEVICTABLE);
        let mut handles = self.handles.lock().unwrap();
        let handle = handles.len();
        handles.push(Handle { frame, isolated: false, mapcount, references, mlocked });
        self.of_frame.lock().unwrap().insert(frame, handle);
        memory.env.linear().write_page(memory.pages.pfn(frame), |at| word(handle, at));
        handle
    }

    fn handle(&self, frame: u32) -> Option<usize> {
        self.of_frame.lock().unwrap().get(&frame).copied()
    }

    /// Where the page is now.
    pub fn frame_of(&self, handle: usize) -> Pfn {
        Pfn(BASE + u64::from(self.handles.lock().unwrap()[handle].frame))
    }

    fn forget(&self, frame: u32) {
        let handle = self.of_frame.lock().unwrap().remove(&frame).expect("a page of this owner");
        self.handles.lock().unwrap()[handle].frame = NIL;
    }

    fn change<R>(&self, frame: u32, change: impl FnOnce(&mut Handle) -> R) -> R {
        let handle = self.handle(frame).expect("a page of this owner");
        change(&mut self.handles.lock().unwrap()[handle])
    }

    /// Panics unless every page has its content.
    #[track_caller]
    fn check<E: Env>(&self, memory: &Memory<'_, E>) {
        let handles = self.handles.lock().unwrap();
        for (handle, entry) in handles.iter().enumerate().filter(|(_, entry)| entry.frame != NIL) {
            let pfn = memory.pages.pfn(entry.frame);
            memory
                .env
                .linear()
                .read_page(pfn, |at, found| assert_eq!(found, word(handle, at), "handle {handle} at {pfn}"));
            assert!(!entry.isolated, "handle {handle} at {pfn} is isolated");
        }
    }
}

impl PageOwner for Handles {
    fn mapcount(&self, index: u32) -> u32 {
        self.change(index, |handle| handle.mapcount)
    }

    fn is_mlocked(&self, index: u32) -> bool {
        self.handle(index).is_some() && self.change(index, |handle| handle.mlocked)
    }

    fn isolate_movable(&self, index: u32) -> bool {
        self.change(index, |handle| !std::mem::replace(&mut handle.isolated, true))
    }

    fn putback_movable(&self, index: u32) {
        self.change(index, |handle| assert!(std::mem::take(&mut handle.isolated), "put back twice"));
    }

    /// The references that the page came with, and the isolator's, are all that may be there.
    fn migrate<E: Env>(
        &self,
        memory: &Memory<'_, E>,
        _: &Current<'_>,
        from: u32,
        to: u32,
        _: MigrateMode,
    ) -> Result<(), MigrateError> {
        let (source, target) = (memory.pages.at(from), memory.pages.at(to));
        assert!(source.flags().contains(PageFlags::LOCKED) && target.flags().contains(PageFlags::LOCKED));
        assert_eq!(target.state().count(), 1);
        let own = self.change(from, |handle| handle.references);
        if !source.freeze(own + 1) {
            return Err(MigrateError::Again);
        }
        memory.env.linear().copy_page(memory.pages.pfn(from), memory.pages.pfn(to));
        memory.env.linear().fill_pages(memory.pages.pfn(from), 1, 0);
        migrate_page_states(memory, from, to);
        target.get(own);
        source.unfreeze(1);
        self.change(from, |handle| (handle.frame, handle.isolated) = (to, false));
        let mut of_frame = self.of_frame.lock().unwrap();
        let handle = of_frame.remove(&from).expect("a page of this owner");
        of_frame.insert(to, handle);
        Ok(())
    }
}

/// A host program's world with [`Handles`] in it.
pub type MovableEnv = OwnedEnv<HostEnv<'static>, Handles>;

/// The machine of the scenarios: 64 MiB, one zone, no per-CPU lists, no boost.
pub struct MovableLab<'m> {
    pub memory: Memory<'m, MovableEnv>,
}

impl<'m> MovableLab<'m> {
    /// The machine with all of it free.
    pub fn fresh(machine: &'m HostMachine) -> MovableLab<'m> {
        let memory = machine.memory_with(MovableEnv::default());
        memory.sysctl.watermark_boost_factor.store(0, Relaxed);
        memory.populated_zones().for_each(|zone| zone.set_pcp_limits(PcpLimits::BOOT));
        MovableLab { memory }
    }

    /// Every page in use, as single pages; the lower half lies in unmovable pageblocks.
    fn full(machine: &'m HostMachine) -> MovableLab<'m> {
        let lab = MovableLab::fresh(machine);
        lab.take_everything();
        (0..PAGES as u32 / 2)
            .step_by(512)
            .for_each(|index| lab.memory.blocks.set_migratetype(index, MigrateType::Unmovable));
        lab
    }

    /// The lower half of memory in use for good; of the upper half, movable, every even page is a handle's and every odd
    /// one is free. Base F of the scenarios.
    pub fn scattered(machine: &'m HostMachine) -> MovableLab<'m> {
        let lab = MovableLab::full(machine);
        for index in (PAGES as u32 / 2..PAGES as u32).step_by(2) {
            lab.memory.pages.at(index).set_flags(PageFlags::MOVABLE);
            lab.owner().adopt(&lab.memory, index, 0);
            lab.free(lab.memory.pages.pfn(index + 1));
        }
        assert_eq!(lab.zone().counts.nr_free(Order::ZERO), 4096);
        lab
    }

    /// The same with nobody to move the pages.
    pub fn full_of_raw_pages(machine: &'m HostMachine) -> MovableLab<'m> {
        let lab = MovableLab::full(machine);
        (PAGES as u32 / 2 + 1..PAGES as u32).step_by(2).for_each(|index| lab.free(lab.memory.pages.pfn(index)));
        lab
    }

    /// The same with the even pages of the upper half on LRU lists, marked and mapped as `page` says by number.
    pub fn with_lru_pages(machine: &'m HostMachine, page: impl Fn(usize) -> (PageFlags, u32)) -> MovableLab<'m> {
        let lab = MovableLab::full(machine);
        for (number, index) in (PAGES as u32 / 2..PAGES as u32).step_by(2).enumerate() {
            let (marks, mapcount) = page(number);
            let record = lab.memory.pages.at(index);
            record.set_flags(marks);
            // A cache refers to the page of a file, its first mapping to an anonymous one.
            record.get(mapcount as u16 - u16::from(marks.contains(PageFlags::SWAPBACKED)));
            lab.owner().adopt(&lab.memory, index, mapcount);
            swap::lru_cache_add(&lab.memory, &lab.current(), index);
            lab.free(lab.memory.pages.pfn(index + 1));
        }
        lab
    }

    /// Takes every free page.
    pub fn take_everything(&self) {
        let zone = self.zone();
        let (pages, pin) = (&self.memory.pages, self.memory.pin());
        let mut guard = zone.free.lock(&pin);
        let mut buddy = zone.buddy(&mut guard, *pages, self.memory.blocks);
        for index in zone.indices(pages) {
            let state = self.memory.blocks.state_of(pages, index);
            if state.is(Kind::Buddy) {
                zone.compact.count_taken(state.order().nr_pages());
                buddy.take_apart(index, state, PageFlags::empty(), 1);
            }
        }
    }

    pub fn owner(&self) -> &Handles {
        self.memory.env.owner()
    }

    pub fn zone(&self) -> &Zone {
        self.memory.populated_zones().next().unwrap()
    }

    pub fn current(&self) -> Current<'_> {
        Current::new(self.memory.env.tasks().init())
    }

    pub fn page(&self, pfn: Pfn) -> &Page {
        self.memory.pages.at(self.memory.pages.index(pfn))
    }

    pub fn free(&self, pfn: Pfn) {
        page_alloc::free_page(&self.memory, &self.current(), pfn).unwrap();
    }

    /// Takes raw pages until `nr_pages` are free.
    pub fn free_to(&self, nr_pages: u64) {
        lower_to(&self.memory, &self.current(), self.zone(), nr_pages);
    }

    /// Frees the even pages from `first` on, which are handles' no more, up to half a pageblock.
    pub fn free_half(&self, first: u64) {
        for pfn in (first..first + 256).step_by(2) {
            self.owner().forget(self.memory.pages.index(Pfn(pfn)));
            self.free(Pfn(pfn));
        }
    }

    /// A block, if one is free above Min.
    pub fn take(&self, gfp: Gfp, order: u32) -> Option<Pfn> {
        let ac = context(&self.memory, NodeId(0), gfp, order);
        let flags = reserve::gfp_to_alloc_flags(&self.current(), gfp);
        let index = freelist::get_page_from_freelist(&self.memory, &self.current(), &ac, flags)?;
        Some(self.memory.pages.pfn(index))
    }

    pub fn try_to_compact(&self, gfp: Gfp, order: u32, priority: CompactPriority) -> CompactResult {
        let ac = context(&self.memory, NodeId(0), gfp, order);
        let flags = reserve::gfp_to_alloc_flags(&self.current(), gfp);
        compaction::try_to_compact_pages(&self.memory, &self.current(), &ac, flags, priority)
    }

    pub fn suitable(&self, gfp: Gfp, order: u32) -> CompactResult {
        let flags = reserve::gfp_to_alloc_flags(&self.current(), gfp);
        let order = Order::new(order).unwrap();
        compaction::compaction_suitable(&self.memory, &self.current(), self.zone(), order, flags, 0)
    }

    /// As if `free` pages were free.
    pub fn suitable_with(&self, order: u32, free: u64) -> CompactResult {
        compaction::suitable_with(self.zone(), Order::new(order).unwrap(), AllocFlags::empty(), 0, free)
    }

    pub fn count(&self, event: VmEvent) -> u64 {
        self.memory.event(event)
    }

    /// The events that `act` causes.
    pub fn events<R>(&self, act: impl FnOnce() -> R) -> Vec<Event> {
        let seq = self.memory.env.tracer().next_seq();
        self.memory.set_hook(Hook::Trace, true);
        let _ = act();
        self.memory.set_hook(Hook::Trace, false);
        let tracer = self.memory.env.tracer();
        let event = |step| match step {
            Step::Entry(entry) => entry.event,
            Step::Lost(events) => panic!("{events} events lost"),
        };
        walk::walk(tracer, seq..tracer.next_seq()).map(event).collect()
    }

    /// No content is lost, no page is left isolated, and the audit has nothing to say.
    #[track_caller]
    pub fn assert_intact(&self) {
        self.owner().check(&self.memory);
        let node = self.memory.node(NodeId(0));
        assert_eq!([NodeStat::NrIsolatedAnon, NodeStat::NrIsolatedFile].map(|stat| node.stat(stat)), [0, 0]);
        let audit = check::audit(&self.memory);
        let findings: Vec<String> = audit.findings().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{findings:#?}");
    }
}
