//! What a script sees of a console: the text from the first prompt on, with plain line ends.
//!
//! [`FromPrompt`] takes the bytes as they come from the guest, cut anywhere, and separates what the machine said while
//! it booted from what the shell says.

/// What the shell prints before it reads a line, at the start of a line; nothing else prints it.
pub const PROMPT: &str = "slowpath> ";

/// Cuts a console's text at the first prompt.
#[derive(Default)]
pub struct FromPrompt {
    /// Text before the first prompt.
    boot: Vec<u8>,
    /// The prompt has come.
    reached: bool,
    /// The last byte was a CR, whose fate the next byte decides.
    cr: bool,
}

impl FromPrompt {
    /// Takes the next bytes of the console and returns the text that they add after the first prompt.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = self.plain(bytes);
        if self.reached {
            return text;
        }
        self.boot.append(&mut text);
        match prompt_at(&self.boot) {
            Some(at) => {
                self.reached = true;
                self.boot.split_off(at)
            }
            None => Vec::new(),
        }
    }

    /// Whether the first prompt has come.
    pub fn reached(&self) -> bool {
        self.reached
    }

    /// What came before the first prompt.
    pub fn boot(&self) -> String {
        String::from_utf8_lossy(&self.boot).into_owned()
    }

    /// Turns CR LF, and CR CR LF, into LF.
    fn plain(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if self.cr && byte != b'\n' && byte != b'\r' {
                text.push(b'\r');
            }
            self.cr = byte == b'\r';
            if !self.cr {
                text.push(byte);
            }
        }
        text
    }
}

/// Where the first prompt starts.
fn prompt_at(text: &[u8]) -> Option<usize> {
    let starts_line = |at: usize| at == 0 || text[at - 1] == b'\n';
    (0..text.len()).find(|&at| text[at..].starts_with(PROMPT.as_bytes()) && starts_line(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `console` in pieces of every size; the text after the prompt must not depend on it.
    fn check(console: &str, boot: &str, text: &str) {
        for piece in 1..=console.len() {
            let mut filter = FromPrompt::default();
            let got: Vec<u8> = console.as_bytes().chunks(piece).flat_map(|bytes| filter.feed(bytes)).collect();
            assert_eq!((filter.boot().as_str(), str::from_utf8(&got).unwrap()), (boot, text), "pieces of {piece}");
            assert_eq!(filter.reached(), !text.is_empty());
        }
    }

    #[test]
    fn the_text_starts_at_the_first_prompt() {
        check("[0.0] up\r\nslowpath> ls\r\nx\r\nslowpath> ", "[0.0] up\n", "slowpath> ls\nx\nslowpath> ");
        check("slowpath> ", "", "slowpath> ");
    }

    #[test]
    fn a_prompt_starts_a_line() {
        check("say slowpath> \nslowpath> go\n", "say slowpath> \n", "slowpath> go\n");
        check("never slowpath>\n", "never slowpath>\n", "");
    }

    #[test]
    fn a_lone_cr_stays() {
        check("slowpath> 1\r2\r\r\n3\n", "", "slowpath> 1\r2\n3\n");
    }
}
