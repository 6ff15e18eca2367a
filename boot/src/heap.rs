//! The image's heap, for the shell and for text; the page allocator never uses it.
//!
//! `linked_list_allocator` on memory that the hand-over reserved. Interrupts are masked while it is locked, because
//! commands may run in an interrupt's context. It does not grow: an allocation that finds no room fails, and who asked
//! says so.
//!
//! Linux does more: its kmalloc takes pages from the allocator that we study.

use crate::arch::cpu;
use crate::lock::Lock;
use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::ptr::{self, NonNull};
use kernel::sync::Class;
use linked_list_allocator::Heap;

struct ImageHeap(Lock<Heap>);

#[global_allocator]
static HEAP: ImageHeap = ImageHeap(Lock::new(Class::Heap, Heap::empty()));

// SAFETY: `Heap` hands out disjoint blocks of the layout that was asked for, or null; the lock makes it one at a time.
unsafe impl GlobalAlloc for ImageHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = cpu::masked(|| self.0.lock().allocate_first_fit(layout));
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(block) = NonNull::new(block) {
            // SAFETY: the caller's promise: `block` came from `alloc` with this layout.
            cpu::masked(|| unsafe { self.0.lock().deallocate(block, layout) });
        }
    }
}

/// Gives the heap its memory. Once.
///
/// # Safety
///
/// `memory` must be mapped RAM that nobody else uses, ever.
pub unsafe fn init(memory: Range<u64>) {
    let size = (memory.end - memory.start) as usize;
    // SAFETY: the caller's promise.
    cpu::masked(|| unsafe { HEAP.0.lock().init(memory.start as *mut u8, size) });
}
