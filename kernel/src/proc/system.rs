//! /proc/cmdline, /proc/version and /proc/quirks: what this is, and how it was started.
//!
//! The first two are Linux's (`cmdline_proc_show`, `version_proc_show`). `quirks` is ours: where v5.0 surprises, what
//! each switch stands at, and which kernel does it otherwise; see [`crate::quirks`].

use core::fmt;

use super::{Form, json};
use crate::quirks::{QuirkInfo, Quirks};

/// The boot arguments, as they were given.
pub fn write_cmdline(cmdline: &str, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    match form {
        Form::Text => writeln!(out, "{cmdline}"),
        Form::Json => json::Object::new(out).text("cmdline", cmdline)?.end(),
    }
}

/// Our version, and the version of Linux whose allocator this is.
pub fn write_version(form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    const OURS: &str = env!("CARGO_PKG_VERSION");
    match form {
        Form::Text => writeln!(out, "slowpath version {OURS} (the page allocator of Linux version 5.0)"),
        Form::Json => json::Object::new(out).word("slowpath", OURS)?.word("linux", "5.0")?.end(),
    }
}

/// Every quirk, with what its switch stands at.
pub fn write_quirks(quirks: Quirks, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    quirks.iter().try_for_each(|(info, value)| match form {
        Form::Text => write_quirk(info, value, out),
        Form::Json => {
            let mut row = json::Object::new(out);
            row.word("id", info.id)?.word("name", info.name)?.word("value", value)?.word("default", info.values[0])?;
            row.text("about", info.about)?.word("fixed_in", info.fixed_in)?.end()
        }
    })
}

/// Two lines: the switch, and what v5.0 does.
fn write_quirk(info: &QuirkInfo, value: &str, out: &mut dyn fmt::Write) -> fmt::Result {
    write!(out, "{:<4}{}={value}", info.id, info.name)?;
    let others = info.values.iter().filter(|other| **other != value);
    others.into_iter().try_for_each(|other| write!(out, " (or {other})"))?;
    match info.fixed_in {
        "never" => writeln!(out, ", never fixed")?,
        kernel => writeln!(out, ", fixed in {kernel}")?,
    }
    writeln!(out, "    v5.0: {}", info.about)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl Fn(&mut dyn fmt::Write) -> fmt::Result) -> String {
        let mut text = String::new();
        write(&mut text).unwrap();
        text
    }

    #[test]
    fn quirks_say_what_they_stand_at() {
        let mut quirks = Quirks::default();
        quirks.set("nofragment", "5.1").unwrap();
        let table = text(|out| write_quirks(quirks, Form::Text, out));
        assert!(table.starts_with(
            "Q1  nofragment=5.1 (or 5.0), fixed in 5.1\n    v5.0: ALLOC_NOFRAGMENT is never set\n\
             Q2  boost_reset=late (or early), fixed in 5.8\n"
        ));
        assert!(table.contains("Q5  two_mobilities=reject, never fixed\n"), "{table}");
        assert!(table.lines().all(|line| line.len() <= 80), "{table}");
        let json = text(|out| write_quirks(quirks, Form::Json, out));
        let first = "{\"id\":\"Q1\",\"name\":\"nofragment\",\"value\":\"5.1\",\"default\":\"5.0\",\
                     \"about\":\"ALLOC_NOFRAGMENT is never set\",\"fixed_in\":\"5.1\"}";
        assert_eq!(json.lines().next(), Some(first));
    }

    #[test]
    fn the_command_line_is_as_it_was_given() {
        let line = r#"mem=1G script="a\b""#;
        assert_eq!(text(|out| write_cmdline(line, Form::Text, out)), format!("{line}\n"));
        let json = text(|out| write_cmdline(line, Form::Json, out));
        assert_eq!(json, "{\"cmdline\":\"mem=1G script=\\\"a\\\\b\\\"\"}\n");
    }
}
