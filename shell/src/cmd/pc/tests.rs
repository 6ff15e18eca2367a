//! The page cache at the prompt: what each command says, and that nothing is lost.

use crate::status::Status;
use crate::testing::{check, run, shell};

#[test]
fn pages_are_read_once_and_found_again() {
    let script = "pc read 0 0 3; pc read 0 2 2; pc ls; pc ls 0; pc drop; pc ls --json";
    let output = "read 3 pages: 0 cached, 3 from the store\nread 2 pages: 1 cached, 1 from the store\n\
                  FILE    PAGES   ACTIVE    DIRTY WRITEBACK   MAPPED   PINNED UNEVICTABLE\n\
                  \x20  0        4        1        0         0        0        0           0\n\
                  \x20FIRST..LAST   MAPPED PINS VERSION MARKS\n\
                  \x20    0..1           0    0       0 lru,referenced,uptodate\n\
                  \x20    2..2           0    0       0 lru,active,uptodate\n\
                  \x20    3..3           0    0       0 lru,referenced,uptodate\n\
                  dropped 4 pages";
    check(script, output);
}

#[test]
fn what_is_written_is_in_the_store_after_a_sync() {
    let script = "pc write 1 70 -n 2; pc write 1 71 9; pc ls 1 --json; pc drop; pc sync; pc drop; pc verify; \
                  pc read 1 70 2; pc verify --json; pc truncate 1; pc verify";
    let output = "wrote 2 pages: 0 cached, 2 new\nwrote 1 page: 1 cached, 0 new\n\
                  {\"file\":1,\"first\":70,\"last\":70,\"mapped\":0,\"pins\":0,\"version\":1,\"flags\":\"[..]dirty[..]\"}\n\
                  {\"file\":1,\"first\":71,\"last\":71,\"mapped\":0,\"pins\":0,\"version\":9,\"flags\":\"[..]dirty[..]\"}\n\
                  dropped 0 pages\nwrote 2 pages\ndropped 2 pages\nverified 64 pages: 0 lost\n\
                  read 2 pages: 0 cached, 2 from the store\n{\"pages\":64,\"lost\":0}\nverified 0 pages: 0 lost";
    check(script, output);
}

#[test]
fn what_the_store_failed_to_keep_is_found() {
    let mut shell = shell();
    run(&mut shell, "pc disk fail 2 0; pc write 2 0; pc sync; pc check off; pc drop");
    let verified = run(&mut shell, "pc verify; echo $?");
    assert!(verified.contains("pc: LOST f=2 i=0 ledger=1 store=0\n"), "{verified}");
    assert!(verified.ends_with("verified 64 pages: 1 lost\n3\n"), "{verified}");
    assert_eq!(
        run(&mut shell, "pc disk mend 2 0; pc write 2 0; pc sync; pc drop; pc verify; echo $?").lines().last(),
        Some("0")
    );
}

#[test]
fn pages_that_somebody_holds_stay() {
    let script = "pc read 0 0 5; pc pin 0 0; pc map 0 1 --exec; pc mlock 0 1; pc lock 0 2; pc lock 0 2; pc drop; pc ls; \
                  pc unpin 0 0; pc unpin 0 0; pc munlock 0 1; pc touch 0 1; pc unmap 0 1; pc unmap 0 1; pc unlock 0 2; \
                  pc drop";
    let output = "read 5 pages: 0 cached, 5 from the store\npinned 1 page\nmapped 1 page: 1 cached, 0 from the store\n\
                  locked into memory 1 page\nlocked 1 page\npc lock: page 2 of file 0 is locked already\ndropped 2 pages\n\
                  FILE[..]\n\x20  0        3        0        0         0        1        1           1\n\
                  unpinned 1 page\npc unpin: the page was not pinned\nunlocked 1 page\n\
                  touched 1 page: 1 cached, 0 from the store\nunmapped 1 page\n\
                  pc unmap: the task does not map page 1 of file 0 (any more); map it\nunlocked 1 page\ndropped 3 pages";
    check(script, output);
}

#[test]
fn a_reader_streams_behind_kswapd() {
    let mut shell = shell();
    run(&mut shell, "free to 2000 DMA32; vmstat diff");
    let streamed = run(&mut shell, "pc stream 0 9000 --over 6000");
    assert_eq!(streamed, "streamed 9000 pages: 9000 read ahead, 0 read alone\n");
    let diff = run(&mut shell, "vmstat diff");
    assert!(diff.contains("\npgsteal_kswapd +") && !diff.contains("\npgsteal_direct +"), "{diff}");
    assert!(run(&mut shell, "audit; pc verify").ends_with(" 0 lost\n"));
}

#[test]
fn an_interrupt_ends_a_stream() {
    let mut shell = shell();
    shell.machine.interrupt_in(100);
    assert_eq!(shell.run_line("pc stream 0 9000"), Status::INTERRUPTED);
    let output = shell.machine.take_output();
    assert!(output.starts_with("streamed ") && output.ends_with("^C\n"), "{output}");
    assert!(run(&mut shell, "audit").starts_with("audit passed"));
}

#[test]
fn the_disk_is_as_it_is_told() {
    let script = "pc disk; pc disk wlat 50; pc disk rlat 0; pc disk depth 16; pc disk congest on; pc disk freeze; \
                  pc disk thaw --json; pc disk wlat; pc disk wlat -1; pc disk spin; pc disk fail 0";
    let output = "wlat 5 rlat 1 depth 128 congest off: 0 writes under way\n\
                  wlat 50 rlat 1 depth 128 congest off: 0 writes under way\n\
                  wlat 50 rlat 0 depth 128 congest off: 0 writes under way\n\
                  wlat 50 rlat 0 depth 16 congest off: 0 writes under way\n\
                  wlat 50 rlat 0 depth 16 congest on: 0 writes under way\n\
                  wlat 50 rlat 0 depth 16 congest on: 0 writes under way, frozen\n\
                  {\"wlat\":50,\"rlat\":0,\"depth\":16,\"frozen\":false,\"congest\":true,\"writes\":0,\"congested\":false}\n\
                  pc disk: what about it? `help pc disk` tells\npc disk: the latency must be 0..15000, not -1\n\
                  pc disk: what about it? `help pc disk` tells\npc disk: what about it? `help pc disk` tells";
    check(script, output);
}

#[test]
fn a_frozen_disk_ends_no_write() {
    let mut shell = shell();
    run(&mut shell, "pc disk freeze; pc write 0 0 -n 3; echo 1 > /proc/sys/vm/dirty_expire_centisecs; sleep 6");
    assert!(run(&mut shell, "pc disk").ends_with(": 3 writes under way, frozen\n"));
    assert_eq!(
        run(&mut shell, "pc disk thaw; tick 10; pc disk"),
        "wlat 5 rlat 1 depth 128 congest off: 3 writes under way\n\
        wlat 5 rlat 1 depth 128 congest off: 0 writes under way\n"
    );
}

#[test]
fn files_have_masks() {
    check(
        "pc gfp 0; pc gfp 0 GFP_HIGHUSER_MOVABLE-__GFP_FS; pc gfp 64; pc gfp 0 kernal",
        "file 0: 0x6200ca(GFP_HIGHUSER_MOVABLE)\nfile 0: 0x62004a([..])\npc gfp: the file must be 0..63, not 64\npc gfp: [..]",
    );
}

#[test]
fn bad_words_change_nothing() {
    check("pc read 64 0; echo $?", "pc read: the file must be 0..63, not 64\n2");
    check("pc read 0 1073741824; echo $?", "pc read: pages are numbered 0 to 1073741823, there is no 1073741824\n2");
    check("pc pin 0 0; echo $?", "pc pin: page 0 of file 0 is not in the cache; read it first\n1");
    check("pc ra 0 0 0", "pc ra: the number of pages must be 1..1073741824, not 0");
    check("pc; pc rad 0 0", "`pc` what? `help pc` tells\n`pc` has no `rad`; did you mean `read`?");
    check("pc map 0 0 --task nobody; echo $?", "pc map: no task `nobody`\n2");
}
