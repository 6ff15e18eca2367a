//! Device trees that no loader should pass: each is refused with one line, or understood as Linux would.
//!
//! QEMU's loader repairs trees before it passes them on, so it is left out: a few instructions of our own put the tree's
//! address into x0 and jump to the image.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::build::Built;
use crate::guest::{self, Finished};
use crate::qemu::{self, MachineArgs};
use crate::size::Size;
use crate::{tree, workspace};

/// RAM of the machine; `tools/dts/virt.dtsi` says the same.
const MEMORY: Size = Size(256 << 20);
/// Where things lie in it. QEMU keeps its own tree in the first MiB.
const IMAGE: u64 = 0x4020_0000;
const STUB: u64 = 0x4400_0000;
const TREE: u64 = 0x4600_0000;
/// `tools/dts/virt.dtsi` says where the script lies and how long it is.
const SCRIPT: u64 = 0x4700_0000;
const SCRIPT_BYTES: usize = 4096;
/// Shows what became of the memory, and that the allocator stands on it.
const LINES: &str = "cat /proc/iomem\naudit && alloc GFP_KERNEL -n 1000 && free all && audit\n";
/// How long a start may take, good or bad.
const LIMIT: Duration = Duration::from_secs(20);

/// What the tree is.
enum Source {
    /// A file of `tools/dts/bad`.
    File(&'static str),
    /// The good tree, broken after it was compiled.
    Broken(fn(&mut Vec<u8>)),
    /// There is none: x0 is 0.
    Nowhere,
}

/// What has to become of it.
enum Outcome {
    /// The start is refused; the line holds this text.
    Refused(&'static str),
    /// It boots; these lines appear, behind their times if they are messages.
    Boots(&'static [&'static str]),
}

/// A start with an unusual tree.
pub struct Start {
    /// What is unusual.
    pub name: &'static str,
    source: Source,
    outcome: Outcome,
}

const fn start(name: &'static str, source: Source, outcome: Outcome) -> Start {
    Start { name, source, outcome }
}

/// Every one of them.
pub const STARTS: &[Start] = &{
    use Outcome::{Boots, Refused};
    use Source::{Broken, File, Nowhere};
    const WHOLE: &[&str] = &["40000000-4fffffff : System RAM"];
    [
        start("a good tree", File("good"), Boots(WHOLE)),
        start("overlapping banks", File("overlap"), Boots(WHOLE)),
        start("reservations outside RAM", File("reserved-outside"), Boots(WHOLE)),
        start("no tree", Nowhere, Refused("the loader passed no device tree (x0 = 0x0)")),
        start("bad magic", Broken(|tree| tree[3] ^= 0xff), Refused("bad magic 0xd00dfe12, expected 0xd00dfeed")),
        start("a huge size", Broken(|tree| tree[4] = 0x7f), Refused("total size 0x7f")),
        start("half a tree by its header", Broken(|tree| halve_size(tree)), Refused("the structure block at offset")),
        start("half a tree in memory", Broken(|tree| tree.truncate(tree.len() / 2)), Refused("the structure block")),
        start("deep nodes", File("deep"), Refused("nodes nested deeper than 32 at 0x")),
        start("no memory", File("no-memory"), Refused("no memory node with a size above 0")),
        start("empty memory", File("zero-memory"), Refused("no memory node with a size above 0")),
        start("memory elsewhere", File("memory-elsewhere"), Refused("lies outside the memory that may be used")),
        start("dead CPUs", File("dead-cpus"), Boots(DEAD_CPUS)),
        start("interrupts in a circle", File("cyclic-interrupts"), Refused("no interrupt of the console")),
    ]
};

/// What becomes of `tools/dts/bad/dead-cpus.dts`.
const DEAD_CPUS: &[&str] = &[
    "CPU1: failed to come online: PSCI refuses: Invalid parameters to PSCI call",
    "CPU2: failed to come online: no answer within 250 ticks",
    "CPU3: failed to come online: the device tree does not say how to start it",
    "smp: Brought up 1 of 4 CPUs",
];

/// Makes the header say that the tree ends in its middle.
fn halve_size(tree: &mut [u8]) {
    let half = u32::try_from(tree.len() / 2).unwrap_or(u32::MAX);
    tree[4..8].copy_from_slice(&half.to_be_bytes());
}

/// Starts the image with the tree and looks at the outcome.
pub fn check(start: &Start, built: &Built) -> Result<()> {
    let mut console = Vec::new();
    let finished = boot(start, &built.image, &mut console)?;
    let console = String::from_utf8_lossy(&console);
    match start.outcome {
        Outcome::Refused(line) => {
            super::check_refusal(&finished, line)?;
            ensure!(console.is_empty(), "it went on:\n{console}");
        }
        Outcome::Boots(lines) => {
            let text = finished.boot + &console;
            ensure!(finished.status == 0, "status {}:\n{text}", finished.status);
            for line in lines {
                let appears = text.lines().any(|shown| shown.rsplit("] ").next() == Some(line));
                ensure!(appears, "no line {line:?}:\n{text}");
            }
        }
    }
    Ok(())
}

/// Runs the machine; `console` gets the text from the first prompt on.
fn boot(start: &Start, image: &Path, console: &mut Vec<u8>) -> Result<Finished> {
    let dir = tempfile::tempdir()?;
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).map(|()| path)
    };
    let blob = blob(&start.source, dir.path())?;
    let stub = write("stub", &stub(if blob.is_some() { TREE } else { 0 }))?;
    let script = write("script", format!("{LINES:\n<SCRIPT_BYTES$}").as_bytes())?;
    let tree = write("tree", &blob.unwrap_or_default())?;
    let files = [(stub.as_path(), STUB), (image, IMAGE), (&script, SCRIPT), (&tree, TREE)];
    let files = if matches!(start.source, Source::Nowhere) { &files[..3] } else { &files[..] };
    let machine = MachineArgs { memory: Some(MEMORY), ..MachineArgs::default() };
    guest::watched(&qemu::bare_command_line(&machine, files)?, Some(LIMIT), console)
}

/// The tree's bytes.
fn blob(source: &Source, dir: &Path) -> Result<Option<Vec<u8>>> {
    let compiled = |name: &str| {
        let blob = dir.join("compiled");
        tree::compile(&workspace::root().join(format!("tools/dts/bad/{name}.dts")), &blob)?;
        fs::read(&blob).context("dtc wrote nothing")
    };
    Ok(match source {
        Source::File(name) => Some(compiled(name)?),
        Source::Broken(breaks) => {
            let mut tree = compiled("good")?;
            breaks(&mut tree);
            Some(tree)
        }
        Source::Nowhere => None,
    })
}

/// Loads the tree's address into x0 and jumps to the image.
fn stub(tree: u64) -> Vec<u8> {
    const LDR_X0_AT_16: u32 = 0x5800_0080;
    const LDR_X1_AT_24: u32 = 0x5800_00a1;
    const BR_X1: u32 = 0xd61f_0020;
    let code = [LDR_X0_AT_16, LDR_X1_AT_24, BR_X1, 0].into_iter().flat_map(u32::to_le_bytes);
    code.chain([tree, IMAGE].into_iter().flat_map(u64::to_le_bytes)).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn every_file_is_used_and_there() {
        let dir = workspace::root().join("tools/dts/bad");
        let mut there: Vec<_> = fs::read_dir(dir).unwrap().flatten().map(|file| file.file_name()).collect();
        let files =
            STARTS.iter().filter_map(|start| if let Source::File(name) = start.source { Some(name) } else { None });
        let mut used: Vec<OsString> = files.map(|name| format!("{name}.dts").into()).collect();
        there.sort();
        used.sort();
        assert_eq!(there, used);
    }
}
