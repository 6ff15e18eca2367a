//! `sdcard`: what a Raspberry Pi 4 boots from, as a folder and as an image of a card.
//!
//! The folder is `target/slowpath/sdcard`, the image `target/slowpath/sdcard.img` holds what is in the folder, and
//! `flash` writes the image to a card. What the board's firmware needs beside our files is not ours to give
//! ([`FIRMWARE`]); it is copied into the folder, or to the card, by whoever has it. Neighbours: `fat` lays the image
//! out; `tools/sdcard` has the texts that go onto the card.

pub mod fat;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::build::{self, BuildArgs};
use crate::{tree, workspace};

/// Our own files besides the image: name, text, and whether a file of the folder may say something else.
const TEXTS: [Text; 3] = [
    Text { name: "config.txt", text: include_str!("../sdcard/config.txt"), own: false },
    Text { name: "cmdline.txt", text: include_str!("../sdcard/cmdline.txt"), own: false },
    Text { name: "README.txt", text: include_str!("../sdcard/README.txt"), own: true },
];

/// A text that goes onto the card.
struct Text {
    name: &'static str,
    text: &'static str,
    /// Ours alone: it is written each time. Else the folder's is kept, since a person may have changed it.
    own: bool,
}

/// What the board's firmware needs, and which package or repository has it.
const FIRMWARE: [(&str, &str); 3] = [
    ("start4.elf", "Debian's raspi-firmware, or boot/ of github.com/raspberrypi/firmware"),
    ("fixup4.dat", "Debian's raspi-firmware, or boot/ of github.com/raspberrypi/firmware"),
    (BOARD_TREE, "Debian's linux-image-arm64, or boot/ of github.com/raspberrypi/firmware"),
];
/// The board's device tree.
const BOARD_TREE: &str = "bcm2711-rpi-4-b.dtb";

/// Options of `sdcard`.
#[derive(Args, Clone, Debug)]
pub struct SdCardArgs {
    /// Take the firmware's files from this directory
    #[arg(long, value_name = "DIRECTORY")]
    pub firmware: Option<PathBuf>,
}

/// Builds the image, fills the folder, and makes an image of the card.
pub fn run(args: &SdCardArgs) -> Result<u8> {
    let kernel = build::build(BuildArgs::default())?.image;
    let folder = workspace::out()?.join("sdcard");
    let firmware = firmware(args.firmware.as_deref())?;
    for line in fill(&folder, &kernel, &firmware)? {
        println!("{line}");
    }
    let image = image_path()?;
    for directory in fat::write(&folder, &image)? {
        println!("        {directory}/ is left out of the image; copy it to the card");
    }
    println!("folder  {}", workspace::relative(&folder));
    println!("image   {}", workspace::relative(&image));
    println!("next: make flash SD=/dev/..., see README.txt in the folder");
    Ok(0)
}

/// Where the image of a card is.
pub fn image_path() -> Result<PathBuf> {
    Ok(workspace::out()?.join("sdcard.img"))
}

/// The firmware's files that can be had without asking anyone: those of `directory`, and the tree of an installed kernel.
fn firmware(directory: Option<&Path>) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    if let Some(directory) = directory {
        files.extend(FIRMWARE.iter().map(|(name, _)| directory.join(name)).filter(|path| path.is_file()));
        ensure!(!files.is_empty(), "{} has none of the firmware's files", directory.display());
    }
    files.extend(tree::distribution().map(|tree| tree.path));
    Ok(files)
}

/// Puts what is ours into `folder`, and what there is of the firmware if the folder lacks it; says what became of each.
fn fill(folder: &Path, kernel: &Path, firmware: &[PathBuf]) -> Result<Vec<String>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut lines = vec![copy(kernel, &folder.join("kernel8.img"))?];
    for text in &TEXTS {
        lines.extend(put(text, &folder.join(text.name))?);
    }
    for (name, source) in &FIRMWARE {
        let place = folder.join(name);
        let found = firmware.iter().find(|path| path.file_name().is_some_and(|file| file == *name));
        lines.push(match found {
            _ if place.is_file() => format!("kept    {name}"),
            Some(path) => copy(path, &place)?,
            None => format!("MISSING {name}: from {source}"),
        });
    }
    Ok(lines)
}

/// Copies a file.
fn copy(from: &Path, to: &Path) -> Result<String> {
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(format!("wrote   {}", to.file_name().unwrap_or_default().to_string_lossy()))
}

/// Writes a text, or says which of its lines the folder's own file lacks.
fn put(text: &Text, place: &Path) -> Result<Vec<String>> {
    let there = fs::read_to_string(place).ok().filter(|_| !text.own);
    let Some(there) = there else {
        fs::write(place, text.text).with_context(|| format!("cannot write {}", place.display()))?;
        return Ok(vec![format!("wrote   {}", text.name)]);
    };
    let is_setting = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let missing = text.text.lines().filter(is_setting).filter(|line| there.lines().all(|other| other.trim() != *line));
    let mut lines = vec![format!("kept    {}", text.name)];
    lines.extend(missing.map(|line| format!("        which lacks the line {line}")));
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with a kernel, and a folder beside it.
    fn scene() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (folder, kernel) = (dir.path().join("folder"), dir.path().join("built"));
        fs::write(&kernel, "first").unwrap();
        (dir, folder, kernel)
    }

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    #[test]
    fn an_empty_folder_gets_what_is_ours_and_the_names_of_the_rest() {
        let (_dir, folder, kernel) = scene();
        let lines = fill(&folder, &kernel, &[]).unwrap().join("\n");
        assert!(
            lines.starts_with("wrote   kernel8.img\nwrote   config.txt\nwrote   cmdline.txt\nwrote   README.txt\n")
        );
        assert_eq!(lines.matches("MISSING ").count(), 3, "{lines}");
        assert_eq!(read(&folder, "kernel8.img"), "first");
        assert_eq!(read(&folder, "config.txt"), TEXTS[0].text);
    }

    #[test]
    fn a_folder_keeps_what_people_put_there() {
        let (dir, folder, kernel) = scene();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("config.txt"), "arm_64bit=1\nkernel=other.img\nenable_uart=1\n").unwrap();
        fs::write(folder.join("README.txt"), "old").unwrap();
        fs::write(folder.join("start4.elf"), "theirs").unwrap();
        let tree = dir.path().join(BOARD_TREE);
        fs::write(&tree, "tree").unwrap();

        let lines = fill(&folder, &kernel, &[dir.path().join("start4.elf"), tree]).unwrap().join("\n");
        assert!(lines.contains("kept    config.txt\n        which lacks the line kernel=kernel8.img\n"), "{lines}");
        assert_eq!(lines.matches("lacks").count(), 1, "{lines}");
        assert!(read(&folder, "config.txt").contains("other.img"));
        assert_eq!(read(&folder, "README.txt"), TEXTS[2].text);
        assert_eq!((read(&folder, "start4.elf").as_str(), read(&folder, BOARD_TREE).as_str()), ("theirs", "tree"));
        assert!(lines.contains("kept    start4.elf\nMISSING fixup4.dat: from "), "{lines}");
    }

    #[test]
    fn a_file_is_no_folder() {
        let (_dir, _, kernel) = scene();
        assert!(fill(&kernel.join("x"), &kernel, &[]).is_err());
    }

    #[test]
    fn the_texts_name_every_file_of_the_firmware() {
        for (name, _) in FIRMWARE {
            assert!(TEXTS[2].text.contains(name), "README.txt does not name {name}");
        }
        for needed in ["arm_64bit=1", "kernel=kernel8.img", "enable_uart=1"] {
            assert!(TEXTS[0].text.lines().any(|line| line == needed), "config.txt lacks {needed}");
        }
        assert!(TEXTS.iter().all(|text| text.text.lines().all(|line| line.len() <= 78)), "a line over 78 columns");
    }
}
