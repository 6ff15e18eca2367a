//! A conversation with a guest over pipes: for what a script cannot say and a person would not type.
//!
//! Neighbours: `guest` runs scripts, `tools/expect` types as people do.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::guest;

/// How much of the console an error shows.
const TAIL_BYTES: usize = 3000;

/// A guest that runs; it ends with this value.
pub struct Dialogue {
    child: Child,
    input: ChildStdin,
    chunks: Receiver<Vec<u8>>,
    /// What the guest said and nobody asked for yet, without CRs.
    heard: Vec<u8>,
}

impl Dialogue {
    /// Starts QEMU, whose console is its standard input and output.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(qemu: &mut Command) -> Result<Dialogue> {
        let mut child =
            qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("cannot start QEMU for a dialogue")?;
        let input = child.stdin.take().context("QEMU's input is not a pipe")?;
        let chunks = guest::reader(child.stdout.take().context("QEMU's output is not a pipe")?);
        Ok(Dialogue { child, input, chunks, heard: Vec::new() })
    }

    /// Says something. Returns when QEMU has taken it, not when the guest has.
    ///
    /// # Errors
    /// When QEMU is gone.
    pub fn say(&mut self, bytes: &[u8]) -> Result<()> {
        self.input.write_all(bytes).and_then(|()| self.input.flush()).context("QEMU does not listen any more")
    }

    /// Waits for `text` and returns what came before it; what comes behind it is left for the next call.
    ///
    /// # Errors
    /// When the time is up, or the guest ends, before the text.
    pub fn want(&mut self, text: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        // Where the text may start: nothing is searched twice.
        let mut from = 0;
        loop {
            if let Some(at) = find(&self.heard[from..], text.as_bytes()) {
                let mut before: Vec<u8> = self.heard.drain(..from + at + text.len()).collect();
                before.truncate(from + at);
                return Ok(String::from_utf8_lossy(&before).into_owned());
            }
            from = (self.heard.len() + 1).saturating_sub(text.len());
            if let Err(error) = self.listen(deadline) {
                bail!("{error} before {text:?}; last heard:\n{}", self.tail());
            }
        }
    }

    /// Waits until the guest has ended; its status, and what it said last.
    ///
    /// # Errors
    /// When the time is up first.
    pub fn end(mut self, limit: Duration) -> Result<(u8, String)> {
        let deadline = Instant::now() + limit;
        loop {
            match self.listen(deadline) {
                Ok(()) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => bail!("the guest does not end; last heard:\n{}", self.tail()),
            }
        }
        let status = guest::exit_status(self.child.wait()?);
        Ok((status, String::from_utf8_lossy(&self.heard).into_owned()))
    }

    fn listen(&mut self, deadline: Instant) -> Result<(), RecvTimeoutError> {
        let chunk = self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
        self.heard.extend(chunk.into_iter().filter(|byte| *byte != b'\r'));
        Ok(())
    }

    fn tail(&self) -> String {
        String::from_utf8_lossy(&self.heard[self.heard.len().saturating_sub(TAIL_BYTES)..]).into_owned()
    }
}

impl Drop for Dialogue {
    fn drop(&mut self) {
        // Both fail only when the guest has ended, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A talkative program in the place of QEMU.
    fn shell(script: &str) -> Dialogue {
        Dialogue::start(Command::new("sh").args(["-c", script])).unwrap()
    }

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn what_is_said_is_answered_in_order() {
        let mut dialogue = shell("read line; printf 'you said %s\\r\\nbye\\r\\n' $line; exit 7");
        dialogue.say(b"hello\n").unwrap();
        assert_eq!(dialogue.want("hello\n", SOON).unwrap(), "you said ");
        assert_eq!(dialogue.end(SOON).unwrap(), (7, "bye\n".to_owned()));
    }

    #[test]
    fn silence_and_an_early_end_are_errors() {
        let error = shell("echo never mind").want("hello", SOON).unwrap_err().to_string();
        assert!(error.contains("before \"hello\"") && error.contains("never mind"), "{error}");
        assert!(shell("sleep 20").want("hello", Duration::from_millis(50)).is_err());
        assert!(shell("sleep 20").end(Duration::from_millis(50)).is_err());
    }
}
