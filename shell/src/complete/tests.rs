//! Completion under test: what stands before the cursor in, candidates out.

use alloc::string::String;
use alloc::vec::Vec;

use super::*;
use crate::host::HostMachine;
use crate::testing::shell;
use kernel::mm::memory::Env;

/// Candidates that begin with what is typed, each with where it starts.
fn candidates(before: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let shell = shell();
    let tasks = shell.machine.memory().env.tasks();
    tasks.spawn("hog", kernel::task::TaskKind::User).unwrap();
    Completer::<HostMachine>::new(tasks, &[]).complete(before, &mut |candidate| {
        if candidate.text.starts_with(&before[candidate.start..]) {
            found.push((candidate.start, String::from(candidate.text)));
        }
    });
    found
}

#[track_caller]
fn check(before: &str, start: usize, expected: &[&str]) {
    let found = candidates(before);
    let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
    assert_eq!(texts, expected, "after {before:?}");
    assert!(found.iter().all(|&(at, _)| at == start), "after {before:?}: {found:?}");
}

#[test]
fn commands_and_families() {
    check("al", 0, &["alloc"]);
    check("a", 0, &["alloc", "abuse", "anon", "audit"]);
    check("echo; ta", 6, &["task"]);
    check("echo&&so", 6, &["source"]);
    check("task ", 5, &["new", "use", "set", "pf", "scope", "adj", "policy", "run", "list", "leak", "kill"]);
    check("task k", 5, &["kill"]);
    check("pc un", 3, &["unmap", "unpin", "unlock"]);
    check("anon ", 5, &["touch", "write", "free", "check", "ls"]);
    check("pc disk f", 8, &["freeze", "fail"]);
    check("kswapd ", 7, &["freeze", "thaw", "run", "status"]);
    check("lru inactive_", 4, &["inactive_anon", "inactive_file"]);
    check("help bud", 5, &[]);
    check("help be", 5, &["bench"]);
    check("help wa", 5, &["wait", "warn-once", "watermarks"]);
}

#[test]
fn arguments_by_their_kind() {
    check("alloc GFP_KERNEL_", 6, &["GFP_KERNEL_ACCOUNT"]);
    check("alloc GFP_KERNEL|__GFP_Z", 17, &["__GFP_ZERO"]);
    check("alloc GFP_KERNEL&~__GFP_I", 18, &["__GFP_IO"]);
    check("gfp GFP_KERNEL-__GFP_I", 15, &["__GFP_IO"]);
    check("alloc GFP_KERNEL -n ", 20, &["max"]);
    check("alloc GFP_KERNEL --j", 17, &["--json"]);
    check("alloc --no", 6, &["--node"]);
    check("task use h", 9, &["hog"]);
    check("task set hog +PF_MEMALLOC_NO", 14, &["PF_MEMALLOC_NOFS", "PF_MEMALLOC_NOIO"]);
    check("free to 100 Nor", 12, &["Normal"]);
    check("ctx s", 4, &["softirq"]);
    check("trace on vmsc", 9, &["vmscan"]);
    check("trace show kmem mm_page_alloc_", 16, &["mm_page_alloc_zone_locked", "mm_page_alloc_extfrag"]);
    check("task scope sh p", 14, &["push", "pop"]);
    check("task scope sh push nof", 19, &["nofs"]);
    check("lab re", 4, &["reserves"]);
    check("wait ", 5, &[]);
    check("handle free ", 12, &["all"]);
    check("compact try 3 ", 14, &["async", "light", "full"]);
    check("echo a & labs & task l", 21, &["list", "leak"]);
    check("nonsense ", 9, &[]);
}

#[test]
fn paths_and_settings() {
    check("cat ", 4, &["/"]);
    check("cat /p", 5, &["proc/"]);
    check("cat /proc/b", 10, &["buddyinfo"]);
    check("cat /proc/6", 10, &["61/", "62/", "63/", "64/"]);
    check("cat /proc/2/oom_score_", 12, &["oom_score_adj"]);
    check("cat /proc/9/", 12, &[]);
    check("cat /sys/kernel/debug/extfrag/u", 30, &["unusable_index"]);
    check("cat /proc/sys/vm/w", 17, &["watermark_boost_factor", "watermark_scale_factor"]);
    check("echo 5 > /proc/sys/vm/min_f", 22, &["min_free_kbytes"]);
    check("sysctl vm.min_f", 10, &["min_free_kbytes"]);
    check("sysctl min_f", 7, &["min_free_kbytes"]);
}

#[test]
fn a_command_in_a_command() {
    check("ctx softirq al", 12, &["alloc"]);
    check("ctx softirq alloc GFP_NOF", 18, &["GFP_NOFS"]);
    check("explain task pf hog +PF_KSW", 21, &["PF_KSWAPD"]);
    check("repeat 3 ctx softirq task ki", 26, &["kill"]);
}
