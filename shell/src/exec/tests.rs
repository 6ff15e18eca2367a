//! The shell under test: lines in, console out.

use fastrand::Rng;

use alloc::format;
use alloc::string::String;

use crate::exec::{DEPTH_MAX, Shell};
use crate::host::{HostMachine, run_session};
use crate::status::Status;
use crate::testing::{assert_prints, check, run, shell};

/// Feeds `keys` to a fresh shell; the console and the session's status.
fn type_in(keys: &str) -> (String, u8) {
    let mut shell = shell();
    shell.start();
    keys.bytes().for_each(|byte| shell.feed(byte));
    (shell.machine.take_output(), shell.session.status.0)
}

#[test]
fn a_typed_line_runs_behind_its_prompt() {
    let (console, status) = type_in("echo hi\rnonsense\r");
    assert_prints(&console, "slowpath> echo hi\nhi\nslowpath> nonsense\nno command `nonsense`\nslowpath> ");
    assert_eq!(status, 2);
}

#[test]
fn a_dropped_or_cancelled_line_sets_the_status() {
    let (console, status) = type_in("caf\u{e9}\r");
    assert_prints(&console, "slowpath> caf\nline dropped: byte 0xc3 in it is not ASCII text\nslowpath> ");
    assert_eq!(status, 2);
    assert_eq!(type_in("abc\x03"), (String::from("slowpath> abc^C\nslowpath> "), 130));
}

#[test]
fn the_history_has_what_was_typed() {
    let (console, _) = type_in("echo a\recho b\rhistory\r!1\r");
    let expected = "slowpath> echo a\na\nslowpath> echo b\nb\nslowpath> history\n    1  echo a\n    2  echo b\n    3  history\n\
                    slowpath> !1\necho a\na\nslowpath> ";
    assert_prints(&console, expected);
}

#[test]
fn joints_look_at_the_status() {
    check("echo a && echo b || echo c", "a\nb");
    check("bad || echo c && echo d", "no command `bad`\nc\nd");
    check("bad && echo x; echo $?", "no command `bad`\n2");
    check(
        "alloc GFP_KERNEL|__GFP_RECLAIMABLE|__GFP_MOVABLE; echo $?; echo $?",
        "[..] WARN: gfp MOVABLE|RECLAIMABLE\n[..]one migratetype\n1\n0",
    );
}

#[test]
fn a_mistake_in_a_line_runs_none_of_it() {
    check("echo a; echo 'b\necho $?", "column 14: the quote ' is never closed\n2");
    check("echo a; ; echo b", "column 9: no command before ;");
    check(&format!("echo {}", "x".repeat(1020)), "column 1025: the line is longer than 1024 bytes");
}

#[test]
fn words_that_do_not_fit_are_answered_with_the_usage() {
    check(
        "alloc",
        "alloc: GFP is missing; usage: alloc GFP [-o ORDER] [-n COUNT|max] [--node N] [--thisnode] [--movable] [--json]",
    );
    check("alloc GFP_KERNEL --nod 1", "alloc: no option `--nod`; did you mean `--node`?; usage: alloc [..]");
    check("repeat x echo", "repeat: `x` is not a number (decimal, or 0x and hexadecimal)");
    check("cat /proc/vmstat > x", "cat: only echo writes to a file");
}

#[test]
fn commands_in_commands_end_somewhere() {
    let nested = "repeat 1 ".repeat(DEPTH_MAX.into());
    check(&format!("{nested}echo deep"), "echo: commands are nested deeper than 8");
    check("repeat 2 repeat 2 echo x", "x\nx\nx\nx");
    check("repeat 3 bad; echo $?", "no command `bad`\n2");
    check("repeat 2 echo 5000 > /proc/sys/vm/min_free_kbytes; sysctl min_free_kbytes", "vm.min_free_kbytes = 5000");
}

#[test]
fn a_script_is_shown_as_if_typed() {
    let script = "# a comment\n\nalloc GFP_KERNEL -o 1\npoweroff 5\necho never\n";
    let (console, status) = run_session("", &[(0x4000_0000, 64 << 20, 0)], &[], script);
    let expected = "slowpath> # a comment\nslowpath> \nslowpath> alloc GFP_KERNEL -o 1\n\
                    #1 order 1 pfn 0x[..] DMA32 Unmovable\nslowpath> poweroff 5";
    assert_prints(&console, expected);
    assert_eq!(status, 5);
}

#[test]
fn a_scripts_lines_are_in_the_history() {
    let session = |script: &str| run_session("", &[(0x4000_0000, 64 << 20, 0)], &[], script).0;
    let expected = "slowpath> echo a\na\nslowpath> !!\necho a\na\nslowpath> history\n    2  echo a\n    3  history";
    assert_prints(&session("echo a\n!!\nhistory"), expected);
    assert_prints(&session("!7; echo $?"), "slowpath> !7; echo $?\n!7: no such line in the history");
    let long = "x".repeat(1025);
    assert_prints(&session(&long), &format!("slowpath> {long}\nline dropped: longer than 1024 bytes"));
    assert_prints(&session("echo \u{e9}"), "slowpath> echo \u{e9}\nline dropped: byte 0xc3 in it is not ASCII text");
}

#[test]
fn a_script_fails_when_one_of_its_lines_does() {
    let status = |script| run_session("", &[(0x4000_0000, 64 << 20, 0)], &[], script).1;
    assert_eq!(status("echo a\necho b"), 0);
    assert_eq!(status("bad\necho b"), 1);
    assert_eq!(status("bad || echo b\n# end"), 0);
    assert_eq!(status("poweroff\nbad"), 0);
}

#[test]
fn source_runs_the_machines_script() {
    let mut shell = Shell::new(HostMachine::new("", &[(0x4000_0000, 64 << 20, 0)], &[]).with_script("echo a\nbad"));
    assert_prints(&run(&mut shell, "source; echo $?"), "slowpath> echo a\na\nslowpath> bad\nno command `bad`\n1");
    let mut shell = Shell::new(HostMachine::new("", &[(0x4000_0000, 64 << 20, 0)], &[]).with_script("source"));
    shell.run_line("source");
    assert!(shell.machine.take_output().ends_with("source: commands are nested deeper than 8\n"));
}

#[test]
fn ctrl_c_stops_whatever_runs() {
    for (line, questions) in [
        ("repeat 1000000 echo again", 7),
        ("alloc GFP_KERNEL -n max", 100),
        ("cat /proc/vmstat; echo never", 5),
        ("repeat 1000000 repeat 1000000 ctx softirq alloc GFP_ATOMIC", 50),
        ("free to 3", 10),
        ("alloc GFP_KERNEL -n 50; free all; echo never", 80),
        ("task new hog; task use hog; alloc GFP_KERNEL -n 50; task kill hog", 100),
    ] {
        let mut shell = shell();
        shell.machine.interrupt_in(questions);
        assert_eq!(shell.run_line(line), Status::INTERRUPTED, "{line}");
        let output = shell.machine.take_output();
        assert!(output.ends_with("^C\n") && output.matches("^C").count() == 1 && !output.contains("never"), "{output}");
        assert_eq!(shell.run_line("audit"), Status::DONE, "{}", shell.machine.take_output());
    }
}

#[test]
fn ctrl_c_leaves_no_half_line() {
    let logged = "repeat 3 echo 1 > /proc/sys/vm/drop_caches; dmesg";
    for line in [logged, "thresholds", "lru", "help alloc", "jobs; showmem", "kmalloc 100; cat /proc/slabinfo"] {
        let whole = run(&mut shell(), line);
        let cut = (0..12).filter(|questions| {
            let mut shell = shell();
            shell.machine.interrupt_in(*questions);
            let output = run(&mut shell, line);
            let Some(start) = output.strip_suffix("^C\n") else { return false };
            assert!(whole.starts_with(start) && (start.is_empty() || start.ends_with('\n')), "{line}: {output}");
            !start.is_empty()
        });
        assert!(cut.count() > 1, "{line} is never interrupted");
    }
}

#[test]
fn ctrl_c_at_every_question_loses_no_page() {
    for questions in 0..27 {
        let mut shell = shell();
        shell.machine.interrupt_in(questions);
        run(&mut shell, "alloc GFP_KERNEL -n 10; free #2..#4; alloc GFP_KERNEL -o 3 --json; free all");
        run(&mut shell, "free all");
        assert_eq!(shell.session.handles.len(), 0);
        let audit = run(&mut shell, "audit");
        assert!(audit.contains(" 0 allocated, 0 bad"), "after {questions} questions: {audit}");
    }
}

/// What a random line begins with.
const STARTS: &[&str] = &[
    "alloc GFP_KERNEL|__GFP_NORETRY",
    "alloc GFP_ATOMIC|__GFP_COMP",
    "alloc GFP_HIGHUSER_MOVABLE|__GFP_RETRY_MAYFAIL",
    "alloc",
    "free",
    "free all",
    "free pfn",
    "free to",
    "task new",
    "task use",
    "task set",
    "task kill",
    "task list",
    "ctx softirq",
    "ctx hardirq",
    "repeat 2",
    "cat",
    "echo",
    "sysctl",
    "map",
    "gfp",
    "audit",
    "explain",
    "explain alloc GFP_NOWAIT",
    "trace on",
    "trace show",
    "trace off",
    "vmstat diff",
    "showmem",
    "thresholds",
    "fragindex",
    "tick",
    "task scope",
    "task pf",
    "help",
    "history",
    "ls",
    "dmesg",
    "stty",
    "nonsense",
];

/// What may follow.
const WORDS: &[&str] = &[
    "-o",
    "-n",
    "--node",
    "--json",
    "0",
    "1",
    "3",
    "10",
    "11",
    "-1",
    "0x40400",
    "99999999999999999999",
    "max",
    "#1",
    "#2..#9",
    "#5..#3",
    "a",
    "sh",
    "b",
    "+PF_MEMALLOC",
    "-PF_MEMALLOC",
    "PF_X",
    "GFP_DMA32",
    "0x18",
    "'",
    "\"q w\"",
    "\\",
    "$?",
    "$x",
    ";",
    "&&",
    "||",
    ">",
    "/proc/sys/vm/min_free_kbytes",
    "/proc/zoneinfo",
    "vm.min_free_kbytes=2000",
    "# c",
    "alloc GFP_NOWAIT -n 7",
    "free #1",
    "DMA32",
    "push",
    "pop",
    "nofs",
    "kmem",
    "echo",
    "--rt",
    "on",
    "-echo",
];

#[test]
fn random_lines_leave_a_sound_machine() {
    let mut random = Rng::with_seed(0x5eed);
    let mut shell = shell();
    for _ in 0..4000 {
        let mut line = String::from(STARTS[random.usize(..STARTS.len())]);
        for _ in 0..random.usize(..5) {
            line = format!("{line} {}", WORDS[random.usize(..WORDS.len())]);
        }
        let before = shell.session.handles.len();
        let status = shell.run_line(&line);
        assert!([0, 1, 2, 3].contains(&status.0), "{line}: {status:?}");
        assert!(!shell.machine.take_output().contains('\x1b'), "{line}");
        assert!(
            status != Status::USAGE || line.contains([';', '&', '|']) || before == shell.session.handles.len(),
            "{line}"
        );
    }
    run(&mut shell, "free all; free all");
    let audit = run(&mut shell, "audit");
    assert!(audit.starts_with("audit passed") && audit.contains(" 0 allocated"), "{audit}");
}

#[test]
fn random_bytes_leave_the_shell_answering() {
    let mut random = Rng::with_seed(0xb17e5);
    let mut shell = shell();
    let keys = b" \r\n\t\x01\x02\x03\x04\x05\x08\x0b\x0c\x0e\x10\x15\x17\x1b\x1b[ACDHF3~!'\"\\#;&|>$?aeloc\0\xc3\x80";
    for _ in 0..50_000 {
        shell.feed(keys[random.usize(..keys.len())]);
    }
    shell.feed(0x03);
    shell.machine.take_output();
    b"echo alive\r".iter().for_each(|&byte| shell.feed(byte));
    assert_prints(&shell.machine.take_output(), "echo alive\nalive\nslowpath> ");
}
