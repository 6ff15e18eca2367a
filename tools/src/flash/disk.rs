//! Whether a device is an SD card that may be overwritten: [`examine`] reads /sys, the mounts and the swap areas.
//!
//! All three come in as arguments ([`System`]), so that the tests show it disks that this machine does not have. A
//! device is good only if everything is said and says so; what cannot be read is a reason to refuse.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Unit of sizes in /sys, whatever the disk's own sectors are.
const SECTOR: u64 = 512;
/// Larger disks are hardly a card for this: more likely somebody's backup.
const MAX_BYTES: u64 = 256 << 30;

/// What the system says about its disks.
pub struct System<'a> {
    /// Where /sys is.
    pub sys: &'a Path,
    /// The text of /proc/self/mountinfo.
    pub mounts: &'a str,
    /// The text of /proc/swaps.
    pub swaps: &'a str,
}

/// A block device, as its node in /dev tells.
pub struct Device<'a> {
    /// The node's name.
    pub name: &'a str,
    /// `MAJOR:MINOR`.
    pub number: String,
}

/// A disk that may be overwritten.
#[derive(PartialEq, Eq, Debug)]
pub struct Disk {
    /// The kernel's name for it.
    pub name: String,
    /// Vendor and model, or a card's own name.
    pub what: String,
    /// Bytes.
    pub bytes: u64,
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.bytes >> 20;
        write!(f, "{}: {}, {}.{} GiB", self.name, self.what, mib / 1024, mib % 1024 * 10 / 1024)
    }
}

/// Why a device is left alone.
#[derive(PartialEq, Eq, Debug)]
pub enum Refusal {
    /// /sys does not know it.
    Unknown,
    /// The node's name and number are those of two devices.
    Misnamed(String),
    /// It is a part of this disk.
    Partition(String),
    /// It is made of software: a loop, a RAM disk, a mapping.
    Virtual,
    /// It is a disc drive, a tape, an eMMC: this.
    Kind(String),
    /// It is built in.
    Fixed,
    /// It is write-protected.
    ReadOnly,
    /// There is no card in the reader.
    Empty,
    /// It has so many bytes, and that many are needed.
    TooSmall(u64, u64),
    /// It has so many bytes.
    TooLarge(u64),
    /// A part of it is mounted here.
    Mounted(String, String),
    /// A part of it is swapped to.
    Swap(String),
    /// A part of it carries this other device.
    Held(String, String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unknown => f.write_str("/sys/class/block does not know it"),
            Refusal::Misnamed(number) => write!(f, "its node has the number of another device; /sys says {number}"),
            Refusal::Partition(disk) => write!(f, "it is a partition; the whole disk is {disk}"),
            Refusal::Virtual => f.write_str("it is not a disk but a loop, a RAM disk or a mapping"),
            Refusal::Kind(kind) => write!(f, "it is {kind}, not an SD card or a USB reader's disk"),
            Refusal::Fixed => f.write_str("it is not removable, so it may be this computer's own disk"),
            Refusal::ReadOnly => f.write_str("it is write-protected; SD cards have a switch for that"),
            Refusal::Empty => f.write_str("there is no card in the reader"),
            Refusal::TooSmall(bytes, needed) => {
                write!(f, "it has {} MiB, and the image needs {}", bytes >> 20, needed.div_ceil(1 << 20))
            }
            Refusal::TooLarge(bytes) => {
                write!(f, "it has {} GiB; above {} it is hardly an SD card for this", bytes >> 30, MAX_BYTES >> 30)
            }
            Refusal::Mounted(part, place) => write!(f, "{part} is mounted at {place}; umount it first"),
            Refusal::Swap(part) => write!(f, "{part} is swapped to"),
            Refusal::Held(part, holder) => write!(f, "{part} is in use by {holder}"),
        }
    }
}

/// The disk behind a device, if an image of `needed` bytes may overwrite it.
pub fn examine(system: &System<'_>, device: &Device<'_>, needed: u64) -> Result<Disk, Refusal> {
    let place = system.sys.join("class/block").join(device.name);
    let place = fs::canonicalize(place).map_err(|_| Refusal::Unknown)?;
    let number = read(&place, "dev").ok_or(Refusal::Unknown)?;
    if number != device.number {
        return Err(Refusal::Misnamed(number));
    }
    if place.join("partition").exists() {
        return Err(Refusal::Partition(parent_name(&place)));
    }
    check_kind(&place)?;
    let bytes = check_size(&place, needed)?;
    if read(&place, "ro").is_none_or(|ro| ro != "0") {
        return Err(Refusal::ReadOnly);
    }
    for part in parts(&place) {
        check_unused(system, &part)?;
    }
    let words = ["device/vendor", "device/model", "device/name"].iter().filter_map(|file| read(&place, file));
    let what = words.collect::<Vec<_>>().join(" ");
    Ok(Disk { name: device.name.to_owned(), what, bytes })
}

/// A disk in a reader's slot.
fn check_kind(place: &Path) -> Result<(), Refusal> {
    if place.components().any(|part| part.as_os_str() == "virtual") || !place.join("device").exists() {
        return Err(Refusal::Virtual);
    }
    // What the drivers call their devices: `mmc` by the card's kind, SCSI by the number of the device's type.
    match read(place, "device/type").as_deref() {
        Some("SD") => return Ok(()),
        Some("0") | None => {}
        Some("5") => return Err(Refusal::Kind("a disc drive".to_owned())),
        Some("MMC") => return Err(Refusal::Kind("an eMMC, which is soldered in".to_owned())),
        Some(other) => return Err(Refusal::Kind(format!("a device of type {other}"))),
    }
    if read(place, "removable").is_some_and(|removable| removable == "1") { Ok(()) } else { Err(Refusal::Fixed) }
}

/// The disk's bytes, neither too few nor too many.
fn check_size(place: &Path, needed: u64) -> Result<u64, Refusal> {
    let bytes = read(place, "size").and_then(|size| size.parse::<u64>().ok()).unwrap_or(0).saturating_mul(SECTOR);
    match bytes {
        0 => Err(Refusal::Empty),
        bytes if bytes < needed => Err(Refusal::TooSmall(bytes, needed)),
        bytes if bytes > MAX_BYTES => Err(Refusal::TooLarge(bytes)),
        bytes => Ok(bytes),
    }
}

/// The disk itself and its partitions.
fn parts(place: &Path) -> Vec<PathBuf> {
    let inside = fs::read_dir(place).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut parts: Vec<PathBuf> = inside.filter(|path| path.join("partition").exists()).collect();
    parts.push(place.to_owned());
    parts.sort();
    parts
}

/// Nobody has mounted a part, swaps to it, or built another device on it.
fn check_unused(system: &System<'_>, part: &Path) -> Result<(), Refusal> {
    let name = name(part);
    let number = read(part, "dev").ok_or(Refusal::Unknown)?;
    // Fields of mountinfo: id, parent, MAJOR:MINOR, root, mount point.
    let mounted = system.mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(2);
        (fields.next() == Some(&number)).then(|| fields.nth(1).unwrap_or("?").to_owned())
    });
    if let Some(place) = mounted {
        return Err(Refusal::Mounted(name, place));
    }
    let device = format!("/dev/{name}");
    if system.swaps.lines().any(|line| line.split_whitespace().next() == Some(&device)) {
        return Err(Refusal::Swap(name));
    }
    match fs::read_dir(part.join("holders")).into_iter().flatten().flatten().next() {
        Some(holder) => Err(Refusal::Held(name, holder.file_name().to_string_lossy().into_owned())),
        None => Ok(()),
    }
}

/// One value of /sys.
fn read(place: &Path, file: &str) -> Option<String> {
    fs::read_to_string(place.join(file)).ok().map(|text| text.trim().to_owned())
}

fn name(place: &Path) -> String {
    place.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn parent_name(place: &Path) -> String {
    place.parent().map(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const GIB: u64 = 1 << 30;
    /// What the image needs here.
    const NEEDED: u64 = 64 << 20;
    /// The machine's own disk is mounted, and nothing else.
    const MOUNTS: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                          23 22 0:21 / /proc rw - proc proc rw\n";
    const SWAPS: &str = "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1024 0 -2\n";

    /// A /sys with one disk; the fields of its files can be changed.
    struct Tree {
        dir: tempfile::TempDir,
        name: &'static str,
    }

    impl Tree {
        /// A card of 32 GiB in a USB reader, with one partition.
        fn usb() -> Tree {
            Tree::new("sdb", "devices/pci0000:00/usb1/host6/target6:0:0/6:0:0:0/block")
                .with("dev", "8:16")
                .with("removable", "1")
                .with("device/type", "0")
                .with("device/vendor", "Generic ")
                .with("device/model", "STORAGE DEVICE  ")
                .with("sdb1/partition", "1")
                .with("sdb1/dev", "8:17")
        }

        /// A card in a built-in slot.
        fn slot() -> Tree {
            Tree::new("mmcblk0", "devices/platform/fe340000.mmc/mmc_host/mmc0/mmc0:aaaa/block")
                .with("dev", "179:0")
                .with("removable", "0")
                .with("device/type", "SD")
                .with("device/name", "SC32G")
        }

        fn new(name: &'static str, at: &str) -> Tree {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join(at).join(name)).unwrap();
            fs::create_dir_all(dir.path().join("class/block")).unwrap();
            symlink(dir.path().join(at).join(name), dir.path().join("class/block").join(name)).unwrap();
            Tree { dir, name }.with("size", &(32 * GIB / SECTOR).to_string()).with("ro", "0")
        }

        fn with(self, file: &str, text: &str) -> Tree {
            let path = self.dir.path().join("class/block").join(self.name).join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
            self
        }

        fn number(&self) -> String {
            read(&self.dir.path().join("class/block").join(self.name), "dev").unwrap()
        }

        fn examine_with(&self, mounts: &str, swaps: &str) -> Result<Disk, Refusal> {
            let system = System { sys: self.dir.path(), mounts, swaps };
            examine(&system, &Device { name: self.name, number: self.number() }, NEEDED)
        }

        /// Why the disk is refused.
        #[track_caller]
        fn refused(&self, why: &str) {
            assert_eq!(self.examine_with(MOUNTS, SWAPS).map_err(|refusal| refusal.to_string()), Err(why.to_owned()));
        }
    }

    #[test]
    fn cards_are_accepted() {
        let disk = Tree::usb().examine_with(MOUNTS, SWAPS).unwrap();
        assert_eq!(disk.to_string(), "sdb: Generic STORAGE DEVICE, 32.0 GiB");
        let disk = Tree::slot().examine_with(MOUNTS, SWAPS).unwrap();
        assert_eq!(disk.to_string(), "mmcblk0: SC32G, 32.0 GiB");
        Tree::slot().with("size", &(NEEDED / SECTOR).to_string()).examine_with(MOUNTS, SWAPS).unwrap();
        Tree::slot().with("size", &(MAX_BYTES / SECTOR).to_string()).examine_with(MOUNTS, SWAPS).unwrap();
    }

    #[test]
    fn what_is_no_card_is_refused() {
        Tree::usb().with("removable", "0").refused("it is not removable, so it may be this computer's own disk");
        Tree::usb().with("device/type", "5").refused("it is a disc drive, not an SD card or a USB reader's disk");
        Tree::usb().with("device/type", "1").refused("it is a device of type 1, not an SD card or a USB reader's disk");
        Tree::slot()
            .with("device/type", "MMC")
            .refused("it is an eMMC, which is soldered in, not an SD card or a USB reader's disk");
        Tree::usb().with("partition", "1").refused("it is a partition; the whole disk is block");
        for at in ["devices/virtual/block", "devices/platform"] {
            let bare = Tree::new("loop0", at).with("dev", "7:0").with("removable", "1");
            bare.refused("it is not a disk but a loop, a RAM disk or a mapping");
        }
    }

    #[test]
    fn a_disk_that_says_nothing_is_refused() {
        let silent = Tree::usb();
        fs::remove_file(silent.dir.path().join("class/block/sdb/removable")).unwrap();
        silent.refused("it is not removable, so it may be this computer's own disk");
        let silent = Tree::usb();
        fs::remove_file(silent.dir.path().join("class/block/sdb/ro")).unwrap();
        silent.refused("it is write-protected; SD cards have a switch for that");
    }

    #[test]
    fn sizes_have_limits() {
        let sized = |bytes: u64| Tree::usb().with("size", &(bytes / SECTOR).to_string());
        sized(0).refused("there is no card in the reader");
        sized(NEEDED - SECTOR).refused("it has 63 MiB, and the image needs 64");
        sized(MAX_BYTES + SECTOR).refused("it has 256 GiB; above 256 it is hardly an SD card for this");
        sized(u64::MAX).refused("it has 17179869183 GiB; above 256 it is hardly an SD card for this");
        Tree::usb().with("ro", "1").refused("it is write-protected; SD cards have a switch for that");
    }

    #[test]
    fn a_disk_in_use_is_refused() {
        let check = |mounts: &str, swaps: &str, why: &str| {
            let refusal = Tree::usb().examine_with(mounts, swaps).map_err(|refusal| refusal.to_string());
            assert_eq!(refusal, Err(why.to_owned()));
        };
        check(
            "40 22 8:17 / /media/card rw - vfat /dev/sdb1 rw\n",
            "",
            "sdb1 is mounted at /media/card; umount it first",
        );
        check("40 22 8:16 / /mnt rw - vfat /dev/sdb rw\n", "", "sdb is mounted at /mnt; umount it first");
        check(MOUNTS, "/dev/sdb1 partition 1 0 -2\n", "sdb1 is swapped to");
        Tree::usb().with("sdb1/holders/dm-0", "").refused("sdb1 is in use by dm-0");
        Tree::usb().with("holders/md0", "").refused("sdb is in use by md0");
    }

    #[test]
    fn names_and_numbers_belong_together() {
        let tree = Tree::usb();
        let system = System { sys: tree.dir.path(), mounts: MOUNTS, swaps: SWAPS };
        let ask = |name, number: &str| examine(&system, &Device { name, number: number.to_owned() }, NEEDED);
        assert_eq!(ask("sdc", "8:32"), Err(Refusal::Unknown));
        assert_eq!(ask("sdb", "8:0"), Err(Refusal::Misnamed("8:16".to_owned())));
    }

    #[test]
    fn a_partition_names_its_disk() {
        let tree = Tree::usb();
        let class = tree.dir.path().join("class/block");
        symlink(fs::canonicalize(class.join("sdb/sdb1")).unwrap(), class.join("sdb1")).unwrap();
        let system = System { sys: tree.dir.path(), mounts: MOUNTS, swaps: SWAPS };
        let device = Device { name: "sdb1", number: "8:17".to_owned() };
        assert_eq!(examine(&system, &device, NEEDED), Err(Refusal::Partition("sdb".to_owned())));
    }
}
