//! `flash`: writes the image of a card, which `sdcard` made, to an SD card, and to nothing else.
//!
//! `disk` looks at the device and refuses whatever is not a removable whole disk that nobody uses; then the person
//! types the disk's name, and only then is it opened, exclusively, which the system refuses if it came to be used.

mod disk;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::sdcard;
use disk::{Device, Disk, System};

/// Linux's `O_EXCL`; a block device that is in use is not opened with it.
const EXCLUSIVELY: i32 = 0o200;
/// Nothing was written, because the person did not want it.
const DECLINED: u8 = 1;

/// Options of `flash`.
#[derive(Args, Clone, Debug)]
pub struct FlashArgs {
    /// The card's device, such as /dev/sdb or /dev/mmcblk0
    #[arg(value_name = "DEVICE")]
    pub device: PathBuf,
}

/// Looks, asks, writes.
pub fn run(args: &FlashArgs) -> Result<u8> {
    let image = sdcard::image_path()?;
    let bytes = fs::read(&image).context("there is no image of a card yet; `make sdcard` makes it")?;
    let disk = examine(&args.device, bytes.len() as u64)?;
    println!("{disk}");
    println!("everything on it will be lost; {} MiB are written", bytes.len() >> 20);
    if !confirmed(&disk.name, &mut io::stdin().lock(), &mut io::stdout())? {
        println!("nothing was written");
        return Ok(DECLINED);
    }
    write(&args.device, &bytes).with_context(|| format!("{} may be half written", args.device.display()))?;
    println!("done; the card can be taken out");
    Ok(0)
}

/// The disk behind a path.
fn examine(path: &Path, needed: u64) -> Result<Disk> {
    ensure!(cfg!(target_os = "linux"), "flash reads Linux's /sys; write the image with this system's own tool");
    let place = fs::canonicalize(path).with_context(|| format!("no device {}", path.display()))?;
    let data = place.metadata()?;
    ensure!(data.file_type().is_block_device(), "{} is not a block device", path.display());
    let name = place.file_name().and_then(|name| name.to_str()).context("a device without a name")?;
    let system = System {
        sys: Path::new("/sys"),
        mounts: &fs::read_to_string("/proc/self/mountinfo").context("cannot tell what is mounted")?,
        swaps: &fs::read_to_string("/proc/swaps").unwrap_or_default(),
    };
    let device = Device { name, number: number(data.rdev()) };
    match disk::examine(&system, &device, needed) {
        Ok(disk) => Ok(disk),
        Err(refusal) => bail!("{} is left alone: {refusal}", path.display()),
    }
}

/// A device's number as /sys writes it. Linux: `gnu_dev_major`, `gnu_dev_minor`.
fn number(rdev: u64) -> String {
    let major = rdev >> 8 & 0xfff | rdev >> 32 & 0xffff_f000;
    let minor = rdev & 0xff | rdev >> 12 & 0xffff_ff00;
    format!("{major}:{minor}")
}

/// Whether the person types the disk's name.
fn confirmed(name: &str, input: &mut dyn BufRead, output: &mut dyn Write) -> Result<bool> {
    write!(output, "type {name} to go on: ")?;
    output.flush()?;
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(line.trim() == name)
}

/// Writes the bytes, and returns when they are on the card.
fn write(device: &Path, bytes: &[u8]) -> Result<()> {
    let mut card: File = OpenOptions::new().write(true).custom_flags(EXCLUSIVELY).open(device)?;
    card.write_all(bytes)?;
    card.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_itself_confirms() {
        let answer = |text: &str| confirmed("sdb", &mut text.as_bytes(), &mut Vec::new()).unwrap();
        assert!(answer("sdb\n") && answer(" sdb "));
        for other in ["", "\n", "y\n", "yes\n", "sdb1\n", "SDB\n", "/dev/sdb\n"] {
            assert!(!answer(other), "{other:?}");
        }
    }

    #[test]
    fn numbers_are_written_as_sys_does() {
        assert_eq!(number(0x0810), "8:16");
        assert_eq!(number(0xb300), "179:0");
        assert_eq!(number(0x0001_0000_1234_5678), format!("{}:{}", 0x1_0456, 0x1_2378));
    }

    #[test]
    fn only_block_devices_are_looked_at() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = |path: &Path| examine(path, 0).unwrap_err().to_string();
        assert!(error(file.path()).ends_with(" is not a block device"));
        assert!(error(Path::new("/dev/null")).ends_with(" is not a block device"));
        assert!(error(Path::new("/dev/no-such-thing")).starts_with("no device "));
    }
}
