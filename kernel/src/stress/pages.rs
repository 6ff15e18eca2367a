//! Raw blocks, objects and handles: taken with every mask, order and context, and given back in any order.
//!
//! Whoever takes a block or an object writes a mark into it that must still be there in the end.

use super::Stress;
use crate::addr::{PAGE_SIZE, Pfn, PhysAddr};
use crate::gfp::Gfp;
use crate::mm::freelist;
use crate::mm::handles;
use crate::mm::highmem;
use crate::mm::memory::{Env, Memory};
use crate::mm::page_alloc;
use crate::mm::slab;
use crate::mm::users::Users;
use crate::mmzone::NodeId;
use crate::task::{Context, Current, TaskFlags};

/// A raw block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pfn: Pfn,
    mark: u32,
    order: u8,
}

impl Block {
    /// None.
    pub(super) const NONE: Block = Block { pfn: Pfn(0), mark: 0, order: 0 };
}

/// A slab object, or a large block of `kmalloc`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    addr: PhysAddr,
    mark: u32,
    /// Pages that it may keep from being freed.
    pages: u32,
}

impl Object {
    /// None.
    pub(super) const NONE: Object = Object { addr: PhysAddr(0), mark: 0, pages: 0 };
}

/// Masks that never wait for long, for every order and context.
const HURRIED: [Gfp; 8] = [
    Gfp::GFP_NOWAIT,
    Gfp::GFP_ATOMIC,
    Gfp::GFP_ATOMIC.union(Gfp::__GFP_NOMEMALLOC),
    Gfp::GFP_TRANSHUGE_LIGHT,
    Gfp::GFP_NOWAIT.union(Gfp::__GFP_MOVABLE),
    Gfp::GFP_NOWAIT.union(Gfp::__GFP_RECLAIMABLE),
    Gfp::GFP_NOWAIT.union(Gfp::__GFP_MEMALLOC),
    Gfp::GFP_NOWAIT.union(Gfp::__GFP_HIGH),
];

/// Masks that may kill, for single pages.
const PATIENT: [Gfp; 6] = [
    Gfp::GFP_KERNEL,
    Gfp::GFP_KERNEL.union(Gfp::__GFP_NOFAIL),
    Gfp::GFP_KERNEL.union(Gfp::__GFP_MEMALLOC),
    Gfp::GFP_USER,
    Gfp::GFP_HIGHUSER_MOVABLE,
    Gfp::GFP_KERNEL.union(Gfp::__GFP_RECLAIMABLE),
];

/// Masks with which a request may go round for ever when nobody frees anything, for killing is not for them.
const STUBBORN: [Gfp; 2] = [Gfp::GFP_NOFS, Gfp::GFP_NOIO];

impl Stress {
    pub(super) fn work_on_blocks<'u, E: Env<Owner = Users<'u>>>(
        &mut self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
    ) {
        if self.random.one_in(64) {
            freelist::drain_local_pages(memory, current, None);
        }
        if self.takes() && !self.blocks.is_full() {
            self.take_block(memory, current);
        } else {
            self.free_block(memory, current);
        }
    }

    /// A mask and an order with which a request comes to an end.
    fn request(&mut self) -> (Gfp, u32) {
        let order = match self.random.below(16) {
            0..10 => 0,
            10..13 => self.random.below(4),
            13..15 => self.random.below(6),
            _ => self.random.below(11),
        };
        let mut gfp = match self.random.below(8) {
            0..3 => self.random.pick(&HURRIED),
            3 if self.limits.guarded && order == 0 => self.random.pick(&STUBBORN),
            3 => self.random.pick(&STUBBORN) | Gfp::__GFP_NORETRY,
            _ => self.random.pick(&PATIENT),
        };
        let is_patient = gfp.contains(Gfp::__GFP_DIRECT_RECLAIM);
        if order > 0 && is_patient && !gfp.intersects(Gfp::__GFP_NORETRY | Gfp::__GFP_RETRY_MAYFAIL) {
            // In v5.0 a round of RETRY_MAYFAIL goes on while anything is scanned, reclaimed or not: for ever, if the mask
            // forbids what it would take. Only a person who can be interrupted may try that.
            let may_last = self.limits.guarded && self.id == 0 && self.random.one_in(2);
            let gives_up = if may_last { Gfp::__GFP_RETRY_MAYFAIL } else { Gfp::__GFP_NORETRY };
            gfp = (gfp | gives_up) - Gfp::__GFP_NOFAIL;
        }
        for extra in [Gfp::__GFP_ZERO, Gfp::__GFP_COMP, Gfp::__GFP_WRITE] {
            if self.random.one_in(12) {
                gfp |= extra;
            }
        }
        if self.random.one_in(16) && !gfp.contains(Gfp::__GFP_NOFAIL) {
            gfp |= Gfp::__GFP_THISNODE;
        }
        (gfp, order as u32)
    }

    /// A context in which the mask may be used.
    fn context(&mut self, gfp: Gfp) -> Context {
        let may_be_anywhere = !gfp.contains(Gfp::__GFP_DIRECT_RECLAIM);
        if may_be_anywhere { self.random.pick(&Context::ALL) } else { Context::Task }
    }

    fn take_block<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let (mut gfp, order) = self.request();
        if memory.oom.is_disabled() || current.flags().contains(TaskFlags::PF_DUMPCORE) {
            // Nobody is killed for it, so that it might not come to an end.
            gfp -= Gfp::__GFP_NOFAIL;
        }
        if !self.may_hold(1 << order) {
            return self.free_block(memory, current);
        }
        let context = self.context(gfp);
        let node = NodeId(self.random.below(memory.nr_online_nodes() as u64) as u8);
        let node = self.random.one_in(4).then_some(node);
        let ask = |current: &Current<'_>| page_alloc::alloc_pages_node(memory, current, node, gfp, order);
        let page = match context {
            Context::SoftIrq => current.serve_softirq(|current| ask(&current)),
            context => ask(&current.in_context(context)),
        };
        let Ok(pfn) = page else { return };
        let mark = self.random.below(1 << 32) as u32;
        highmem::write_word(memory, pfn.addr(), mark.into());
        highmem::write_word(memory, PhysAddr(pfn.add(1 << order).addr().0 - 8), !u64::from(mark));
        self.blocks.push(Block { pfn, mark, order: order as u8 });
        self.held += 1 << order;
    }

    pub(super) fn free_block<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let Some(Block { pfn, order, mark }) = self.blocks.draw(&mut self.random) else { return };
        let (mark, order) = (u64::from(mark), u32::from(order));
        let words =
            [pfn.addr(), PhysAddr(pfn.add(1 << order).addr().0 - 8)].map(|addr| highmem::read_word(memory, addr));
        assert_eq!(words, [mark, !mark], "somebody wrote into the block of order {order} at {pfn}");
        assert_eq!(page_alloc::free_pages(memory, current, pfn, order), Ok(true));
        self.held -= 1 << order;
    }

    pub(super) fn work_on_objects<'u, E: Env<Owner = Users<'u>>>(
        &mut self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
    ) {
        if self.random.one_in(128) {
            let nth = self.random.below(14) as usize;
            if let Some(cache) = memory.slabs.iter().nth(nth) {
                slab::kmem_cache_shrink(memory, current, cache);
            }
        }
        if self.takes() && !self.objects.is_full() {
            self.take_object(memory, current);
        } else {
            self.free_object(memory, current);
        }
    }

    fn take_object<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let size = match self.random.below(20) {
            0 => 8193 + self.random.below(20_000),
            1..4 => 1 + self.random.below(8192),
            4..8 => 1 + self.random.below(1024),
            _ => 8 + self.random.below(200),
        };
        let mut gfp = match self.random.below(4) {
            0 => self.random.pick(&[Gfp::GFP_NOWAIT, Gfp::GFP_ATOMIC]),
            _ if size > PAGE_SIZE => Gfp::GFP_KERNEL | Gfp::__GFP_NORETRY,
            _ => Gfp::GFP_KERNEL,
        };
        for extra in [Gfp::__GFP_RECLAIMABLE, Gfp::__GFP_ZERO] {
            if self.random.one_in(8) {
                gfp |= extra;
            }
        }
        // An object may keep a whole slab from being freed.
        let pages = size.div_ceil(PAGE_SIZE).next_power_of_two().max(2);
        if !self.may_hold(pages) {
            return self.free_object(memory, current);
        }
        let Ok(addr) = slab::kmalloc(memory, current, size, gfp) else { return };
        let mark = self.random.below(1 << 32) as u32;
        highmem::write_word(memory, addr, mark.into());
        self.objects.push(Object { addr, mark, pages: pages as u32 });
        self.held += pages;
    }

    pub(super) fn free_object<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let Some(Object { addr, pages, mark }) = self.objects.draw(&mut self.random) else { return };
        assert_eq!(
            highmem::read_word(memory, addr),
            u64::from(mark),
            "somebody wrote into the object at {:#x}",
            addr.0
        );
        assert_eq!(slab::kfree(memory, current, addr), Ok(()));
        self.held -= u64::from(pages);
    }

    pub(super) fn work_on_handles<'u, E: Env<Owner = Users<'u>>>(
        &mut self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
    ) {
        let users = memory.env.owner();
        if self.random.one_in(8)
            && let Some(number) = self.handles.any(&mut self.random)
        {
            assert_eq!(handles::pin(memory, users, number), Ok(()));
            assert_eq!(handles::free(memory, current, users, number), Err(crate::mm::pc_error::PcError::Pinned));
            assert_eq!(handles::unpin(memory, current, users, number), Ok(()));
        }
        if !self.takes() || self.handles.is_full() || !self.may_hold(1) {
            return self.free_handle(memory, current);
        }
        let gfp = self.random.pick(&[Gfp::GFP_HIGHUSER_MOVABLE, Gfp::GFP_NOWAIT | Gfp::__GFP_MOVABLE]);
        if let Ok(number) = handles::alloc(memory, current, users, gfp) {
            self.handles.push(number);
            self.held += 1;
        }
    }

    pub(super) fn free_handle<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        let Some(number) = self.handles.draw(&mut self.random) else { return };
        assert_eq!(handles::check(memory, current, memory.env.owner(), number), Ok(true));
        assert!(handles::free(memory, current, memory.env.owner(), number).is_ok());
        self.held -= 1;
    }
}
