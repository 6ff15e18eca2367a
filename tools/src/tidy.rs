//! `tidy`: the rules of the house that neither the compiler nor clippy holds.
//!
//! [`RULES`] is the list; each rule looks at one file and reports lines. `source` reads files, `floors` knows which
//! file of the kernel may import which, `text` and `code` hold the rest. A rule that cannot fail is worse than none:
//! the tests show each one a bad file.

mod code;
mod floors;
mod source;
mod text;

use std::path::Path;

use anyhow::{Result, bail};

use crate::workspace;
use source::Source;

/// A rule.
struct Rule {
    /// Short name, printed with what it finds.
    name: &'static str,
    /// What it demands.
    about: &'static str,
    /// Finds the lines (from 1) that break it, and says how.
    check: fn(&Source) -> Vec<(usize, String)>,
}

/// Every rule.
const RULES: &[Rule] = &[
    Rule { name: "header", about: "a Rust file opens with //!", check: text::header },
    Rule { name: "ascii", about: "sources are ASCII", check: text::ascii },
    Rule { name: "leftovers", about: "no reminders in comments", check: text::leftovers },
    Rule { name: "machine", about: "no path of a developer's machine", check: text::machine_paths },
    Rule { name: "hosts", about: "no host name of a package registry or archive", check: text::hosts },
    Rule { name: "bytes", about: "no file over 256 KiB", check: text::bytes },
    Rule { name: "spaces", about: "no spaces at line ends, one line end at the end", check: text::spaces },
    Rule { name: "file-length", about: "a file has at most 500 lines without its tests", check: code::file_length },
    Rule { name: "function-length", about: "a function has at most 70 lines", check: code::function_length },
    Rule { name: "unfinished", about: "nothing unfinished, ignored or silenced", check: code::unfinished },
    Rule { name: "unsafe-place", about: "unsafe only in boot and kernel/src/sync.rs", check: code::unsafe_place },
    Rule { name: "safety", about: "a SAFETY comment stands before unsafe code", check: code::safety },
    Rule { name: "statics", about: "the kernel has no statics", check: code::statics },
    Rule { name: "heap", about: "the kernel has no heap", check: code::heap },
    Rule { name: "atomics", about: "the kernel's atomics are those of crate::sync::atomic", check: code::atomics },
    Rule { name: "floors", about: "a file of the kernel imports only from floors below", check: floors::check },
];

/// Looks at every file of the repository; prints what breaks a rule.
pub fn run() -> Result<u8> {
    check()?;
    println!("{} rules hold", RULES.len());
    Ok(0)
}

/// Looks at every file of the repository.
///
/// # Errors
/// With a line for each place that breaks a rule.
pub fn check() -> Result<()> {
    let findings = findings(workspace::root())?;
    if !findings.is_empty() {
        bail!("{}", findings.join("\n"));
    }
    Ok(())
}

/// Everything that breaks a rule under `root`.
fn findings(root: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for source in source::load(root)? {
        findings.extend(source.error().map(|error| format!("{}: {error}", source.path)));
        findings.extend(RULES.iter().flat_map(|rule| apply(rule, &source)));
    }
    Ok(findings)
}

/// What one rule finds in one file.
fn apply(rule: &Rule, source: &Source) -> Vec<String> {
    let line = |(line, what)| format!("{}:{line}: {what} ({}: {})", source.path, rule.name, rule.about);
    (rule.check)(source).into_iter().map(line).collect()
}

#[cfg(test)]
mod tests;
