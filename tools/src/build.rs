//! Builds the image: cargo for the crate `boot`, then ELF to flat.
//!
//! Neighbours: `image` knows the formats, `qemu` boots the result.

use std::fs;
use std::io::{IsTerminal, stderr};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{image, workspace};

/// The bare-metal target.
pub const TARGET: &str = "aarch64-unknown-none";

/// The profile for gdb, and what it is made of; without optimisation the image would not fit its smallest machine.
const DEBUGGING: &str = "debugging";
const DEBUGGING_SETTINGS: [&str; 5] =
    ["inherits='release'", "debug='full'", "opt-level=1", "lto='off'", "codegen-units=16"];

/// The profile that finds broken promises, and what it is made of.
const CHECKED: &str = "checked";
const CHECKED_SETTINGS: [&str; 3] = ["inherits='release'", "debug-assertions=true", "overflow-checks=true"];

/// What to build.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct BuildArgs {
    /// Build for gdb: with all debug information, and little optimised
    #[arg(long)]
    pub debug: bool,
    /// Build with the checks of debug builds, such as that of the order of locks
    #[arg(long, conflicts_with = "debug")]
    pub checked: bool,
}

/// The products of a build.
pub struct Built {
    /// The linker's output, with symbols for gdb.
    pub elf: PathBuf,
    /// The flat image.
    pub image: PathBuf,
}

/// Builds `kernel8.img`; cargo's progress is for people only.
pub fn build(args: BuildArgs) -> Result<Built> {
    let mut cargo = workspace::cargo();
    let (profile, settings, name) = match args {
        BuildArgs { debug: true, .. } => (DEBUGGING, DEBUGGING_SETTINGS.as_slice(), "kernel8-debugging.img"),
        BuildArgs { checked: true, .. } => (CHECKED, CHECKED_SETTINGS.as_slice(), "kernel8-checked.img"),
        _ => ("release", [].as_slice(), "kernel8.img"),
    };
    cargo.args(["build", "--package", "boot", "--target", TARGET, "--profile", profile]);
    // The image needs the flags of .cargo/config.toml, which these would replace.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    for setting in settings {
        cargo.arg("--config").arg(format!("profile.{profile}.{setting}"));
    }
    if !stderr().is_terminal() {
        cargo.arg("--quiet");
    }
    let status = cargo.status().context("cannot start cargo")?;
    ensure!(status.success(), "the image does not build");
    let elf = workspace::target().join(TARGET).join(profile).join("slowpath");
    let bytes = fs::read(&elf).with_context(|| format!("cannot read {}", elf.display()))?;
    let image = workspace::out()?.join(name);
    fs::write(&image, image::from_elf(&bytes)?).with_context(|| format!("cannot write {}", image.display()))?;
    Ok(Built { elf, image })
}

/// Builds and says where the image is.
pub fn print(args: BuildArgs) -> Result<u8> {
    println!("{}", workspace::relative(&build(args)?.image));
    Ok(0)
}
