//! The first request of an operation fails, then the second, and so on: it fails or finds another way, and loses nothing.

use super::operations::{HIGH, LARGE_AREA, OPERATIONS};
use super::{Holdings, Operation, assert_clean, board_4m};
use crate::mm::fault_inject::set_fail_nth;
use crate::mm::testing::{HostMachine, Lab, MIB, board_16m};

/// The request to fail after the one with number `nth`. Every machine takes Miri seconds: there it is the first, the
/// last, and those beyond.
fn next(operation: &Operation, nth: u32) -> u32 {
    if cfg!(miri) && nth == 1 { operation.points.max(2) } else { nth + 1 }
}

/// Lets each request of the operation fail in turn, on a fresh machine each time; how many there were.
fn fail_each(machine: &HostMachine, operation: &Operation) -> u32 {
    let Operation { name, run, .. } = *operation;
    let mut nth = 1;
    loop {
        let lab = Lab::new(machine);
        let (memory, task) = (&lab.memory, lab.tasks().init());
        let before = Holdings::of(&lab);
        let went_through = run(&lab, &|| set_fail_nth(memory, task, nth));
        let none_failed = task.fail_nth() > 0;
        set_fail_nth(memory, task, 0);
        assert_eq!(Holdings::of(&lab), before, "{name}, whose request {nth} failed");
        assert_clean(&lab, name);
        if none_failed {
            assert!(went_through, "{name} fails by itself");
            return nth - 1;
        }
        nth = next(operation, nth);
    }
}

#[test]
fn no_request_of_the_family_loses_anything_when_it_fails() {
    let machine = board_4m("");
    for operation in &OPERATIONS {
        assert_eq!(fail_each(&machine, operation), operation.points, "requests of {}", operation.name);
    }
}

#[test]
fn debugging_and_other_sizes_lose_nothing_either() {
    // Under Miri, to fill every free page of every machine would take hours.
    let poison = if cfg!(miri) { "" } else { "page_poison=1" };
    let machine = board_4m(&format!("kmalloc=generic slub_debug=FZP page_owner=on {poison}"));
    for operation in &OPERATIONS {
        assert!(fail_each(&machine, operation) >= operation.points.min(1), "{} asks for nothing", operation.name);
    }
}

#[test]
fn neither_does_high_memory() {
    let machine = HostMachine::new("zones=full:dma=16M,dma32=16M highmem=4M", &[(0x4000_0000, 68 * MIB, 0)], &[]);
    for operation in &HIGH {
        assert_eq!(fail_each(&machine, operation), operation.points, "requests of {}", operation.name);
    }
}

#[test]
fn an_area_within_an_area_goes_with_it() {
    assert_eq!(fail_each(&board_16m(""), &LARGE_AREA), LARGE_AREA.points);
}
