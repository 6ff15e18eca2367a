//! Short commands: `bench`, `miri`, `model`, `stress`, `family`, `board-trees`.

use std::fs;
use std::io::stdout;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::apt::{self, Scratch, Wish};
use crate::build::{self, BuildArgs};
use crate::guest::{self, Script};
use crate::qemu::MachineArgs;
use crate::system::System;
use crate::{process, workspace};

/// How long `bench` may take.
const BENCH_LIMIT: Duration = Duration::from_secs(300);

/// Runs the shell's `bench` on virt with counted instructions.
pub fn bench() -> Result<u8> {
    let image = build::build(BuildArgs::default())?.image;
    let machine = MachineArgs { icount: true, ..MachineArgs::default() };
    let script = Script { machine: &machine, image: &image, text: "bench", limit: Some(BENCH_LIMIT) };
    let finished = guest::run(&script, &mut stdout().lock())?;
    ensure!(finished.prompted, "no prompt:\n{}", finished.boot);
    Ok(finished.status)
}

/// Runs the kernel crate's tests under Miri.
pub fn miri() -> Result<u8> {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", "nightly", "cargo", "miri", "test", "--package", "kernel"]).current_dir(workspace::root());
    process::show(&mut cargo).context("Miri needs `rustup toolchain install nightly --component miri`")?;
    Ok(0)
}

/// How long the model test, the stress test or the test of the family goes on.
#[derive(Args, Clone, Debug)]
pub struct Campaign {
    /// Operations on all machines together
    #[arg(long, default_value_t = 10_000_000)]
    pub operations: u64,
    /// Where the random numbers start
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Runs the kernel crate's model test for as long as a campaign.
pub fn model(campaign: &Campaign) -> Result<u8> {
    run_campaign("model", campaign)
}

/// Runs the kernel crate's stress test for as long as a campaign.
pub fn stress(campaign: &Campaign) -> Result<u8> {
    run_campaign("stress", campaign)
}

/// Runs the kernel crate's test of the allocation family for as long as a campaign.
pub fn family(campaign: &Campaign) -> Result<u8> {
    run_campaign("family", campaign)
}

/// Runs the kernel crate's test program `test`, which reads its length and seed from the environment.
fn run_campaign(test: &str, campaign: &Campaign) -> Result<u8> {
    let mut cargo = workspace::cargo_with(&["test", "--package", "kernel", "--test", test, "--", "--nocapture"]);
    // Not the optimiser that a person may have chosen for quick tests: it would take ten times as long.
    cargo.env("CARGO_PROFILE_TEST_OPT_LEVEL", "3");
    let variable = |what| format!("SLOWPATH_{}_{what}", test.to_uppercase());
    cargo.env(variable("OPS"), campaign.operations.to_string());
    cargo.env(variable("SEED"), campaign.seed.to_string());
    process::show(&mut cargo)?;
    Ok(0)
}

/// A directory to fill.
#[derive(Args, Clone, Debug)]
pub struct Directory {
    /// The directory
    pub directory: PathBuf,
}

/// Fetches the device trees of Debian's arm64 kernel, for tests that read real ones.
pub fn board_trees(args: &Directory) -> Result<u8> {
    let System::Debian(release) = System::here() else {
        bail!("device trees come from Debian's archive, which this machine does not know");
    };
    let wish = Wish { release: &release, components: &["main"], backports: false, packages: &[] };
    let archive = apt::archive(Path::new("/etc/apt"), &release).context("apt has no source for this release")?;
    let scratch = Scratch::new(&archive.source(&wish))?;
    let arm64 = |name| {
        let mut tool: Command = scratch.tool(name);
        tool.args(["-qq", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures::=arm64"]);
        tool.args(["-o", "Dir::State::status=/dev/null", "-o", "APT::Sandbox::User=root"]);
        tool
    };
    fs::create_dir_all(&args.directory)?;
    process::show(arm64("apt-get").arg("update"))?;
    let depends = process::capture(arm64("apt-cache").args(["depends", "linux-image-arm64"]))?;
    let package = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    let package = package.context("linux-image-arm64 depends on nothing")?;
    let download = tempfile::tempdir()?;
    println!("downloading {package}");
    process::show(arm64("apt-get").args(["download", package]).current_dir(download.path()))?;
    let deb = fs::read_dir(download.path())?.flatten().next().context("apt-get downloaded nothing")?.path();
    unpack_trees(&deb, &args.directory)?;
    println!("for the tests: SLOWPATH_BOARD_TREES={}", fs::canonicalize(&args.directory)?.display());
    Ok(0)
}

/// Unpacks the device trees of a kernel package.
fn unpack_trees(deb: &Path, dir: &Path) -> Result<()> {
    let mut files = Command::new("dpkg-deb").arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped()).spawn()?;
    let pipe = files.stdout.take().context("dpkg-deb's output is not a pipe")?;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(dir).args(["-x", "--wildcards", "./usr/lib/linux-image-*"]).stdin(pipe);
    process::show(&mut tar)?;
    ensure!(files.wait()?.success(), "dpkg-deb cannot read {}", deb.display());
    Ok(())
}
