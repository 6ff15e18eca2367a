//! The editor under test: keys in, screen and lines out.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;

/// Completes the last word from a fixed list.
struct Names;

impl Complete for Names {
    fn complete(&self, before: &str, each: &mut dyn FnMut(Candidate<'_>)) {
        let start = before.rfind([' ', '|']).map_or(0, |blank| blank + 1);
        for text in ["alloc", "audit", "free", "GFP_KERNEL", "GFP_KERNEL_ACCOUNT", "/proc/"] {
            each(Candidate { start, text, open: text.ends_with('/') });
        }
    }
}

/// What a terminal without escape codes shows: rows, backspaces obeyed.
fn show(output: &str) -> String {
    let mut rows = Vec::from([Vec::new()]);
    let mut column = 0;
    for c in output.chars() {
        let row: &mut Vec<char> = rows.last_mut().unwrap();
        match c {
            '\x08' => column -= 1,
            '\n' => {
                rows.push(Vec::new());
                column = 0;
            }
            _ => {
                row.resize(row.len().max(column + 1), ' ');
                row[column] = c;
                column += 1;
            }
        }
    }
    rows.iter().map(|row| row.iter().collect::<String>().trim_end().to_string()).collect::<Vec<_>>().join("/")
}

/// Feeds `keys` to a fresh editor; the raw output and all lines that came out of it.
fn type_in(keys: &str) -> (String, Vec<String>) {
    let mut editor = Editor::default();
    let mut screen = String::new();
    let mut lines = Vec::new();
    editor.prompt(&mut screen);
    for byte in keys.bytes() {
        let Some(entered) = editor.feed(byte, &Names, &mut screen) else { continue };
        lines.push(match entered {
            Entered::Line => format!("run {}", editor.entered().as_str()),
            Entered::Dropped(fault) => fault.to_string(),
            Entered::Cancelled => "cancelled".to_string(),
        });
        editor.prompt(&mut screen);
    }
    (screen, lines)
}

/// Types `keys`; `rows` is the last row but the final prompt, `lines` what was entered.
#[track_caller]
fn check(keys: &str, rows: &str, lines: &[&str]) {
    let (screen, entered) = type_in(keys);
    assert_eq!(show(&screen), rows, "keys: {keys:?}, raw: {screen:?}");
    assert_eq!(entered, lines, "keys: {keys:?}");
    assert!(!screen.contains('\x1b') || keys.contains('\x1b'), "an escape code on a dumb line");
}

#[test]
fn typing_and_enter() {
    check("help\r", "slowpath> help/slowpath>", &["run help"]);
    check("a\r\nb\r\n", "slowpath> a/slowpath> b/slowpath>", &["run a", "run b"]);
    check("\n\n", "slowpath>/slowpath>/slowpath>", &["run ", "run "]);
}

#[test]
fn deleting() {
    check("helx\x08p\r", "slowpath> help/slowpath>", &["run help"]);
    check("helx\x7fp\r", "slowpath> help/slowpath>", &["run help"]);
    check("\x7f\x08a\r", "slowpath> a/slowpath>", &["run a"]);
    check("hxelp\x02\x02\x02\x7f\r", "slowpath> help/slowpath>", &["run help"]);
    check("xhelp\x01\x04\r", "slowpath> help/slowpath>", &["run help"]);
    check("xhelp\x1b[H\x1b[3~\r", "slowpath> help/slowpath>", &["run help"]);
    check("help\x04me\x04\r", "slowpath> helpme/slowpath>", &["run helpme"]);
}

#[test]
fn killing() {
    check("help alloc\x02\x02\x0b\r", "slowpath> help all/slowpath>", &["run help all"]);
    check("help alloc\x15free\r", "slowpath> free/slowpath>", &["run free"]);
    check("free #7 a|b  \x17c\r", "slowpath> free #7 c/slowpath>", &["run free #7 c"]);
    check("aa bb\x01\x1bd\r", "slowpath>  bb/slowpath>", &["run  bb"]);
}

#[test]
fn moving() {
    check("elp\x01h\x05!\r", "slowpath> help!/slowpath>", &["run help!"]);
    check("a|bc d\x1bb\x1bbX\r", "slowpath> a|Xbc d/slowpath>", &["run a|Xbc d"]);
    check("a|bc d\x01\x1bf\x1bfX\r", "slowpath> a|bcX d/slowpath>", &["run a|bcX d"]);
    check("bc\x1b[Da\x1b[C\x06d\x1b[1~0\x1b[4~9\r", "slowpath> 0bacd9/slowpath>", &["run 0bacd9"]);
}

#[test]
fn walking_the_history() {
    check("a\rb\r\x10\x10\r", "slowpath> a/slowpath> b/slowpath> a/slowpath>", &["run a", "run b", "run a"]);
    check("aaa\rx\x1b[A\x1b[By\r", "slowpath> aaa/slowpath> xy/slowpath>", &["run aaa", "run xy"]);
    check(
        "aaa\rb\r\x1b[A\x1b[A\x1b[A\x0ec\r",
        "slowpath> aaa/slowpath> b/slowpath> bc/slowpath>",
        &["run aaa", "run b", "run bc"],
    );
    check("\x10\x0ea\r", "slowpath> a/slowpath>", &["run a"]);
}

#[test]
fn referring_to_the_history() {
    check("a b\r!! c\r", "slowpath> a b/slowpath> !! c/a b c/slowpath>", &["run a b", "run a b c"]);
    check("a\rb\r!1\r", "slowpath> a/slowpath> b/slowpath> !1/a/slowpath>", &["run a", "run b", "run a"]);
    check("!5\r", "slowpath> !5/slowpath>", &["!5: no such line in the history"]);
    check("a\r!!\r!!\r\x10\r", "slowpath> a/slowpath> !!/a/slowpath> !!/a/slowpath> a/slowpath>", &["run a"; 4]);
}

#[test]
fn completing() {
    check("al\tx\r", "slowpath> alloc x/slowpath>", &["run alloc x"]);
    check("a\tu\t\r", "slowpath> a/alloc  audit/slowpath> audit/slowpath>", &["run audit "]);
    check("zz\t\r", "slowpath> zz/slowpath>", &["run zz"]);
    check("alloc gfp_k\t\r", "slowpath> alloc GFP_KERNEL/slowpath>", &["run alloc GFP_KERNEL"]);
    check("alloc 1|GFP\t_\t\r", "slowpath> alloc 1|GFP_KERNEL_ACCOUNT/slowpath>", &["run alloc 1|GFP_KERNEL_ACCOUNT "]);
    check("cat /p\tx\r", "slowpath> cat /proc/x/slowpath>", &["run cat /proc/x"]);
    check("al GFP\x01\x06\x06\t\r", "slowpath> alloc  GFP/slowpath>", &["run alloc  GFP"]);
}

#[test]
fn cancelling() {
    check("hel\x03a\r", "slowpath> hel^C/slowpath> a/slowpath>", &["cancelled", "run a"]);
    check("\u{e9}\x03a\r", "slowpath> ^C/slowpath> a/slowpath>", &["cancelled", "run a"]);
}

#[test]
fn a_fresh_screen() {
    check("ab\x02\x0cX\r", "slowpath> ab/slowpath> aXb/slowpath>", &["run aXb"]);
    let (screen, _) = type_in("\x1b[C\x0c");
    assert_eq!(screen, "slowpath> \x1b[H\x1b[2Jslowpath> ");
}

#[test]
fn lines_that_are_dropped_as_a_whole() {
    check(
        "a\u{e9}b\rc\r",
        "slowpath> ab/slowpath> c/slowpath>",
        &["line dropped: byte 0xc3 in it is not ASCII text", "run c"],
    );
    check("a\0b\r", "slowpath> ab/slowpath>", &["line dropped: byte 0x00 in it is not ASCII text"]);
    check(
        "a\x1b[\rb\r",
        "slowpath> a/slowpath> b/slowpath>",
        &["line dropped: an escape sequence in it was cut short", "run b"],
    );
    check("\u{e9}\x15a\r", "slowpath> a/slowpath>", &["run a"]);
}

#[test]
fn the_longest_line_and_one_byte_more() {
    let longest = "x".repeat(LINE_BYTES_MAX);
    let (_, lines) = type_in(&format!("{longest}\r"));
    assert_eq!(lines, [format!("run {longest}")]);
    let (screen, lines) = type_in(&format!("{longest}yz\ra\r"));
    assert_eq!(lines, ["line dropped: longer than 1024 bytes", "run a"]);
    assert!(!screen.contains('y'));
    let (_, lines) = type_in(&format!("{longest}y\x7f\x7f\r"));
    assert_eq!(lines, ["line dropped: longer than 1024 bytes"]);
}

#[test]
fn a_silent_line_shows_only_the_prompt() {
    let mut editor = Editor::default();
    let mut screen = String::new();
    editor.set_echo(false);
    let entered: Vec<_> = b"a\t\x10\r".iter().filter_map(|&b| editor.feed(b, &Names, &mut screen)).collect();
    editor.prompt(&mut screen);
    assert_eq!((entered.len(), screen.as_str()), (1, PROMPT));
}

#[test]
fn any_bytes_leave_the_editor_sound() {
    let mut editor = Editor::default();
    let mut screen = String::new();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200_000 {
        let byte = if random.u8(..4) == 0 {
            random.u8(..)
        } else {
            b" a\x1b[ACDb\t\x08\x01\x05\x10\x0e\x17\x04"[random.usize(..16)]
        };
        if byte == b'\r' || screen.len() > 1 << 20 {
            screen.clear();
        }
        editor.feed(byte, &Names, &mut screen);
        assert!(editor.cursor <= editor.line.len && editor.line.as_str().is_ascii());
    }
}

#[test]
fn a_line_that_was_broken_into_is_shown_again_and_goes_on() {
    let mut editor = Editor::default();
    let mut screen = String::new();
    let mut type_on = |keys: &str, screen: &mut String| {
        for byte in keys.bytes() {
            assert_eq!(editor.feed(byte, &Names, screen), None);
        }
        screen.push_str("\n[    1.000000] a message\n");
        editor.show(screen);
    };
    type_on("fre\x1b[D", &mut screen);
    type_on("e", &mut screen);
    assert!(!screen.contains('\x1b'), "{screen:?}");
    assert_eq!(show(&screen), "fre/[    1.000000] a message/slowpath> free/[    1.000000] a message/slowpath> free");
    assert!(screen.ends_with("slowpath> free\x08"), "the cursor is where it was: {screen:?}");
}
