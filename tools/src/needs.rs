//! What a machine needs so that slowpath can be built, run and tested on it: one table.
//!
//! `setup` installs what is missing of it, `doctor` prints it.

use std::process::Command;

use crate::build::TARGET;
use crate::qemu::{self, Machine};
use crate::{process, workspace};

/// How something is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// There, and good enough.
    Good(String),
    /// There, but what is said cannot be done with it.
    Limited(String),
    /// Not there.
    Missing,
}

/// Where something comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// `rustup target add`, or `rustup component add`.
    Rustup(&'static str),
    /// A package of the system.
    Package(Package),
}

/// A package's name in each system.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Package {
    /// Debian and Ubuntu.
    pub debian: &'static str,
    /// Fedora.
    pub fedora: &'static str,
    /// Arch Linux.
    pub arch: &'static str,
    /// Homebrew on macOS.
    pub brew: &'static str,
}

/// What something is needed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// Building, running, testing.
    Always,
    /// The checks that let Linux's programs read our tables; they are skipped without it.
    Tables,
    /// `make debug` and the like alone.
    Debugging,
}

/// Something that is needed.
pub struct Need {
    /// What it is.
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
    /// Where it comes from.
    pub origin: Origin,
    /// When it is needed; without options `setup` looks after what is always needed.
    pub when: Use,
    /// Looks whether it is there.
    pub probe: fn() -> State,
}

/// Everything that is needed.
pub const NEEDS: &[Need] = &[
    Need {
        name: TARGET,
        purpose: "the bare machine's Rust library",
        origin: Origin::Rustup("target"),
        when: Use::Always,
        probe: || rust_target(TARGET),
    },
    Need {
        name: "clippy",
        purpose: "make check",
        origin: Origin::Rustup("component"),
        when: Use::Always,
        probe: || version(&mut workspace::cargo_with(&["clippy", "--version"])),
    },
    Need {
        name: "rustfmt",
        purpose: "make check",
        origin: Origin::Rustup("component"),
        when: Use::Always,
        probe: || version(&mut workspace::cargo_with(&["fmt", "--version"])),
    },
    Need {
        name: "qemu",
        purpose: "the machines",
        origin: Origin::Package(Package {
            debian: "qemu-system-arm",
            fedora: "qemu-system-aarch64",
            arch: "qemu-system-aarch64",
            brew: "qemu",
        }),
        when: Use::Always,
        probe: emulator,
    },
    Need {
        name: "expect",
        purpose: "tests of the console",
        origin: Origin::Package(Package { debian: "expect", fedora: "expect", arch: "expect", brew: "expect" }),
        when: Use::Always,
        probe: || version(Command::new("expect").arg("-v")),
    },
    Need {
        name: "dtc",
        purpose: "the device tree of raspi4b",
        origin: Origin::Package(Package { debian: "device-tree-compiler", fedora: "dtc", arch: "dtc", brew: "dtc" }),
        when: Use::Always,
        probe: || version(Command::new("dtc").arg("--version")),
    },
    Need {
        name: "slabtop",
        purpose: "reading /proc/slabinfo in make test",
        origin: Origin::Package(Package { debian: "procps", fedora: "procps-ng", arch: "procps-ng", brew: "procps" }),
        when: Use::Tables,
        probe: || version(Command::new("slabtop").arg("--version")),
    },
    Need {
        name: "jc",
        purpose: "reading the tables of nodes and zones in make test",
        origin: Origin::Package(Package { debian: "jc", fedora: "jc", arch: "jc", brew: "jc" }),
        when: Use::Tables,
        probe: || version(Command::new("jc").arg("--version")),
    },
    Need {
        name: "gdb",
        purpose: "make debug",
        origin: Origin::Package(Package {
            debian: "gdb-multiarch",
            fedora: "gdb",
            arch: "aarch64-linux-gnu-gdb",
            brew: "aarch64-elf-gdb",
        }),
        when: Use::Debugging,
        probe: || gdb().map_or(State::Missing, |name| version(Command::new(name).arg("--version"))),
    },
    Need {
        name: "miri",
        purpose: "make miri, with a nightly toolchain",
        origin: Origin::Rustup("component"),
        when: Use::Debugging,
        probe: || version(Command::new("rustup").args(["run", "nightly", "cargo", "miri", "--version"])),
    },
];

/// The first of the usual names of a gdb that knows the guest's processor.
pub fn gdb() -> Option<&'static str> {
    ["gdb-multiarch", "aarch64-linux-gnu-gdb", "aarch64-elf-gdb", "gdb"].into_iter().find(|name| {
        let architecture = ["-batch", "-nx", "-ex", "set architecture aarch64"];
        Command::new(name).args(architecture).output().is_ok_and(|output| {
            output.status.success() && !String::from_utf8_lossy(&output.stderr).contains("ndefined item")
        })
    })
}

/// The first line of what a program says about itself.
fn version(command: &mut Command) -> State {
    match process::capture(command) {
        Ok(text) => State::Good(text.lines().next().unwrap_or_default().trim().to_owned()),
        Err(_) => State::Missing,
    }
}

/// Whether the toolchain has a library for this target.
fn rust_target(target: &str) -> State {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]).current_dir(workspace::root());
    match process::capture(&mut rustc) {
        Ok(dir) if std::path::Path::new(dir.trim()).is_dir() => State::Good("installed".to_owned()),
        _ => State::Missing,
    }
}

/// QEMU, which is of little use when it is too old for raspi4b.
fn emulator() -> State {
    match version(Command::new(qemu::PROGRAM).arg("--version")) {
        State::Good(text) if !qemu::has(Machine::Raspi4b) => State::Limited(format!("{text}: no raspi4b")),
        state => state,
    }
}
