//! The image of a card: a partition table of one row, and a FAT32 file system with what is in a folder.
//!
//! ```text
//! 0        the master boot record: one partition, type 0x0c
//! 1 MiB    the partition: FAT32, one sector a cluster, so that there are clusters enough for FAT32
//! 64 MiB   the end
//! ```
//!
//! The same folder gives the same bytes: files carry no times, and the serial numbers are constants. The crate `fatfs`
//! writes the file system; the row of the table is 16 bytes, which are laid out here. Directories are left out: fatfs
//! 0.3 gives `.` and `..` long names, which no checker of file systems accepts.

use std::fs::{self, File};
use std::io::{Cursor, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fatfs::{Dir, FatType, FileSystem, FormatVolumeOptions, FsOptions};

/// Bytes of a sector.
const SECTOR: usize = 512;
/// Bytes of the image.
pub const IMAGE_BYTES: usize = 64 << 20;
/// Where the partition starts, as everything that knows flash memory does it.
const PARTITION_START: usize = 1 << 20;
/// Bytes of the partition.
const PARTITION_BYTES: usize = IMAGE_BYTES - PARTITION_START;
/// Serial number of the disk and of the file system.
const SERIAL: u32 = 0x2023_0416;
/// Name of the file system.
const LABEL: [u8; 11] = *b"SLOWPATH   ";
/// FAT32 that is addressed by sectors' numbers.
const FAT32_LBA: u8 = 0x0c;
/// Pieces that are all zero stay holes in the image's file.
const PIECE: usize = 64 << 10;

/// Writes an image of a card with the files that are in `folder`, and returns the names of what it had to leave out.
///
/// # Errors
/// When a file cannot be read, all together they are too large, or the image cannot be written.
pub fn write(folder: &Path, image: &Path) -> Result<Vec<String>> {
    let (files, directories) = list(folder)?;
    write_sparse(image, &build(&files)?).with_context(|| format!("cannot write {}", image.display()))?;
    Ok(directories)
}

/// The files of a folder, and the names of its directories, sorted.
fn list(folder: &Path) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.sort();
    let (directories, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok((files, directories.iter().map(name).collect()))
}

/// The bytes of the image.
fn build(files: &[PathBuf]) -> Result<Vec<u8>> {
    let mut image = vec![0; IMAGE_BYTES];
    let (head, partition) = image.split_at_mut(PARTITION_START);
    head[..SECTOR].copy_from_slice(&boot_record());
    let mut volume = Cursor::new(partition);
    let format = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(SECTOR as u32)
        .volume_id(SERIAL)
        .volume_label(LABEL);
    fatfs::format_volume(&mut volume, format).context("cannot make a file system")?;
    let system = FileSystem::new(volume, FsOptions::new()).context("cannot read the new file system")?;
    fill(&system.root_dir(), files)?;
    // This counts the free clusters, and leaves the number where checkers look for it.
    system.stats().context("cannot count what is free")?;
    system.unmount().context("cannot finish the file system")?;
    Ok(image)
}

/// The first sector: no program, one partition.
fn boot_record() -> [u8; SECTOR] {
    /// Where the table is, and the disk's serial number before it.
    const TABLE: usize = 446;
    const DISK_SERIAL: usize = 440;
    /// Cylinder, head and sector of a place that has none.
    const NO_CHS: [u8; 3] = [0xfe, 0xff, 0xff];
    let sectors = |bytes: usize| ((bytes / SECTOR) as u32).to_le_bytes();
    let mut record = [0; SECTOR];
    record[DISK_SERIAL..][..4].copy_from_slice(&SERIAL.to_le_bytes());
    let row = &mut record[TABLE..][..16];
    row[1..4].copy_from_slice(&NO_CHS);
    row[4] = FAT32_LBA;
    row[5..8].copy_from_slice(&NO_CHS);
    row[8..12].copy_from_slice(&sectors(PARTITION_START));
    row[12..16].copy_from_slice(&sectors(PARTITION_BYTES));
    record[SECTOR - 2..].copy_from_slice(&[0x55, 0xaa]);
    record
}

/// Copies the files into `dir`.
fn fill(dir: &Dir<'_, Cursor<&mut [u8]>>, files: &[PathBuf]) -> Result<()> {
    for path in files {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} has no name for a card", path.display()))?;
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let written = dir.create_file(name).and_then(|mut file| file.write_all(&bytes));
        written.with_context(|| format!("no room for {} in {} MiB", path.display(), PARTITION_BYTES >> 20))?;
    }
    Ok(())
}

/// Writes the bytes, but those of empty pieces.
fn write_sparse(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path)?;
    file.set_len(bytes.len() as u64)?;
    for (number, piece) in bytes.chunks(PIECE).enumerate().filter(|(_, piece)| piece.iter().any(|byte| *byte != 0)) {
        file.seek(SeekFrom::Start((number * PIECE) as u64))?;
        file.write_all(piece)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Command;

    use super::*;

    /// A folder with files of all sizes, and an empty directory.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("overlays")).unwrap();
        for (name, bytes) in files() {
            fs::write(dir.path().join(name), bytes).unwrap();
        }
        dir
    }

    fn files() -> [(&'static str, Vec<u8>); 5] {
        let large = (0..3_000_001_u32).map(|n| (n >> 3) as u8).collect();
        [
            ("kernel8.img", large),
            ("config.txt", b"arm_64bit=1\n".to_vec()),
            ("bcm2711-rpi-4-b.dtb", vec![0; SECTOR]),
            ("disable-bt.dtbo", vec![7; SECTOR + 1]),
            ("empty", Vec::new()),
        ]
    }

    /// The image as it is read from its file.
    fn image(folder: &Path) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(write(folder, file.path()).unwrap(), ["overlays"], "left out");
        fs::read(file.path()).unwrap()
    }

    /// The partition that the table names.
    fn partition(image: &[u8]) -> &[u8] {
        assert_eq!(&image[510..512], &[0x55, 0xaa], "signature");
        let word = |at: usize| u32::from_le_bytes(image[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!((image[446], image[450]), (0, 0x0c), "status and type");
        assert!(image[462..510].iter().all(|byte| *byte == 0), "one partition only");
        &image[word(454) * SECTOR..][..word(458) * SECTOR]
    }

    #[test]
    fn every_file_is_read_back() {
        let folder = folder();
        let image = image(folder.path());
        assert_eq!(image.len(), IMAGE_BYTES);
        let system = FileSystem::new(Cursor::new(partition(&image).to_vec()), FsOptions::new()).unwrap();
        assert_eq!((system.fat_type(), system.volume_label().as_str()), (FatType::Fat32, "SLOWPATH"));
        for (name, bytes) in files() {
            let mut read = Vec::new();
            system.root_dir().open_file(name).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == bytes, "{name}: {} bytes of {}", read.len(), bytes.len());
        }
        let names: Vec<String> = system.root_dir().iter().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["bcm2711-rpi-4-b.dtb", "config.txt", "disable-bt.dtbo", "empty", "kernel8.img"]);
    }

    #[test]
    fn the_same_folder_gives_the_same_bytes() {
        let [first, second] = [folder(), folder()].map(|folder| image(folder.path()));
        assert!(first == second);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            File::create(dir.path().join(name)).unwrap().set_len(40 << 20).unwrap();
        }
        let error = format!("{:#}", build(&list(dir.path()).unwrap().0).unwrap_err());
        assert!(error.starts_with("no room for ") && error.contains("/b in 63 MiB"), "{error}");
    }

    /// The judgement of others' tools, where they are installed.
    #[test]
    fn other_tools_find_no_fault() {
        let folder = folder();
        let image = image(folder.path());
        let disk = tempfile::NamedTempFile::new().unwrap();
        fs::write(disk.path(), partition(&image)).unwrap();
        for (tool, args) in [("fsck.fat", &["-n", "-v"][..]), ("mdir", &["-/", "-i"])] {
            match Command::new(tool).args(args).arg(disk.path()).output() {
                Ok(output) => assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stdout)),
                Err(error) => println!("skipped {tool}: {error}"),
            }
        }
    }
}
