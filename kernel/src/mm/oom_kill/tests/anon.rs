//! A world in which tasks have anonymous pages, which the reaper and an exit give back.

use std::sync::Mutex;

use crate::addr::{Pfn, PhysAddr};
use crate::gfp::Gfp;
use crate::mm::memory::{Env, Memory};
use crate::mm::owner::{MigrateError, NoOwner, PageOwner, Pageout, References, Shrinker, Shrunk, SwapCache, SwapSpace};
use crate::mm::page_alloc;
use crate::reclaim_types::MigrateMode;
use crate::task::{Current, Task, TaskTable};

use crate::sync::atomic::Ordering::Relaxed;

/// `host` with anonymous pages.
pub struct AnonEnv<H> {
    pub host: H,
    owner: Anon,
}

impl<H> AnonEnv<H> {
    pub fn new(host: H, swap: SwapSpace) -> AnonEnv<H> {
        AnonEnv { host, owner: Anon { pages: Mutex::default(), swap } }
    }
}

/// Who has which page.
pub struct Anon {
    pages: Mutex<Vec<(u16, Pfn)>>,
    swap: SwapSpace,
}

/// Gives `task` another `count` pages.
pub fn fault_in<H: Env>(memory: &Memory<'_, AnonEnv<H>>, task: &Task, count: u64) {
    let current = Current::new(task, 0);
    for _ in 0..count {
        let pfn = page_alloc::alloc_page(memory, &current, Gfp::GFP_HIGHUSER_MOVABLE).unwrap();
        memory.env.owner.pages.lock().unwrap().push((task.pid(), pfn));
        task.mm.anon_rss.fetch_add(1, Relaxed);
    }
}

impl<H: Env> Env for AnonEnv<H> {
    type Irq = H::Irq;
    type Tracer = H::Tracer;
    type Sched = H::Sched;
    type Owner = Anon;

    fn irq(&self) -> &H::Irq {
        self.host.irq()
    }

    fn tracer(&self) -> &H::Tracer {
        self.host.tracer()
    }

    fn now_ns(&self) -> u64 {
        self.host.now_ns()
    }

    fn fill_pages(&self, pfn: Pfn, nr_pages: u64, byte: u8) {
        self.host.fill_pages(pfn, nr_pages, byte);
    }

    fn first_other(&self, pfn: Pfn, nr_pages: u64, byte: u8) -> Option<(u64, u8)> {
        self.host.first_other(pfn, nr_pages, byte)
    }

    fn copy_page(&self, from: Pfn, to: Pfn) {
        self.host.copy_page(from, to);
    }

    fn write_page(&self, pfn: Pfn, word: impl FnMut(usize) -> u64) {
        self.host.write_page(pfn, word);
    }

    fn read_page(&self, pfn: Pfn, word: impl FnMut(usize, u64)) {
        self.host.read_page(pfn, word);
    }

    fn read_word(&self, addr: PhysAddr) -> u64 {
        self.host.read_word(addr)
    }

    fn write_word(&self, addr: PhysAddr, word: u64) {
        self.host.write_word(addr, word);
    }

    fn sched(&self) -> &H::Sched {
        self.host.sched()
    }

    fn owner(&self) -> &Anon {
        &self.owner
    }

    fn tasks(&self) -> &TaskTable {
        self.host.tasks()
    }

    fn hardware_name(&self) -> Option<&str> {
        Some("linux,dummy-virt")
    }
}

impl PageOwner for Anon {
    fn reap<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, victim: &Task) -> u64 {
        let mut pages = self.pages.lock().unwrap();
        let before = pages.len();
        pages.retain(|(pid, pfn)| {
            let stays = *pid != victim.pid();
            assert!(stays || page_alloc::free_page(memory, current, *pfn) == Ok(true));
            stays
        });
        let freed = (before - pages.len()) as u64;
        victim.mm.anon_rss.fetch_sub(freed, Relaxed);
        freed
    }

    fn swap_space(&self) -> SwapSpace {
        self.swap
    }

    fn swap_cache(&self) -> SwapCache {
        SwapCache { pages: 5, added: 9, deleted: 4, found: 2, searched: 3 }
    }

    fn referenced(&self, index: u32) -> References {
        NoOwner.referenced(index)
    }

    fn mapcount(&self, index: u32) -> u32 {
        NoOwner.mapcount(index)
    }

    fn unmap<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, index: u32) -> bool {
        NoOwner.unmap(memory, current, index)
    }

    fn add_to_swap<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, index: u32) -> bool {
        NoOwner.add_to_swap(memory, current, index)
    }

    fn free_swap<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, index: u32) -> bool {
        NoOwner.free_swap(memory, current, index)
    }

    fn writepage<E: Env>(&self, memory: &Memory<'_, E>, current: &Current<'_>, index: u32) -> Pageout {
        NoOwner.writepage(memory, current, index)
    }

    fn is_congested(&self, index: u32) -> bool {
        NoOwner.is_congested(index)
    }

    fn any_congested(&self) -> bool {
        NoOwner.any_congested()
    }

    fn remove_mapping<E: Env>(&self, _: &Memory<'_, E>, _: &Current<'_>, _: u32, _: Option<u64>) -> bool {
        false
    }

    fn wake_flusher<E: Env>(&self, memory: &Memory<'_, E>) {
        NoOwner.wake_flusher(memory);
    }

    fn isolate_movable(&self, index: u32) -> bool {
        NoOwner.isolate_movable(index)
    }

    fn putback_movable(&self, index: u32) {
        NoOwner.putback_movable(index);
    }

    fn migrate<E: Env>(
        &self,
        _: &Memory<'_, E>,
        _: &Current<'_>,
        _: u32,
        _: u32,
        _: MigrateMode,
    ) -> Result<(), MigrateError> {
        Err(MigrateError::Busy)
    }

    fn shrinkers(&self) -> &[Shrinker] {
        NoOwner.shrinkers()
    }

    fn count_objects(&self, which: usize) -> u64 {
        NoOwner.count_objects(which)
    }

    fn scan_objects<E: Env>(&self, _: &Memory<'_, E>, _: &Current<'_>, _: usize, _: u64, _: Gfp) -> Shrunk {
        Shrunk::Stop
    }

    fn take_deferred(&self, which: usize) -> u64 {
        NoOwner.take_deferred(which)
    }

    fn add_deferred(&self, which: usize, nr: u64) -> u64 {
        NoOwner.add_deferred(which, nr)
    }
}
