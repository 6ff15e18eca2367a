//! A world in which tasks have anonymous pages, which the reaper and an exit give back.

use std::sync::Mutex;

use crate::addr::Pfn;
use crate::gfp::Gfp;
use crate::mm::memory::{Env, Memory};
use crate::mm::owner::{PageOwner, SwapCache, SwapSpace};
use crate::mm::page_alloc;
use crate::mm::testing::{HostEnv, OwnedEnv};
use crate::sync::atomic::Ordering::Relaxed;
use crate::task::{Current, Task};

/// A host program's world in which tasks have anonymous pages.
pub type AnonEnv = OwnedEnv<HostEnv<'static>, Anon>;

/// The world, with these slots for them.
pub fn env(swap: SwapSpace) -> AnonEnv {
    OwnedEnv::new(HostEnv::default(), Anon { pages: Mutex::default(), swap }).named("linux,dummy-virt")
}

/// Who has which page.
pub struct Anon {
    pages: Mutex<Vec<(u16, Pfn)>>,
    swap: SwapSpace,
}

/// Gives `task` another `count` pages.
pub fn fault_in(memory: &Memory<'_, AnonEnv>, task: &Task, count: u64) {
    let current = Current::new(task);
    for _ in 0..count {
        let pfn = page_alloc::alloc_page(memory, &current, Gfp::GFP_HIGHUSER_MOVABLE).unwrap();
        memory.env.owner().pages.lock().unwrap().push((task.pid(), pfn));
        task.mm.anon_rss.fetch_add(1, Relaxed);
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
}
