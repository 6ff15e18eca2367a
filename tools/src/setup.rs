//! `setup` makes this machine able to build, run and test slowpath; `doctor` only looks.
//!
//! What is needed is the table in `needs`. Rust's parts come from rustup. Packages come from apt, as root, on Debian
//! and Ubuntu; everyone else is told what to type.

use std::env;
use std::process::Command;

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::apt::{self, Wish};
use crate::needs::{NEEDS, Need, Origin, State, Use};
use crate::system::System;
use crate::{process, workspace};

/// The Debian release whose own QEMU has no raspi4b, while its backports' has.
const OLD_DEBIAN: &str = "bookworm";

/// Options of `setup`.
#[derive(Args, Clone, Copy, Debug)]
pub struct SetupArgs {
    /// Only the system's packages, not Rust's parts
    #[arg(long)]
    pub packages: bool,
    /// Also what only debugging needs
    #[arg(long)]
    pub debug: bool,
    /// Also what reads our tables in the tests, where it can be had
    #[arg(long)]
    pub tables: bool,
}

/// Installs what is missing; says nothing when nothing is.
pub fn run(args: SetupArgs) -> Result<u8> {
    let system = System::here();
    if !args.packages {
        for (need, kind) in missing(&system, args).filter_map(|need| Some((need, rustup_kind(need)?))) {
            println!("installing {} ({}) with rustup", need.name, need.purpose);
            process::show(Command::new("rustup").args([kind, "add", need.name]).current_dir(workspace::root()))?;
        }
    }
    let packages: Vec<&str> = missing(&system, args).filter_map(|need| package(&system, need)).collect();
    match complete(&system, &packages, args) {
        // What is left then is only what tests can be skipped without.
        Err(error) if args.tables && missing(&system, SetupArgs { tables: false, ..args }).next().is_none() => {
            println!("{error:#}\ngoing on without {}: some checks will be skipped", packages.join(" "));
            Ok(0)
        }
        done => done.map(|()| 0),
    }
}

/// Installs packages, and looks whether nothing is missing afterwards.
fn complete(system: &System, packages: &[&str], args: SetupArgs) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    install(system, packages, args)?;
    let left: Vec<&str> = missing(system, args).filter_map(|need| package(system, need)).collect();
    ensure!(left.is_empty(), "still missing: {}", left.join(" "));
    Ok(())
}

/// Prints everything that is needed, and how it is.
pub fn doctor() -> Result<u8> {
    let mut healthy = true;
    for need in NEEDS {
        let (mark, text) = match (need.probe)() {
            State::Good(text) => ("ok", text),
            State::Limited(text) => ("limited", text),
            State::Missing if need.when != Use::Always => ("absent", format!("needed only for {}", need.purpose)),
            State::Missing => ("MISSING", format!("needed for {}; make setup installs it", need.purpose)),
        };
        healthy &= mark != "MISSING";
        println!("{mark:8} {:22} {text}", need.name);
    }
    Ok(u8::from(!healthy))
}

/// Needs that this system can and should satisfy now.
fn missing(system: &System, args: SetupArgs) -> impl Iterator<Item = &'static Need> {
    let newer = *system == System::Debian(OLD_DEBIAN.to_owned());
    NEEDS.iter().filter(move |need| {
        let wanted = match need.when {
            Use::Always => true,
            Use::Tables => args.tables,
            Use::Debugging => args.debug && matches!(need.origin, Origin::Package(_)),
        };
        wanted
            && match (need.probe)() {
                State::Good(_) => false,
                State::Limited(_) => newer,
                State::Missing => true,
            }
    })
}

/// Rustup's word for what it installs.
fn rustup_kind(need: &Need) -> Option<&'static str> {
    match need.origin {
        Origin::Rustup(kind) => Some(kind),
        Origin::Package(_) => None,
    }
}

/// The package that satisfies a need here.
fn package(system: &System, need: &Need) -> Option<&'static str> {
    match &need.origin {
        Origin::Rustup(_) => None,
        Origin::Package(package) => Some(system.package(package)),
    }
}

/// Installs packages, or says what to type.
fn install(system: &System, packages: &[&str], args: SetupArgs) -> Result<()> {
    let names = packages.join(" ");
    let (release, components): (_, &[&str]) = match (system, system.installer()) {
        (System::Debian(release), _) => (release, &["main"]),
        (System::Ubuntu(release), _) => (release, &["main", "universe"]),
        (_, Some(installer)) => bail!("please install what is missing:\n\n    {installer} {names}\n"),
        (_, None) => bail!("please install what is missing; Arch Linux calls it {names}"),
    };
    if !is_root()? {
        let itself = env::current_exe()?;
        let debug = if args.debug { " --debug" } else { "" };
        let tables = if args.tables { " --tables" } else { "" };
        bail!("{names}: needs root. Please run\n\n    sudo {} setup --packages{debug}{tables}\n", itself.display());
    }
    let backports = release == OLD_DEBIAN;
    println!("installing {names} with apt-get{}", if backports { ", from backports where needed" } else { "" });
    println!("(through a scratch list of sources; this machine's own lists stay as they are)");
    apt::install(&Wish { release, components, backports, packages })
}

/// Whether this process may install packages.
fn is_root() -> Result<bool> {
    Ok(process::capture(Command::new("id").arg("-u"))?.trim() == "0")
}
