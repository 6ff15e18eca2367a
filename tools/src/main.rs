//! `cargo xtask`: builds the image, runs it, tests it, and sets up machines on which that is possible.
//!
//! One enum of commands; each has a file of its own name. The rest are their parts: `qemu` alone knows QEMU's command
//! line, `guest` runs a script in it, `image` makes `kernel8.img`, `transcript` reads and compares sessions.

#![forbid(unsafe_code)]

mod apt;
mod build;
mod check;
mod console;
mod corpus;
mod debug;
mod dialogue;
mod diff;
mod expect;
mod extra;
mod flash;
mod floors;
mod guest;
mod hard;
mod host;
mod image;
mod needs;
mod parallel;
mod process;
mod qemu;
mod readers;
mod run;
mod schedules;
mod sdcard;
mod seeds;
mod setup;
mod size;
mod suite;
mod system;
mod tally;
mod tidy;
mod transcript;
mod tree;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// slowpath: build, run and test the image.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing on this machine
    Setup(setup::SetupArgs),
    /// Say what is there and what is missing
    Doctor,
    /// Build target/slowpath/kernel8.img
    Build(build::BuildArgs),
    /// Run the image: a console, or a script
    ///
    /// Exit status of a script: that of `poweroff N` in it, else 0 if every command ended 0, else 1; 124 when the time
    /// is up, 125 if the kernel panicked, 126 if the machine could not be started.
    Run(run::RunArgs),
    /// Print the command by which `run` would start QEMU
    #[command(name = "qemu-command")]
    Qemu(run::RunArgs),
    /// Replay the transcripts of tools/transcripts
    Transcripts(corpus::CorpusArgs),
    /// Type each reserve floor of a real Linux at the prompt
    Floors(corpus::PlaceArgs),
    /// Run the expect scripts of tools/expect
    Expect(expect::ExpectArgs),
    /// Start machines that are broken, and hurt those that are not
    HardStarts(hard::HardArgs),
    /// Let the programs that read Linux's tables read ours
    Readers,
    /// Type what shell/docs/seeds.md says for each point of the study notes
    Seeds(corpus::PlaceArgs),
    /// Prove everything: unit tests, transcripts, expect scripts, costs
    Test(suite::SuiteArgs),
    /// Check formatting, lints, the rules of the house and the documentation
    Check,
    /// Start stopped, with gdb attached
    Debug(debug::DebugArgs),
    /// Count the instructions of the allocator's paths on virt
    Bench,
    /// Run the kernel crate's tests under Miri
    Miri,
    /// Run the kernel crate's model test for millions of operations
    Model(extra::Campaign),
    /// Run the kernel crate's stress test for millions of operations
    Stress(extra::Campaign),
    /// Run the kernel crate's test of the whole allocation family for millions of operations
    Family(extra::Campaign),
    /// Let people work on all CPUs of many machines at the same time
    Parallel(parallel::ParallelArgs),
    /// Run the kernel crate's threads in a million schedules
    Shuttle(schedules::Exploration),
    /// Explore the drain of per-CPU lists in every order that the memory model allows
    Loom,
    /// Make what a Raspberry Pi 4 boots from: a folder, and an image of an SD card
    #[command(name = "sdcard")]
    SdCard(sdcard::SdCardArgs),
    /// Write that image to an SD card
    Flash(flash::FlashArgs),
    /// Fetch the device trees of real boards into a directory, for the tests that read them
    BoardTrees(extra::Directory),
    /// Look for what breaks the rules of the house
    Tidy,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(guest::NOT_STARTED)
        }
    }
}

/// Runs one command and returns the exit status.
fn dispatch(command: Command) -> Result<u8> {
    match command {
        Command::Setup(args) => setup::run(args),
        Command::Doctor => setup::doctor(),
        Command::Build(args) => build::print(args),
        Command::Run(args) => run::run(&args),
        Command::Qemu(args) => run::print_command(&args),
        Command::Transcripts(args) => corpus::run(&args),
        Command::Floors(args) => floors::run(&args),
        Command::Expect(args) => expect::run(&args),
        Command::HardStarts(args) => hard::run(&args),
        Command::Readers => readers::run(),
        Command::Seeds(args) => seeds::run(&args),
        Command::Test(args) => suite::run(&args),
        Command::Check => check::run(),
        Command::Debug(args) => debug::run(&args),
        Command::Bench => extra::bench(),
        Command::Miri => extra::miri(),
        Command::Model(args) => extra::model(&args),
        Command::Stress(args) => extra::stress(&args),
        Command::Family(args) => extra::family(&args),
        Command::Parallel(args) => parallel::run(&args),
        Command::Shuttle(args) => schedules::run(&args),
        Command::Loom => schedules::run_loom(),
        Command::SdCard(args) => sdcard::run(&args),
        Command::Flash(args) => flash::run(&args),
        Command::BoardTrees(args) => extra::board_trees(&args),
        Command::Tidy => tidy::run(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_contradict_nothing() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_target_of_the_makefile_calls_a_command() {
        let makefile = include_str!("../../Makefile");
        let calls = makefile.lines().filter_map(|line| line.strip_prefix("\t@$(XTASK) "));
        let words: Vec<&str> = calls.filter_map(|call| call.split_whitespace().next()).collect();
        assert!(words.len() >= 9, "{words:?}");
        for word in words {
            assert!(Cli::command().find_subcommand(word).is_some(), "no command {word}");
        }
    }
}
