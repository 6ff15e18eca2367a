//! A machine whose pages belong to a test: [`TestOwner`] does what it is told, and a [`ReclaimLab`] sets the scene.
//!
//! A test says of each page who maps it and how; writes complete when the test says so. Everything else is the host's.

use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use crate::gfp::Gfp;
use crate::mm::lru::lru_of;
use crate::mm::memory::{Env, Memory};
use crate::mm::node::Node;
use crate::mm::owner::{PageOwner, Pageout, References, Shrinker, Shrunk, SwapSpace};
use crate::mm::page::{Page, PageFlags};
use crate::mm::page_alloc;
use crate::mm::pcp::PcpLimits;
use crate::mm::swap;
use crate::mm::testing::{HostEnv, HostMachine, MIB, OwnedEnv, context, lower_to};
use crate::mm::vmscan;
use crate::mm::zone::Zone;
use crate::mmzone::NodeId;
use crate::reclaim_types::LruList;
use crate::task::{Current, Task, TaskKind};
use crate::trace::vmscan::ShrinkerName;
use crate::vmstat::{NodeStat, VmEvent};

/// A host program's world with pages that belong to the test.
pub type TestEnv = OwnedEnv<HostEnv<'static>, TestOwner>;

/// Who maps a page, and how; each mapping holds a reference.
#[derive(Clone, Copy, Default)]
pub struct Mapped {
    pub mappings: u32,
    /// How many of them were used.
    pub young: u32,
    pub executable: bool,
    pub mlocked: bool,
}

impl Mapped {
    /// By nobody.
    pub const NOT: Mapped = Mapped { mappings: 0, young: 0, executable: false, mlocked: false };
    /// Once, and not used.
    pub const ONCE: Mapped = Mapped { mappings: 1, ..Mapped::NOT };
    /// Once, and used.
    pub const YOUNG: Mapped = Mapped { young: 1, ..Mapped::ONCE };
    /// Once, as code, and used.
    pub const CODE: Mapped = Mapped { executable: true, ..Mapped::YOUNG };
    /// Once, and locked into memory.
    pub const MLOCKED: Mapped = Mapped { mlocked: true, ..Mapped::ONCE };
}

/// The test's only shrinker.
const SHRINKERS: [Shrinker; 1] =
    [Shrinker { name: &ShrinkerName { scan: "test_scan", shrinker: "test" }, seeks: 2, batch: 0 }];

/// Owns the pages of a test.
#[derive(Default)]
pub struct TestOwner {
    mapped: Mutex<HashMap<u32, Mapped>>,
    /// Pages under writeback, the oldest write first.
    pub writes: Mutex<VecDeque<u32>>,
    /// What the next writes come to; [`Pageout::Submitted`] unless told otherwise.
    pub pageout: Mutex<Option<Pageout>>,
    pub swap_total: AtomicU64,
    pub swap_used: AtomicU64,
    pub congested: AtomicBool,
    /// How often reclaim called for the flusher.
    pub flusher_wakes: AtomicU64,
    /// What evicted pages left behind, in order.
    pub shadows: Mutex<Vec<u64>>,
    /// Objects of the shrinker, which never become fewer.
    pub objects: AtomicU64,
    pub deferred: AtomicU64,
    /// Objects scanned, and freed: the same.
    pub scanned: AtomicU64,
}

impl TestOwner {
    fn mapped(&self, index: u32) -> Mapped {
        self.mapped.lock().unwrap().get(&index).copied().unwrap_or_default()
    }

    /// Writes that were begun end: all of them. Linux: `end_page_writeback`.
    pub fn complete_writes(&self, memory: &Memory<'_, TestEnv>, current: &Current<'_>) {
        while let Some(index) = self.writes.lock().unwrap().pop_front() {
            let page = memory.pages.at(index);
            if !page.clear_flags(PageFlags::RECLAIM).is_empty() {
                swap::rotate_reclaimable_page(memory, current, index);
            }
            page.clear_flags(PageFlags::WRITEBACK);
        }
    }
}

impl PageOwner for TestOwner {
    fn referenced(&self, index: u32) -> References {
        let mut mapped = self.mapped.lock().unwrap();
        let Some(page) = mapped.get_mut(&index) else { return References::default() };
        let young = std::mem::take(&mut page.young);
        References { young, executable: young > 0 && page.executable, mlocked: page.mlocked }
    }

    fn mapcount(&self, index: u32) -> u32 {
        self.mapped(index).mappings
    }

    fn is_mlocked(&self, index: u32) -> bool {
        self.mapped(index).mlocked
    }

    fn unmap<E: Env>(&self, memory: &Memory<'_, E>, _: &Current<'_>, index: u32) -> bool {
        let page = memory.pages.at(index);
        if self.mapped(index).mlocked {
            page.set_flags(PageFlags::UNEVICTABLE);
            return false;
        }
        let mapped = self.mapped.lock().unwrap().remove(&index).unwrap_or_default();
        (0..mapped.mappings).for_each(|_| assert!(!page.put_testzero()));
        true
    }

    fn swap_space(&self) -> SwapSpace {
        let total = self.swap_total.load(Relaxed);
        SwapSpace { total, free: total - self.swap_used.load(Relaxed) }
    }

    fn add_to_swap<E: Env>(&self, memory: &Memory<'_, E>, _: &Current<'_>, index: u32) -> bool {
        let free = self.swap_space().free > 0;
        if free {
            self.swap_used.fetch_add(1, Relaxed);
            memory.pages.at(index).set_flags(PageFlags::SWAPCACHE | PageFlags::DIRTY);
            memory.pages.at(index).get(1);
        }
        free
    }

    fn free_swap<E: Env>(&self, memory: &Memory<'_, E>, _: &Current<'_>, index: u32) -> bool {
        let page = memory.pages.at(index);
        page.clear_flags(PageFlags::SWAPCACHE);
        page.set_flags(PageFlags::DIRTY);
        self.swap_used.fetch_sub(1, Relaxed);
        assert!(!page.put_testzero());
        true
    }

    fn writepage<E: Env>(&self, memory: &Memory<'_, E>, _: &Current<'_>, index: u32) -> Pageout {
        let page = memory.pages.at(index);
        let pageout = self.pageout.lock().unwrap().unwrap_or(Pageout::Submitted);
        if matches!(pageout, Pageout::Submitted | Pageout::Clean) {
            page.clear_flags(PageFlags::DIRTY);
        }
        if pageout == Pageout::Submitted {
            page.set_flags(PageFlags::WRITEBACK);
            self.writes.lock().unwrap().push_back(index);
            swap::unlock_page(memory, index);
        }
        pageout
    }

    fn is_congested(&self, _: u32) -> bool {
        self.congested.load(Relaxed)
    }

    fn any_congested(&self) -> bool {
        self.congested.load(Relaxed)
    }

    fn remove_mapping<E: Env>(&self, memory: &Memory<'_, E>, _: &Current<'_>, index: u32, shadow: Option<u64>) -> bool {
        let page: &Page = memory.pages.at(index);
        if !page.freeze(2) {
            return false;
        }
        page.clear_flags(PageFlags::SWAPCACHE);
        self.shadows.lock().unwrap().extend(shadow);
        page.unfreeze(1);
        true
    }

    fn wake_flusher<E: Env>(&self, _: &Memory<'_, E>) {
        self.flusher_wakes.fetch_add(1, Relaxed);
    }

    fn shrinkers(&self) -> &[Shrinker] {
        &SHRINKERS
    }

    fn count_objects(&self, _: usize) -> u64 {
        self.objects.load(Relaxed)
    }

    fn scan_objects<E: Env>(&self, _: &Memory<'_, E>, current: &Current<'_>, _: usize, nr: u64, gfp: Gfp) -> Shrunk {
        if !gfp.contains(Gfp::__GFP_FS) {
            return Shrunk::Stop;
        }
        self.scanned.fetch_add(nr, Relaxed);
        current.task.add_reclaimed_slab(nr / 64);
        Shrunk::Freed(nr)
    }

    fn take_deferred(&self, _: usize) -> u64 {
        self.deferred.swap(0, Relaxed)
    }

    fn add_deferred(&self, _: usize, nr: u64) -> u64 {
        self.deferred.fetch_add(nr, Relaxed) + nr
    }
}

/// The machine M64 of the specification: 64 MiB, all of it free.
pub fn m64() -> HostMachine {
    HostMachine::new("", &[(0x4000_0000, 64 * MIB, 0)], &[])
}

/// M64 with its knobs as the scenarios want them: no per-CPU lists, no boost; and a user task that acts.
pub struct ReclaimLab<'m> {
    pub memory: Memory<'m, TestEnv>,
}

impl<'m> ReclaimLab<'m> {
    pub fn new(machine: &'m HostMachine) -> ReclaimLab<'m> {
        let memory = machine.memory_with(TestEnv::default());
        memory.populated_zones().for_each(|zone| zone.set_pcp_limits(PcpLimits::BOOT));
        memory.sysctl.watermark_boost_factor.store(0, Relaxed);
        ReclaimLab { memory }
    }

    pub fn current(&self) -> Current<'_> {
        Current::new(self.memory.env.tasks().init())
    }

    pub fn owner(&self) -> &TestOwner {
        self.memory.env.owner()
    }

    pub fn node(&self) -> &Node {
        self.memory.node(NodeId(0))
    }

    pub fn zone(&self) -> &Zone {
        self.memory.populated_zones().next().unwrap()
    }

    pub fn free_pages(&self) -> u64 {
        self.zone().counts.free_pages()
    }

    /// A task of this kind.
    pub fn task(&self, name: &str, kind: TaskKind) -> &Task {
        self.memory.env.tasks().spawn(name, kind).unwrap()
    }

    /// A page at the head of the list that `marks` name. A file page has its cache's reference beside those of its
    /// mappings, an anonymous one only these.
    pub fn page(&self, marks: PageFlags, mapped: Mapped) -> u32 {
        let pfn = page_alloc::alloc_pages(&self.memory, &self.current(), Gfp::GFP_HIGHUSER_MOVABLE, 0).unwrap();
        let index = self.memory.pages.index(pfn);
        let page = self.memory.pages.at(index);
        page.set_flags(marks | PageFlags::UPTODATE);
        let anon = marks.contains(PageFlags::SWAPBACKED);
        page.get(mapped.mappings.saturating_sub(anon.into()) as u16);
        self.owner().mapped.lock().unwrap().insert(index, mapped);
        swap::lru_cache_add(&self.memory, &self.current(), index);
        index
    }

    pub fn pages(&self, nr: u64, marks: PageFlags, mapped: Mapped) {
        (0..nr).for_each(|_| _ = self.page(marks, mapped));
    }

    /// Takes raw pages until `nr` are free.
    pub fn free_to(&self, nr: u64) {
        lower_to(&self.memory, &self.current(), self.zone(), nr);
    }

    pub fn flags(&self, index: u32) -> PageFlags {
        self.memory.pages.at(index).flags()
    }

    /// The list that a page is on.
    pub fn list_of(&self, index: u32) -> Option<LruList> {
        let state = self.memory.pages.at(index).state();
        state.flags().contains(PageFlags::LRU).then(|| lru_of(state.flags()))
    }

    /// One direct reclaim as the first task: what it returns.
    pub fn reclaim(&self, gfp: Gfp) -> u64 {
        self.reclaim_as(&self.current(), gfp)
    }

    pub fn reclaim_as(&self, current: &Current<'_>, gfp: Gfp) -> u64 {
        let ac = context(&self.memory, NodeId(0), gfp, 0);
        vmscan::try_to_free_pages(&self.memory, current, &ac)
    }

    /// How much these counters moved by since the machine started; a test that needs the difference begins with 0.
    pub fn events<const N: usize>(&self, events: [VmEvent; N]) -> [u64; N] {
        events.map(|event| self.memory.event(event))
    }

    pub fn stat(&self, stat: NodeStat) -> u64 {
        self.node().stat(stat)
    }

    /// Every list is as long as it counts, can be walked, and holds pages that belong there; nothing is isolated.
    #[track_caller]
    pub fn assert_lists_sound(&self) {
        let pin = self.memory.pin();
        let lruvec = self.node().lru.lock(&pin);
        for lru in LruList::ALL {
            let list = lruvec.list(lru);
            assert!(list.is_consistent(&self.memory.pages, 1 << 20), "{lru}");
            let pages: Vec<u32> = list.iter(&self.memory.pages).collect();
            assert_eq!(pages.len() as u64, self.stat(NodeStat::ALL[lru.index()]), "{lru}");
            assert!(pages.iter().all(|&index| self.list_of(index) == Some(lru)), "{lru}");
            assert!(pages.iter().all(|&index| !self.flags(index).contains(PageFlags::LOCKED)), "{lru}");
        }
        let isolated = [NodeStat::NrIsolatedAnon, NodeStat::NrIsolatedFile].map(|stat| self.stat(stat));
        assert_eq!(isolated, [0, 0]);
    }
}
