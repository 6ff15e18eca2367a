//! Somebody who may have every page asks for more than there is: whatever part of an operation fails, nothing is lost.

use super::operations::OPERATIONS;
use super::{Holdings, Operation, assert_clean, board_4m};
use crate::addr::{Order, Pfn};
use crate::gfp::Gfp;
use crate::mm::page_alloc;
use crate::mm::testing::{HostMachine, Lab};
use crate::mm::zone::AllocFlags;
use crate::task::TaskFlags;

/// Pages that are too few for nobody who needs single ones.
const ENOUGH: u32 = 48;

/// The machine with `pages` single pages and a task that may use them all, and does not wait for more.
fn with_pages_left(machine: &HostMachine, pages: u32) -> Lab<'_> {
    let lab = Lab::without_pcp(machine);
    let block = Order::new(7).unwrap();
    let Pfn(first) = lab.alloc(Gfp::GFP_KERNEL, block.get()).unwrap();
    page_alloc::split_page(&lab.memory, Pfn(first), block);
    lab.exhaust(Gfp::GFP_KERNEL, AllocFlags::NO_WATERMARKS);
    (0..u64::from(pages)).for_each(|n| _ = lab.free(Pfn(first + 2 * n), 0).unwrap());
    assert_eq!(lab.nr_free(), u64::from(pages));
    lab.tasks().init().change_flags(TaskFlags::PF_MEMALLOC, TaskFlags::empty());
    lab
}

/// With how few pages the operation goes through. Miri tries none, one too few, and as many as the table says.
fn fewest(machine: &HostMachine, operation: &Operation) -> Option<u32> {
    let is_tried = |pages: u32| !cfg!(miri) || pages == 0 || pages + 1 >= operation.pages.unwrap_or(ENOUGH);
    (0..=ENOUGH).filter(|&pages| is_tried(pages)).find(|&pages| {
        let lab = with_pages_left(machine, pages);
        let before = Holdings::of(&lab);
        let went_through = (operation.run)(&lab, &|| ());
        assert_eq!(Holdings::of(&lab), before, "{} with {pages} pages", operation.name);
        assert_clean(&lab, operation.name);
        went_through
    })
}

#[test]
fn an_operation_without_memory_loses_nothing() {
    let machine = board_4m("");
    for operation in &OPERATIONS {
        assert_eq!(fewest(&machine, operation), operation.pages, "pages for {}", operation.name);
    }
}
