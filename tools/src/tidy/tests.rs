//! Each rule is shown a file that breaks it and one that does not.

use std::fmt::Write;

use super::*;

/// Rule, path, a text that breaks it with the line where, a text that does not.
type Example = (&'static str, &'static str, &'static str, usize, &'static str);

const EXAMPLES: &[Example] = &[
    ("header", "shell/src/lib.rs", "#![no_std]\nfn f() {}\n", 1, "#![no_std]\n//! What it is.\n"),
    ("ascii", "Makefile", "# ok\n# \u{2192}\n", 2, "# ->\n"),
    ("leftovers", "boot/image.ld", "/* a */\n/* FIXME: b */\n", 2, "/* FIXMEUP */\n"),
    ("machine", "README.md", concat!("see /ho", "me/me/x\n"), 1, "see /proc/buddyinfo and /usr/lib\n"),
    ("hosts", ".ci/run", concat!("curl deb.deb", "ian.org\n"), 1, "debian\n"),
    ("spaces", "Makefile", "a\nb \n", 2, "a\nb\n"),
    ("spaces", "Makefile", "a\n\n", 2, ""),
    ("unfinished", "shell/src/x.rs", "fn f() {\n    todo!()\n}\n", 2, "fn todo() { todo() }\n"),
    ("unfinished", "shell/src/x.rs", "#[allow(dead_code)]\nfn f() {}\n", 1, "#[allow(clippy::x)]\nfn f() {}\n"),
    ("unfinished", "shell/src/x.rs", "#[cfg(test)]\nmod t {\n    #[ignore]\n    fn f() {}\n}\n", 3, "fn ignore() {}\n"),
    ("unsafe-place", "kernel/src/addr.rs", "fn f() {\n    unsafe { g() }\n}\n", 2, "// unsafe\nfn f() {}\n"),
    ("unsafe-place", "shell/src/x.rs", "m! { unsafe fn f() }\n", 1, "const S: &str = \"unsafe\";\n"),
    ("statics", "kernel/src/addr.rs", "fn f() {}\nstatic X: u8 = 0;\n", 2, "const X: &'static str = \"\";\n"),
    ("atomics", "kernel/src/addr.rs", "use core::sync::atomic::AtomicU8;\n", 1, "use crate::sync::atomic::AtomicU8;\n"),
    (
        "atomics",
        "kernel/src/mm/x.rs",
        "\nconst A: core::sync::atomic::Ordering = B;\n",
        2,
        "use core::sync::Exclusive;\n",
    ),
    ("heap", "kernel/src/addr.rs", "use alloc::vec::Vec;\n", 1, "struct A { alloc: u8 }\nfn f() { m::alloc::g(); }\n"),
    ("heap", "kernel/src/addr.rs", "\nextern crate alloc;\n", 2, "#[cfg(test)]\nmod t {\n    use std::vec;\n}\n"),
    ("safety", "boot/src/x.rs", "// now\nfn f() {\n    unsafe { g() }\n}\n", 3, "unsafe fn f() {}\n"),
    (
        "safety",
        "boot/src/x.rs",
        "\nunsafe impl Send for X {}\n",
        2,
        "// SAFETY: no fields.\nunsafe impl Send for X {}\n",
    ),
    (
        "safety",
        "boot/src/x.rs",
        "fn f() {\n    // SAFETY: once.\n    unsafe { g() };\n    unsafe { g() };\n}\n",
        4,
        "fn f() {\n    // SAFETY: the caller promises\n    // a lot.\n    let x =\n        h(unsafe { g() });\n}\n",
    ),
    ("floors", "kernel/src/addr.rs", "\nuse crate::mm::zone::Zone;\n", 2, "use core::fmt;\n"),
    ("floors", "kernel/src/mm/zone.rs", "use super::{page, freelist};\n", 1, "use super::buddy;\nuse crate::addr;\n"),
    ("floors", "kernel/src/mm/buddy.rs", "use crate::mm::pcp::Pcp;\n", 1, "use crate::mm::list;\n"),
    (
        "floors",
        "kernel/src/mm/node.rs",
        "fn f() {\n    super::vmscan::g();\n}\n",
        2,
        "fn f() { self::g(); Self::h(); }\n",
    ),
    ("floors", "kernel/src/mm/node.rs", "type T = crate::check::X;\n", 1, "mod inner { use super::X; }\n"),
    ("floors", "kernel/src/nowhere.rs", "fn f() {}\n", 1, "mod a;\npub use a::b;\n"),
    ("floors", "kernel/src/gfp/parse.rs", "use crate::task::Task;\n", 1, "use super::Gfp;\n"),
    ("floors", "kernel/src/task.rs", "use crate::proc::x;\n", 1, "#[cfg(test)]\nmod t {\n    use crate::proc::x;\n}\n"),
];

/// Lines that the rule finds in a file.
fn found(name: &str, path: &str, text: &str) -> Vec<usize> {
    let rule = RULES.iter().find(|rule| rule.name == name).unwrap();
    let source = Source::new(path, text);
    assert_eq!(source.error(), None, "{text}");
    (rule.check)(&source).into_iter().map(|(line, _)| line).collect()
}

#[test]
fn each_rule_fails_on_a_bad_file_and_passes_a_good_one() {
    for (name, path, bad, line, good) in EXAMPLES {
        assert_eq!(found(name, path, bad), [*line], "{name}, {path}:\n{bad}");
        assert_eq!(found(name, path, good), [0; 0], "{name}, {path}:\n{good}");
    }
}

/// A function of so many lines.
fn function(lines: usize) -> String {
    let mut text = String::from("fn f() {\n");
    for line in 2..lines {
        writeln!(text, "    g({line});").unwrap();
    }
    text + "}\n"
}

#[test]
fn sizes_are_limits() {
    assert_eq!(found("function-length", "shell/src/x.rs", &function(70)), [0; 0]);
    assert_eq!(found("function-length", "shell/src/x.rs", &function(71)), [1]);
    let method = format!("impl X {{\n{}}}\n", function(71));
    assert_eq!(found("function-length", "shell/src/x.rs", &method), [2]);
    let assembly = format!("#[unsafe(naked)]\n{}", function(71));
    assert_eq!(found("function-length", "boot/src/x.rs", &assembly), [0; 0]);
    let file = |lines| "// x\n".repeat(lines);
    assert_eq!(found("file-length", "shell/src/x.rs", &file(500)), [0; 0]);
    assert_eq!(found("file-length", "shell/src/x.rs", &file(501)), [500]);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", file(300));
    assert_eq!(found("file-length", "shell/src/x.rs", &(file(500) + &tests)), [0; 0]);
    assert_eq!(found("bytes", "a.txt", &"x".repeat(256 << 10)), [0; 0]);
    assert_eq!(found("bytes", "a.txt", &"x".repeat((256 << 10) + 1)), [1]);
}

#[test]
fn every_rule_has_an_example() {
    let measured = ["function-length", "file-length", "bytes"];
    for rule in RULES {
        let shown = EXAMPLES.iter().any(|example| example.0 == rule.name) || measured.contains(&rule.name);
        assert!(shown, "{}", rule.name);
    }
}

#[test]
fn a_file_that_does_not_parse_is_reported() {
    assert!(Source::new("shell/src/x.rs", "fn f( {}\n").error().is_some());
}

#[test]
fn the_repository_keeps_the_rules() {
    check().unwrap();
}
