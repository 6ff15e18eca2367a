//! Jobs beside the shell, on the host's threads.

use alloc::format;
use alloc::string::String;

use super::*;
use crate::host::HostMachine;
use crate::testing::{assert_prints, check, run, shell};

/// Runs `lines` behind prompts, as a script does.
fn script(shell: &mut Shell<HostMachine>, lines: &str) -> String {
    shell.run_script(lines);
    shell.machine.take_output()
}

#[test]
fn what_a_job_prints_comes_before_a_later_prompt() {
    let output = script(&mut shell(), "echo a & echo b\necho c");
    let expected = "slowpath> echo a & echo b\n[1] echo a\nb\n[1] a\n[1] done: echo a\nslowpath> echo c\nc";
    assert_prints(&output, expected);
}

#[test]
fn a_jobs_blocks_become_the_shells() {
    let mut shell = shell();
    let output = script(&mut shell, "alloc GFP_KERNEL\nalloc GFP_KERNEL -n 40 &\nfree #2..#41");
    let expected = "[..]\n#1 [..]\n[..]\n[1] alloc GFP_KERNEL -n 40\n[1] allocated 40 of 40 blocks of order 0\n\
                    [1] handles #2..#41\n[1] Node 0, [..]\n[1] done: [..]\n[..]\nfreed 40 blocks, 40 pages";
    assert_prints(&output, expected);
    // Numbers that were given out meanwhile are taken: the job's blocks get others.
    let output = script(&mut shell, "alloc GFP_KERNEL & alloc GFP_KERNEL & wait");
    let expected = "[..]\n[1] alloc GFP_KERNEL\n[2] alloc GFP_KERNEL\n[1] #42 [..]\n[1] done: [..]\n\
                    [2] #42 [..]\n[2] done: [..]\n[2] #42..#42 are #43..#43 now";
    assert_prints(&output, expected);
    assert_eq!(run(&mut shell, "free all"), "freed 3 blocks, 3 pages\n");
}

#[test]
fn a_job_acts_as_the_task_that_started_it() {
    let mut shell = shell();
    run(&mut shell, "task new hog; task use hog; sleep 100; alloc GFP_KERNEL & task use sh");
    assert!(run(&mut shell, "jobs").starts_with("[1] "));
    run(&mut shell, "wait");
    assert!(run(&mut shell, "task list").contains("\n    2 hog                      1 "));
}

/// Each would make room; that one does so gives the other no reserves, and leaves no flag behind, whoever ends first.
#[test]
fn jobs_that_act_as_one_task_reclaim_each_for_itself() {
    let mut shell = shell();
    run(&mut shell, "pc ra 1 0 1000; kswapd freeze; free to 0; alloc GFP_KERNEL & alloc GFP_KERNEL & tick 50");
    let both = "[1] runs as sh: alloc GFP_KERNEL\n[2] runs as sh: alloc GFP_KERNEL\nsh: 0x0()\n";
    assert_eq!(run(&mut shell, "jobs; task set sh"), both);
    let output = run(&mut shell, "kill %1; wait %1; kill %2; wait %2; task set sh");
    assert!(output.ends_with("[2] called off: alloc GFP_KERNEL\nsh: 0x0()\n"), "{output}");
}

#[test]
fn a_job_that_sleeps_is_listed_called_off_and_waited_for() {
    let mut shell = shell();
    assert_eq!(run(&mut shell, "sleep 100 & jobs"), "[1] sleep 100\n[1] runs as sh: sleep 100\n");
    assert_eq!(
        run(&mut shell, "jobs --json"),
        r#"{"job":1,"over":false,"pid":1,"task":"sh","line":"sleep 100"}"#.to_owned() + "\n"
    );
    assert_eq!(run(&mut shell, "kill %1; wait %1; echo $?; jobs"), "[1] called off: sleep 100\n143\n");
    check("kill %1; echo $?", "kill: there is no such job\n1");
    check("wait %x; echo $?", "wait: `%x` is not a job, as %1 is\n2");
    check("wait; jobs; echo $?", "0");
}

#[test]
fn the_status_of_wait_is_the_jobs() {
    check("bad & wait %1; echo $?", "[1] bad\n[1] no command `bad`\n[1] status 2: bad\n2");
    check(
        "echo a && bad & wait; echo $?",
        "[1] echo a && bad\n[1] a\n[1] no command `bad`\n[1] status 2: echo a && bad\n0",
    );
}

#[test]
fn a_job_that_never_sleeps_lets_others_run() {
    let mut shell = shell();
    let output = run(&mut shell, "repeat 100000000 gfp GFP_KERNEL & echo here; kill %1; wait %1; echo $?");
    assert!(output.starts_with("[1] repeat ") && output.contains("\nhere\n"), "{output}");
    assert!(output.ends_with("\n[1] called off: repeat 100000000 gfp GFP_KERNEL\n143\n"), "{output}");
    assert!(output.len() < OUTPUT_BYTES * 3 / 2 && output.contains(" bytes more)\n"), "{output}");
}

#[test]
fn a_request_in_the_background_gets_what_the_shell_frees() {
    let mut shell = shell();
    run(&mut shell, "free to 0; alloc GFP_NOFS &\necho");
    assert_eq!(run(&mut shell, "jobs"), "[1] runs as sh: alloc GFP_NOFS\n");
    let output = run(&mut shell, "free #1..#600; wait %1; echo $?");
    assert_prints(&output, "freed 600 blocks, 600 pages\n[1] #[..] order 0 pfn 0x[..]\n[1] done: alloc GFP_NOFS\n0");
}

#[test]
fn there_is_a_limit() {
    let mut shell = shell();
    let output = run(&mut shell, &"sleep 9 & ".repeat(9));
    assert!(output.ends_with("[8] sleep 9\n&: there are 8 jobs already; wait\n"), "{output}");
    // All of them end with the machine.
    check(
        "repeat 2 echo & echo x & wait",
        "[1] repeat 2 echo\n[2] echo x\n[1] \n[1] \n[1] done: [..]\n[2] x\n[2] done: echo x",
    );
}

#[test]
fn ctrl_c_ends_waiting_but_not_the_job() {
    let mut shell = shell();
    run(&mut shell, "sleep 1000 &");
    shell.machine.interrupt_after(250);
    assert_eq!(shell.run_line("wait"), Status::INTERRUPTED);
    assert_eq!(run(&mut shell, "jobs"), "^C\n[1] runs as sh: sleep 1000\n");
}

/// Ticks that a tenth of a second has.
const TENTH: u64 = HZ / 10;

#[test]
fn ctrl_c_ends_within_a_tenth_of_a_second_what_linux_would_never_leave() {
    for line in [
        "alloc GFP_NOFS",
        "alloc GFP_KERNEL|__GFP_NOFAIL|__GFP_NORETRY",
        "alloc GFP_NOFS|__GFP_NOFAIL -o 3",
        "alloc GFP_NOFS -n max",
        "alloc GFP_HIGHUSER_MOVABLE-__GFP_FS --movable",
    ] {
        let mut shell = shell();
        run(&mut shell, "free to 0");
        let jiffies = |shell: &Shell<HostMachine>| shell.machine.memory().env.sched().jiffies();
        let pressed = jiffies(&shell) + 500;
        shell.machine.interrupt_after(500);
        assert_eq!(shell.run_line(line), Status::INTERRUPTED, "{line}");
        let passed = jiffies(&shell) - pressed;
        assert!(passed <= TENTH, "{line}: {passed} ticks");
        let output = shell.machine.take_output();
        assert!(output.ends_with("^C\n"), "{line}: {output}");
        assert!(run(&mut shell, "audit").starts_with("audit passed"), "{line}");
        run(&mut shell, "free all; handle free all");
        assert!(run(&mut shell, "audit").contains(" 0 allocated, 0 bad"), "{line}");
    }
}

#[test]
fn a_victim_dies_after_its_job() {
    let mut shell = shell();
    run(&mut shell, "task new hog; task use hog; alloc GFP_KERNEL -n 10; sleep 1000 & task use sh");
    let output = script(&mut shell, "sysrq f\ntask list");
    let order = ["Kill process 2 (hog) ", "[1] called off: sleep 1000", "hog (2) died: freed 10 blocks, 10 pages"];
    let places = order.map(|text| output.find(text).unwrap_or_else(|| panic!("{text}: {output}")));
    assert!(places.is_sorted(), "{output}");
    assert!(!output.contains("    2 hog"), "{output}");
}

#[test]
fn a_task_that_died_leaves_nothing_in_a_job_that_acted_as_it() {
    let mut shell = shell();
    let lines = "task new hog\ntask run hog alloc GFP_KERNEL -n 10 & sleep 1; sysrq f\naudit";
    let output = script(&mut shell, lines);
    assert!(output.contains("freed 10 blocks of tasks that died, 10 pages\n"), "{output}");
    assert!(output.contains(" 0 allocated, 0 bad"), "{output}");
}

#[test]
fn blocks_outlive_an_empty_table_of_jobs() {
    let mut shell = shell();
    let line = format!("alloc GFP_KERNEL -n {} &", 3000);
    run(&mut shell, &line);
    run(&mut shell, "wait; free #1..#3000");
    assert!(run(&mut shell, "audit").contains(" 0 allocated, 0 bad"));
}
