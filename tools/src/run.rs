//! `run`: the console for a person, or a script for a program.

use std::fs;
use std::io::{self, Read, stdout};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::build::{self, BuildArgs, Built};
use crate::guest::{self, Script};
use crate::qemu::{self, Console, Launch, MachineArgs};
use crate::{process, tree};

/// How often the end of an interactive QEMU is looked for, when it has a time limit.
const POLL: Duration = Duration::from_millis(50);

/// Options of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// What to run on.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// Run the lines of FILE (- is standard input) in place of a console
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Give up after so many seconds, with status 124
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// What to build.
    #[command(flatten)]
    pub build: BuildArgs,
}

impl RunArgs {
    /// The time limit.
    fn limit(&self) -> Result<Option<Duration>> {
        self.timeout.map(Duration::try_from_secs_f64).transpose().context("--timeout")
    }
}

/// Builds the image and runs it; returns the exit status of the contract.
pub fn run(args: &RunArgs) -> Result<u8> {
    let built = build::build(args.build)?;
    match &args.script {
        Some(_) => scripted(args, &built),
        None => interactive(args, &built),
    }
}

/// Runs a script; standard output gets the console from the first prompt on.
fn scripted(args: &RunArgs, built: &Built) -> Result<u8> {
    let text = script_text(args)?;
    let script = Script { machine: &args.machine, image: &built.image, text: &text, limit: args.limit()? };
    let finished = guest::run(&script, &mut stdout().lock())?;
    if !finished.prompted {
        eprint!("{}", finished.boot);
        eprintln!("xtask: the guest ended with status {} and never showed a prompt", finished.status);
        return Ok(if finished.status == 0 { 1 } else { finished.status });
    }
    match finished.status {
        guest::TIMED_OUT => eprintln!("xtask: the time is up"),
        guest::PANICKED => eprintln!("xtask: the kernel panicked"),
        _ => {}
    }
    Ok(finished.status)
}

/// The script's lines.
fn script_text(args: &RunArgs) -> Result<String> {
    let path = args.script.as_deref().unwrap_or("-".as_ref());
    let text = match path.to_str() {
        Some("-") => io::read_to_string(io::stdin().take(u64::MAX)),
        _ => fs::read_to_string(path),
    };
    text.with_context(|| format!("cannot read the script {}", path.display()))
}

/// Gives the user's terminal to the guest.
fn interactive(args: &RunArgs, built: &Built) -> Result<u8> {
    let mut qemu = command(args, built, Console::Terminal)?;
    eprintln!("{}", qemu::ESCAPE_HELP);
    let mut child = qemu.spawn().with_context(|| format!("cannot start {}", qemu::PROGRAM))?;
    match args.limit()? {
        Some(limit) => wait(&mut child, Instant::now() + limit),
        None => Ok(guest::exit_status(child.wait()?)),
    }
}

/// Waits until the deadline, then asks QEMU to end, so that it gives the terminal back in order.
fn wait(child: &mut Child, deadline: Instant) -> Result<u8> {
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(guest::exit_status(status));
        }
        thread::sleep(POLL);
    }
    Command::new("kill").arg(child.id().to_string()).status().context("cannot start kill")?;
    child.wait()?;
    Ok(guest::TIMED_OUT)
}

/// QEMU with all its arguments, for a console without a script.
pub fn command(args: &RunArgs, built: &Built, console: Console) -> Result<Command> {
    let tree = tree::find(&args.machine)?;
    let launch = Launch { image: &built.image, tree: tree.as_ref(), script: None, console, gdb: false };
    let mut qemu = Command::new(qemu::PROGRAM);
    qemu.args(qemu::command_line(&args.machine, &launch)?);
    Ok(qemu)
}

/// Prints QEMU's command line, quoted for a shell.
pub fn print_command(args: &RunArgs) -> Result<u8> {
    let qemu = command(args, &build::build(args.build)?, Console::Pipe)?;
    println!("{}", process::spelled(&qemu));
    Ok(0)
}
