//! Victims that no thread acts as, and somebody who needs their memory at once.

use alloc::format;
use alloc::string::String;

use crate::exec::Shell;
use crate::host::HostMachine;
use crate::testing::{run, shell};

/// Runs `scene` on a fresh machine, on which `a` then takes all that is left above Min.
fn full(scene: &str) -> (Shell<HostMachine>, String) {
    let mut shell = shell();
    let take = "task run a alloc GFP_NOWAIT|__GFP_NOWARN -n max";
    run(&mut shell, &format!("sysctl vm.watermark_boost_factor=0; free to 600; task new a; {scene}"));
    let output = run(&mut shell, take);
    let blocks = output.split("allocated ").nth(1).and_then(|rest| rest.split(' ').next());
    let blocks = blocks.unwrap_or_else(|| panic!("{output}"));
    assert!(blocks.parse::<u32>().is_ok_and(|blocks| blocks > 100), "{output}");
    let died = format!("a (2) died: freed {blocks} blocks, {blocks} pages; unmapped 0 pages\n");
    (shell, died)
}

/// What was written finds room before the death is told, once, and nothing is lost.
#[track_caller]
fn assert_ends_in_time(mut shell: Shell<HostMachine>, died: &str, line: &str) {
    let output = run(&mut shell, line);
    let wrote = output.find("wrote 40 pages").expect("room for them");
    assert_eq!(output.matches(died).count(), 1, "{output}");
    assert!(output.find(died) > Some(wrote), "{output}");
    assert!(!run(&mut shell, "task list").contains("2 a "));
    let output = run(&mut shell, "free all; pc sync; pc drop; audit");
    assert!(output.contains(" 0 allocated, 0 bad"), "{output}");
}

#[test]
fn a_victims_blocks_come_back_while_the_command_runs() {
    let (shell, died) = full("");
    assert_ends_in_time(shell, &died, "pc write 0 0 1 -n 40");
}

#[test]
fn they_come_back_to_a_job_from_the_handles_of_the_shell() {
    let (shell, died) = full("");
    assert_ends_in_time(shell, &died, "pc write 0 0 1 -n 40 & wait");
}

#[test]
fn a_leaky_victim_keeps_its_blocks_and_the_next_one_dies() {
    let (mut shell, _) = full("task adj a 500; task leak a on; task new b; task run b alloc GFP_NOWAIT -n 100");
    let output = run(&mut shell, "pc write 0 0 1 -n 40");
    let told = ["a (2) died: freed 0 blocks, 0 pages", "b (3) died: freed 100 blocks, 100 pages"];
    assert!(told.iter().all(|told| output.contains(told)), "{output}");
    assert!(shell.session.handles.iter().any(|(number, held)| number > 15_060 && held.pid == 0));
    assert!(!shell.session.estates.is_leaky(2));
}
