//! Runs a script in a guest and says how it ended.
//!
//! The script's text is the initrd; the guest runs its lines as if they were typed and leaves through semihosting with
//! the status that the contract names. [`Script`] is one run, [`Finished`] its end. Many can run at once: they share
//! no port and no file.

use std::fs;
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::console::FromPrompt;
use crate::qemu::{self, Console, Launch, MachineArgs};
use crate::tree;

/// The time was up.
pub const TIMED_OUT: u8 = 124;
/// The kernel panicked: the guest itself leaves with this status.
pub const PANICKED: u8 = 125;
/// The machine could not be started at all.
pub const NOT_STARTED: u8 = 126;
/// Added to the number of the signal that ended QEMU.
const SIGNALLED: i32 = 128;

/// A script and the machine that runs it.
pub struct Script<'a> {
    /// The machine.
    pub machine: &'a MachineArgs,
    /// The flat image.
    pub image: &'a Path,
    /// The lines.
    pub text: &'a str,
    /// When to give up.
    pub limit: Option<Duration>,
}

/// How a run ended.
#[derive(Debug)]
pub struct Finished {
    /// 0 to 123 from the guest, else one of this module's constants.
    pub status: u8,
    /// The console before the first prompt, and QEMU's own complaints.
    pub boot: String,
    /// Whether there was a prompt.
    pub prompted: bool,
}

/// Runs the script; `sink` gets the console from the first prompt on, as it comes.
///
/// # Errors
/// When QEMU cannot be started, or the sink is gone.
pub fn run(script: &Script<'_>, sink: &mut dyn Write) -> Result<Finished> {
    let dir = tempfile::tempdir().context("cannot create a temporary directory")?;
    let lines = dir.path().join("script");
    // QEMU takes no empty initrd, and the shell wants its last line ended.
    fs::write(&lines, format!("{}\n", script.text.trim_end_matches('\n')))?;
    let tree = tree::find(script.machine)?;
    let launch =
        Launch { image: script.image, tree: tree.as_ref(), script: Some(&lines), console: Console::Pipe, gdb: false };
    let arguments = qemu::command_line(script.machine, &launch)?;
    watched(&arguments, script.limit, sink)
}

/// Runs QEMU with these arguments, its console on standard output; `sink` gets the text from the first prompt on.
///
/// # Errors
/// When QEMU cannot be started, or the sink is gone.
pub fn watched(arguments: &[String], limit: Option<Duration>, sink: &mut dyn Write) -> Result<Finished> {
    let complaints = tempfile::tempfile()?;
    let mut child = Command::new(qemu::PROGRAM)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(complaints.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start {}; `make setup` installs it", qemu::PROGRAM))?;
    let mut console = FromPrompt::default();
    let ended = watch(&mut child, limit, &mut console, sink);
    let status = ended.map(|ended| ended.map_or(TIMED_OUT, exit_status));
    Ok(Finished { status: status?, boot: console.boot() + &text_of(complaints)?, prompted: console.reached() })
}

/// Passes the console on until the guest ends; `None` if the time is up first. The child is gone when this returns.
fn watch(
    child: &mut Child,
    limit: Option<Duration>,
    console: &mut FromPrompt,
    sink: &mut dyn Write,
) -> Result<Option<ExitStatus>> {
    let chunks = reader(child.stdout.take().context("QEMU's output is not a pipe")?);
    let passed = pass(&chunks, limit.map(|limit| Instant::now() + limit), console, sink);
    if !matches!(passed, Ok(true)) {
        child.kill()?;
    }
    let status = child.wait()?;
    Ok(passed?.then_some(status))
}

/// Passes chunks on; true when they ended, false when the time was up.
fn pass(
    chunks: &Receiver<Vec<u8>>,
    deadline: Option<Instant>,
    console: &mut FromPrompt,
    sink: &mut dyn Write,
) -> Result<bool> {
    loop {
        let chunk = match deadline {
            Some(at) => chunks.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => chunks.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match chunk {
            Ok(chunk) => sink.write_all(&console.feed(&chunk)).and_then(|()| sink.flush())?,
            Err(RecvTimeoutError::Timeout) => return Ok(false),
            Err(RecvTimeoutError::Disconnected) => return Ok(true),
        }
    }
}

/// Reads a pipe in a thread of its own, so that waiting for it can have a limit.
pub fn reader(mut pipe: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) if sender.send(buffer[..length].to_vec()).is_err() => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    receiver
}

/// A process's end as a shell would number it.
pub fn exit_status(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| SIGNALLED + status.signal().unwrap_or(0));
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// All that was written to a temporary file.
fn text_of(mut file: fs::File) -> Result<String> {
    let mut text = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
