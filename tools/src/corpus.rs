//! Replays the corpus of transcripts, `tools/transcripts/*.txt`, on the host and in QEMU.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::build::{self, BuildArgs};
use crate::guest::{self, Script};
use crate::qemu::{self, Machine, MachineArgs};
use crate::tally::{self, Tally};
use crate::transcript::{Place, Transcript};
use crate::{host, workspace};

/// Options of `transcripts`.
#[derive(Args, Clone, Debug, Default)]
pub struct CorpusArgs {
    /// Where [default: everywhere]
    #[arg(long = "on", value_name = "PLACE", value_enum, value_delimiter = ',')]
    pub places: Vec<Place>,
    /// Only files whose name contains one of these
    pub names: Vec<String>,
    /// Write what the first place shows into the files
    #[arg(long)]
    pub accept: bool,
}

/// A transcript of the corpus.
struct Entry {
    path: PathBuf,
    text: String,
    transcript: Transcript,
}

impl Entry {
    fn name(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Runs the transcript's commands, as [`session`] does.
    fn session(&self, place: Place, image: Option<&Path>) -> Result<(String, u8)> {
        let Transcript { machine, limit, .. } = &self.transcript;
        session(place, image, machine, &self.transcript.script(), *limit)
    }
}

/// Replays the corpus and prints the result.
pub fn run(args: &CorpusArgs) -> Result<u8> {
    Ok(replay(args)?.finish())
}

/// Replays what the options choose.
pub fn replay(args: &CorpusArgs) -> Result<Tally> {
    let entries = load(&args.names)?;
    let places = if args.places.is_empty() { &Place::ALL[..] } else { &args.places };
    let mut tally = Tally::default();
    for &place in places {
        let chosen: Vec<&Entry> = entries.iter().filter(|entry| entry.transcript.places.contains(&place)).collect();
        if place == Place::Raspi4b && !qemu::has(Machine::Raspi4b) {
            tally::skip("transcripts on raspi4b", qemu::NO_RASPI4B);
        } else if args.accept {
            chosen.iter().try_for_each(|entry| accept(entry, place))?;
        } else {
            tally.add(replay_at(&chosen, place)?);
        }
    }
    Ok(tally)
}

/// Reads the files of the corpus whose names contain one of `names`.
fn load(names: &[String]) -> Result<Vec<Entry>> {
    let dir = workspace::root().join("tools/transcripts");
    let mut entries = Vec::new();
    for file in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = file?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let chosen = names.is_empty() || names.iter().any(|part| name.contains(part));
        if chosen && path.extension().is_some_and(|extension| extension == "txt") {
            let text = fs::read_to_string(&path)?;
            let transcript = Transcript::parse(&text).with_context(|| workspace::relative(&path))?;
            entries.push(Entry { path, text, transcript });
        }
    }
    if entries.is_empty() {
        bail!("no transcript is called {}", names.join(" or "));
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// Replays entries in one place.
fn replay_at(entries: &[&Entry], place: Place) -> Result<Tally> {
    let image = image(place)?;
    let name = |entry: &&Entry| format!("{} on {}", entry.name(), place.name());
    let check = |entry: &&Entry| {
        let (console, status) = entry.session(place, image.as_deref())?;
        entry.transcript.compare(&console, status).map_err(|report| anyhow!(report))
    };
    Ok(tally::parallel(entries, name, check))
}

/// The image, where the place needs one.
///
/// # Errors
/// When it does not build.
pub fn image(place: Place) -> Result<Option<PathBuf>> {
    place.machine().map(|_| Ok(build::build(BuildArgs::default())?.image)).transpose()
}

/// Where to play a table.
#[derive(Args, Clone, Debug, Default)]
pub struct PlaceArgs {
    /// Where [default: everywhere]
    #[arg(long = "on", value_name = "PLACE", value_enum, value_delimiter = ',')]
    places: Vec<Place>,
}

impl PlaceArgs {
    /// The places asked for.
    pub fn places(&self) -> &[Place] {
        if self.places.is_empty() { &Place::ALL } else { &self.places }
    }
}

/// Those of `places` that there are here, and the image if one of them needs it; says what is left out of `what`.
///
/// # Errors
/// When the image cannot be built.
pub fn open(places: &[Place], what: &str) -> Result<(Vec<Place>, Option<PathBuf>)> {
    let lacks = |place: &Place| *place == Place::Raspi4b && !qemu::has(Machine::Raspi4b);
    if places.iter().any(lacks) {
        tally::skip(&format!("{what} on raspi4b"), qemu::NO_RASPI4B);
    }
    let there: Vec<Place> = places.iter().copied().filter(|place| !lacks(place)).collect();
    let image = there.iter().find_map(|&place| image(place).transpose()).transpose()?;
    Ok((there, image))
}

/// Runs the lines of `text` on the machine with these options; returns the console from the first prompt on, and the exit
/// status. The host needs no image.
///
/// # Errors
/// When there is no prompt, the machine panics, or is not done in time.
pub fn session(
    place: Place,
    image: Option<&Path>,
    options: &MachineArgs,
    text: &str,
    limit: Duration,
) -> Result<(String, u8)> {
    let (Some(kind), Some(image)) = (place.machine(), image) else { return host::run(options, text) };
    let machine = machine(options, kind);
    let mut console = Vec::new();
    let script = Script { machine: &machine, image, text, limit: Some(limit) };
    let finished = guest::run(&script, &mut console)?;
    let console = String::from_utf8_lossy(&console).into_owned();
    match finished.status {
        _ if !finished.prompted => bail!("status {}, and no prompt:\n{}", finished.status, finished.boot),
        guest::TIMED_OUT => bail!("not done after {} s:\n{console}", limit.as_secs()),
        guest::PANICKED => bail!("the kernel panicked:\n{console}"),
        status => Ok((console, status)),
    }
}

/// The transcript's machine as a machine of this kind. Our own device tree, and one CPU that all threads share, make it
/// the same everywhere.
fn machine(options: &MachineArgs, kind: Machine) -> MachineArgs {
    let is_raspi4b = kind == Machine::Raspi4b;
    let own = is_raspi4b.then(|| "own".to_owned());
    let one = if is_raspi4b { " maxcpus=1" } else { "" };
    let append = options.append.clone() + one;
    MachineArgs { machine: kind, tree: options.tree.clone().or(own), append, ..options.clone() }
}

/// Replaces what is expected by what the place shows.
fn accept(entry: &Entry, place: Place) -> Result<()> {
    let image = image(place)?;
    let (console, _) = entry.session(place, image.as_deref()).with_context(|| entry.name())?;
    let text = entry.transcript.accept(&entry.text, &console);
    if text != entry.text {
        fs::write(&entry.path, text)?;
        println!("changed {}", workspace::relative(&entry.path));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commands of which a transcript can say nothing that holds everywhere: the script is the transcript itself.
    const NOT_REPLAYED: [&str; 1] = ["source"];

    #[test]
    fn every_command_has_a_transcript() {
        let script: String = load(&[]).unwrap().iter().map(|entry| entry.transcript.script()).collect();
        let commands = shell::command::commands::<shell::host::HostMachine>().iter().map(|command| command.name);
        let words: Vec<&str> = script.split(|c: char| c.is_whitespace() || c == ';').collect();
        let shown = |name: &str| {
            let name: Vec<&str> = name.split(' ').collect();
            words.windows(name.len()).any(|window| window == name) || NOT_REPLAYED.contains(&name[0])
        };
        let missing: Vec<&str> = commands.filter(|name| !shown(name)).collect();
        assert_eq!(missing, [""; 0], "these commands are in no transcript");
    }

    #[test]
    fn every_transcript_of_the_corpus_can_be_read() {
        assert!(!load(&[]).unwrap().is_empty());
        assert!(load(&["no such transcript".to_owned()]).is_err());
    }
}
