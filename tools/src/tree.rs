//! Device trees for machines to which QEMU gives none: our own small one, and the distribution's.
//!
//! `raspi4b` boots from `tools/dts/raspi4b.dts`, compiled by dtc, or from the blob in the distribution's arm64 kernel
//! package, where it is installed. The two name different serial ports as the console.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::qemu::{Machine, MachineArgs, Tree};
use crate::workspace;

/// Name of the Raspberry Pi's blob in a distribution's arm64 kernel package.
const DISTRIBUTION_BLOB: &str = "broadcom/bcm2711-rpi-4-b.dtb";
/// The mini UART, the console that the distribution's tree names, is QEMU's second serial port.
const MINI_UART: usize = 1;

/// The tree that the options ask for; none if QEMU makes it.
pub fn find(args: &MachineArgs) -> Result<Option<Tree>> {
    let tree = match (args.machine, args.tree.as_deref()) {
        (Machine::Virt, None) => return Ok(None),
        (Machine::Virt, Some("own" | "distribution")) => bail!("--tree: QEMU makes virt's device tree; give a file"),
        (Machine::Raspi4b, None) => match distribution() {
            Some(tree) => tree,
            None => own()?,
        },
        (Machine::Raspi4b, Some("own")) => own()?,
        (Machine::Raspi4b, Some("distribution")) => match distribution() {
            Some(tree) => tree,
            None => bail!("no {DISTRIBUTION_BLOB} under /usr/lib; it is in the distribution's arm64 kernel package"),
        },
        (_, Some(file)) => Tree { path: PathBuf::from(file), serial: 0 },
    };
    ensure!(tree.path.is_file(), "there is no device tree {}", tree.path.display());
    Ok(Some(tree))
}

/// The distribution's blob of its newest kernel package.
pub fn distribution() -> Option<Tree> {
    let kernels = fs::read_dir("/usr/lib").ok()?.flatten().map(|entry| entry.path());
    let mut blobs: Vec<_> = kernels
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("linux-image-")))
        .map(|path| path.join(DISTRIBUTION_BLOB))
        .filter(|path| path.is_file())
        .collect();
    blobs.sort();
    Some(Tree { path: blobs.pop()?, serial: MINI_UART })
}

/// Our own tree, compiled.
fn own() -> Result<Tree> {
    let source = workspace::root().join("tools/dts/raspi4b.dts");
    let path = workspace::out()?.join("raspi4b.dtb");
    if !newer(&path, &source) {
        compile(&source, &path)?;
    }
    Ok(Tree { path, serial: 0 })
}

/// Compiles a device tree; dtc's style warnings are left out.
///
/// # Errors
/// When there is no dtc, or it refuses the source.
pub fn compile(source: &Path, blob: &Path) -> Result<()> {
    let draft = tempfile::NamedTempFile::new_in(workspace::out()?)?;
    let mut dtc = Command::new("dtc");
    dtc.args(["-q", "-I", "dts", "-O", "dtb", "-o"]).arg(draft.path()).arg(source);
    let status = dtc.status().context("cannot start dtc; `make setup` installs it")?;
    ensure!(status.success(), "dtc refuses {}", workspace::relative(source));
    draft.persist(blob)?;
    Ok(())
}

/// Whether `product` exists and is not older than `source`.
fn newer(product: &Path, source: &Path) -> bool {
    let time = |path: &Path| path.metadata().and_then(|data| data.modified());
    matches!((time(product), time(source)), (Ok(product), Ok(source)) if product >= source)
}
