//! Runs another program and keeps what it said.

use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// Runs a program to its end; its output is in the error if it fails, else in the result.
///
/// # Errors
/// When it cannot be started, or ends with a status that is not 0.
pub fn capture(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = output(command)?;
    let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
    if !status.success() {
        bail!("{} ended with {status}:\n{}", spelled(command), text.trim_end());
    }
    Ok(text)
}

/// Runs a program to its end, however it ends.
///
/// # Errors
/// When it cannot be started.
pub fn output(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))
}

/// Runs a program that speaks to the user.
///
/// # Errors
/// When it cannot be started, or ends with a status that is not 0.
pub fn show(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", spelled(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", spelled(command));
    }
    Ok(())
}

/// A command as a person would type it.
pub fn spelled(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args()).map(|word| word.to_string_lossy());
    let words: Vec<_> = words.collect();
    shlex::try_join(words.iter().map(AsRef::as_ref)).unwrap_or_else(|_| words.join(" "))
}
