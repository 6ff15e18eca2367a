//! Short commands: `bench`, `miri`, `model`, `sd-card`, `board-trees`.

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
use crate::{process, tree, workspace};

/// How long `bench` may take.
const BENCH_LIMIT: Duration = Duration::from_secs(300);
/// What the Pi's firmware must be told: 64 bits, our image, and a serial console whose clock does not move.
const CONFIG_TXT: &str = "arm_64bit=1\nkernel=kernel8.img\nenable_uart=1\n";
/// What the Pi's firmware needs beside that; it is not ours to give.
const FIRMWARE: [&str; 3] = ["start4.elf", "fixup4.dat", "bcm2711-rpi-4-b.dtb"];

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

/// How long the model test goes on.
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
    let mut cargo = workspace::cargo_with(&["test", "--package", "kernel", "--test", "model", "--", "--nocapture"]);
    cargo.env("SLOWPATH_MODEL_OPS", campaign.operations.to_string());
    cargo.env("SLOWPATH_MODEL_SEED", campaign.seed.to_string());
    process::show(&mut cargo)?;
    Ok(0)
}

/// A directory to fill.
#[derive(Args, Clone, Debug)]
pub struct Directory {
    /// The directory
    pub directory: PathBuf,
}

/// Fills a directory with what goes on the SD card of a Raspberry Pi 4.
pub fn sd_card(args: &Directory) -> Result<u8> {
    let image = build::build(BuildArgs::default())?.image;
    let tree = tree::distribution().map(|tree| tree.path);
    for line in fill_card(&args.directory, &image, tree.as_deref())? {
        println!("{line}");
    }
    Ok(0)
}

/// Puts the files into `dir` and says what became of each. Only the image replaces what is there: a card's own
/// config.txt may say more than ours.
fn fill_card(dir: &Path, image: &Path, tree: Option<&Path>) -> Result<Vec<String>> {
    let copy = |from: &Path, name: &str| {
        let to = dir.join(name);
        fs::copy(from, &to).with_context(|| format!("cannot write {}", to.display())).map(|_| format!("wrote {name}"))
    };
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut lines = vec![copy(image, "kernel8.img")?];
    let config = dir.join("config.txt");
    match fs::read_to_string(&config) {
        Ok(text) => lines.extend(
            CONFIG_TXT
                .lines()
                .filter(|line| !text.lines().any(|other| other.trim() == *line))
                .map(|line| format!("config.txt is there already; it lacks the line {line}")),
        ),
        Err(_) => {
            fs::write(&config, CONFIG_TXT).with_context(|| format!("cannot write {}", config.display()))?;
            lines.push("wrote config.txt".into());
        }
    }
    for name in FIRMWARE.iter().filter(|name| !dir.join(name).exists()) {
        lines.push(match tree.filter(|tree| tree.file_name().is_some_and(|file| file == *name)) {
            Some(tree) => copy(tree, name)?,
            None => format!("still to come from the Raspberry Pi's firmware: {name}"),
        });
    }
    lines.push("the console is the serial port on pins 8 and 10 (GPIO 14 and 15), 115200 8N1".into());
    Ok(lines)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_gets_what_it_lacks_and_keeps_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let (card, image, tree) = (dir.path().join("card"), dir.path().join("image"), dir.path().join(FIRMWARE[2]));
        fs::write(&image, "first").unwrap();
        fs::write(&tree, "tree").unwrap();
        let fill = |tree| fill_card(&card, &image, tree).unwrap().join("\n");
        let read = |name: &str| fs::read_to_string(card.join(name)).unwrap();

        let lines = fill(None);
        assert!(lines.starts_with("wrote kernel8.img\nwrote config.txt\nstill to come"), "{lines}");
        assert_eq!(lines.matches("still to come").count(), 3, "{lines}");
        assert_eq!((read("kernel8.img").as_str(), read("config.txt").as_str()), ("first", CONFIG_TXT));

        fs::write(&image, "second").unwrap();
        fs::write(card.join("config.txt"), "arm_64bit=1\nkernel=other.img\nenable_uart=1\n").unwrap();
        let lines = fill(Some(&tree));
        assert!(lines.contains("it lacks the line kernel=kernel8.img\n"), "{lines}");
        assert_eq!(lines.matches("lacks").count(), 1, "{lines}");
        assert_eq!((read("kernel8.img").as_str(), read(FIRMWARE[2]).as_str()), ("second", "tree"));
        assert!(read("config.txt").contains("other.img"));

        assert!(fill_card(&image.join("x"), &image, None).is_err(), "a file is no directory");
    }
}
