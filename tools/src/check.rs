//! `check`: everything that can be said about the code without running it.

use std::process::Command;

use anyhow::Result;

use crate::build::TARGET;
use crate::tally::Tally;
use crate::{process, tidy, workspace};

/// The checks, each one call of cargo: name, arguments.
const CHECKS: &[(&str, &[&str])] = &[
    ("formatting", &["fmt", "--all", "--check"]),
    (
        "clippy on the host",
        &["clippy", "--quiet", "--workspace", "--exclude", "boot", "--all-targets", "--", "-D", "warnings"],
    ),
    (
        "clippy on the target",
        &[
            "clippy",
            "--quiet",
            "--release",
            "--package",
            "boot",
            "--package",
            "shell",
            "--package",
            "kernel",
            "--target",
        ],
    ),
    ("documentation", &["doc", "--quiet", "--workspace", "--exclude", "boot", "--no-deps", "--document-private-items"]),
    ("documentation of the image", &["doc", "--quiet", "--package", "boot", "--no-deps", "--target"]),
];

/// Private items are documented too, so links to them lead somewhere.
const RUSTDOCFLAGS: &str = "-D warnings -A rustdoc::private-intra-doc-links";

/// Runs every check and prints the result.
pub fn run() -> Result<u8> {
    let mut tally = Tally::default();
    tally.run("tidy", tidy::check);
    for (name, args) in CHECKS {
        tally.run(name, || process::capture(&mut cargo(args)).map(drop));
    }
    Ok(tally.finish())
}

/// One call of cargo; arguments that end in `--target` are for the bare machine.
fn cargo(args: &[&str]) -> Command {
    let mut cargo = workspace::cargo();
    cargo.args(args).env("RUSTDOCFLAGS", RUSTDOCFLAGS);
    if args.last() == Some(&"--target") {
        cargo.arg(TARGET);
        if args[0] == "clippy" {
            cargo.args(["--", "-D", "warnings"]);
        }
    }
    cargo
}
