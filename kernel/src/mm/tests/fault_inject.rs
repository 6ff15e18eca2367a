//! A request that is to fail: which one it is, and what it leaves alone.

use crate::addr::Order;
use crate::gfp::Gfp;
use crate::mm::fault_inject::set_fail_nth;
use crate::mm::memory::{Env, Hook};
use crate::mm::page_alloc::{AllocError, alloc_pages};
use crate::mm::slab::kmalloc::{kfree, kmalloc};
use crate::mm::testing::{Lab, board_m64, logged};
use crate::task::{Context, TaskKind};

/// What requests of order 0 with these masks came to.
fn served<const N: usize>(lab: &Lab<'_>, masks: [Gfp; N]) -> [bool; N] {
    masks.map(|gfp| alloc_pages(&lab.memory, &lab.current(), gfp, 0).is_ok())
}

#[test]
fn the_nth_request_fails_and_no_other() {
    let machine = board_m64();
    let lab = Lab::new(&machine);
    let current = lab.current();
    set_fail_nth(&lab.memory, current.task, 3);
    assert_eq!(served(&lab, [Gfp::GFP_KERNEL; 2]), [true; 2]);
    let refusal = AllocError::NoMemory { gfp: Gfp::GFP_KERNEL, order: Order::new(2).unwrap() };
    let log = logged(|| assert_eq!(alloc_pages(&lab.memory, &current, Gfp::GFP_KERNEL, 2), Err(refusal)));
    assert_eq!(log, "FAULT_INJECTION: forcing a failure: fail_page_alloc, order:2, mode:0x6000c0(GFP_KERNEL)\n");
    assert_eq!((current.task.fail_nth(), lab.memory.has(Hook::FailNth)), (0, false));
    assert_eq!(served(&lab, [Gfp::GFP_KERNEL; 3]), [true; 3]);
}

#[test]
fn objects_at_hand_count_too() {
    let machine = board_m64();
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, lab.current());
    kfree(memory, &current, kmalloc(memory, &current, 128, Gfp::GFP_KERNEL).unwrap()).unwrap();
    set_fail_nth(memory, current.task, 1);
    let log = logged(|| assert!(kmalloc(memory, &current, 128, Gfp::GFP_KERNEL).is_err()));
    assert_eq!(log, "FAULT_INJECTION: forcing a failure: failslab, cache kmalloc-128, mode:0x6000c0(GFP_KERNEL)\n");
}

#[test]
fn neither_interrupts_nor_other_tasks_nor_those_that_must_not_fail_count() {
    let machine = board_m64();
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, lab.current());
    let other = memory.env.tasks().spawn("other", TaskKind::User).unwrap();
    set_fail_nth(memory, current.task, 1);
    set_fail_nth(memory, other, 2);
    for context in [Context::SoftIrq, Context::HardIrq] {
        assert!(alloc_pages(memory, &current.in_context(context), Gfp::GFP_ATOMIC, 0).is_ok(), "{context:?}");
    }
    assert_eq!(
        served(&lab, [Gfp::GFP_KERNEL | Gfp::__GFP_NOFAIL, Gfp::GFP_KERNEL, Gfp::GFP_KERNEL]),
        [true, false, true]
    );
    // The other's turn has not come.
    assert_eq!((other.fail_nth(), memory.has(Hook::FailNth)), (2, true));
}
