//! Bytes from a terminal become keys.
//!
//! A [`KeyReader`] is fed one byte at a time and remembers an escape sequence that is under way, however late its next
//! byte comes. What it knows are the sequences that VT100, xterm, the Linux console and their many followers send.
//! `line.rs` decides what a [`Key`] does.
//!
//! readline does more: key bindings, and a time limit that tells the Escape key from a sequence.

/// What a person pressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// A printable ASCII character.
    Char(u8),
    /// Enter: CR, LF, or CR LF.
    Enter,
    /// Tab.
    Tab,
    /// Backspace, as 0x08 or as 0x7f.
    Backspace,
    /// The key Delete, or ^D.
    Delete,
    /// One character to the left.
    Left,
    /// One character to the right.
    Right,
    /// One word to the left.
    WordLeft,
    /// One word to the right.
    WordRight,
    /// Start of the line.
    Home,
    /// End of the line.
    End,
    /// Earlier line.
    Up,
    /// Later line.
    Down,
    /// Delete up to the end of the line.
    KillToEnd,
    /// Delete the whole line.
    KillLine,
    /// Delete the word before the cursor.
    KillWord,
    /// Delete the word after the cursor.
    KillWordRight,
    /// Show the line on a fresh screen.
    Redraw,
    /// Give the line up.
    Cancel,
    /// A key that has no meaning here.
    Unknown,
    /// A byte that no keyboard sends to a line of ASCII.
    BadByte(u8),
    /// An escape sequence that another byte cut short.
    CutSequence,
}

/// Longest escape sequence that is read as one.
const SEQUENCE_BYTES_MAX: u8 = 16;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Ground,
    /// After ESC.
    Escape,
    /// After ESC O.
    Ss3,
    /// After ESC [: the first number, whether a modifier follows it, and the bytes so far.
    Csi { number: u8, modified: bool, bytes: u8 },
}

/// The state between two bytes.
#[derive(Debug, Default)]
pub struct KeyReader {
    state: State,
    after_cr: bool,
    sequence_seen: bool,
}

impl KeyReader {
    /// The key that `byte` completes.
    ///
    /// A byte that cuts an escape sequence short counts itself, too: then there are two keys, the first of them
    /// [`Key::CutSequence`].
    pub fn feed(&mut self, byte: u8) -> [Option<Key>; 2] {
        let after_cr = core::mem::take(&mut self.after_cr);
        if after_cr && byte == b'\n' {
            return [None, None];
        }
        if self.state == State::Escape && byte == 0x1b {
            return [None, None];
        }
        let in_sequence = self.state != State::Ground;
        if in_sequence && (0x20..0x7f).contains(&byte) || self.state == State::Escape && byte == 0x7f {
            return [self.sequence(byte), None];
        }
        self.state = State::Ground;
        let cut = in_sequence.then_some(Key::CutSequence);
        match (cut, self.ground(byte)) {
            (None, key) => [key, None],
            (cut, key) => [cut, key],
        }
    }

    /// Whether an escape sequence has come in: the line has a terminal at its end.
    pub const fn sequence_seen(&self) -> bool {
        self.sequence_seen
    }

    fn ground(&mut self, byte: u8) -> Option<Key> {
        self.after_cr = byte == b'\r';
        Some(match byte {
            0x1b => {
                self.state = State::Escape;
                return None;
            }
            b' '..=b'~' => Key::Char(byte),
            b'\r' | b'\n' => Key::Enter,
            b'\t' => Key::Tab,
            0x08 | 0x7f => Key::Backspace,
            0x01 => Key::Home,
            0x02 => Key::Left,
            0x03 => Key::Cancel,
            0x04 => Key::Delete,
            0x05 => Key::End,
            0x06 => Key::Right,
            0x0b => Key::KillToEnd,
            0x0c => Key::Redraw,
            0x0e => Key::Down,
            0x10 => Key::Up,
            0x15 => Key::KillLine,
            0x17 => Key::KillWord,
            0x00 | 0x80.. => Key::BadByte(byte),
            _ => Key::Unknown,
        })
    }

    /// Takes one printable byte (or DEL after ESC) into the sequence under way.
    fn sequence(&mut self, byte: u8) -> Option<Key> {
        let (next, key) = match (self.state, byte) {
            (State::Escape, b'[') => (State::Csi { number: 0, modified: false, bytes: 0 }, None),
            (State::Escape, b'O') => (State::Ss3, None),
            (State::Escape, _) => (State::Ground, Some(alt_key(byte))),
            (State::Csi { bytes: SEQUENCE_BYTES_MAX, .. }, _) => (State::Ground, Some(Key::CutSequence)),
            (State::Csi { number, modified: false, bytes }, b'0'..=b'9') => {
                let number = number.saturating_mul(10).saturating_add(byte - b'0');
                (State::Csi { number, modified: false, bytes: bytes + 1 }, None)
            }
            (State::Csi { number, modified, bytes }, 0x20..=0x3f) => {
                (State::Csi { number, modified: modified || byte == b';', bytes: bytes + 1 }, None)
            }
            (State::Csi { number, modified, .. }, _) => (State::Ground, Some(csi_key(number, modified, byte))),
            (State::Ss3 | State::Ground, _) => (State::Ground, Some(csi_key(0, false, byte))),
        };
        self.state = next;
        self.sequence_seen |= key.is_some_and(|key| key != Key::CutSequence);
        key
    }
}

/// The key behind ESC and one byte: Alt and that key.
fn alt_key(byte: u8) -> Key {
    match byte {
        b'b' | b'B' => Key::WordLeft,
        b'f' | b'F' => Key::WordRight,
        b'd' | b'D' => Key::KillWordRight,
        0x7f => Key::KillWord,
        _ => Key::Unknown,
    }
}

/// The key behind ESC [ (or ESC O), a number and a final byte; `modified` by Shift, Alt or Ctrl.
fn csi_key(number: u8, modified: bool, last: u8) -> Key {
    match (number, last) {
        (_, b'A') => Key::Up,
        (_, b'B') => Key::Down,
        (_, b'C') if modified => Key::WordRight,
        (_, b'D') if modified => Key::WordLeft,
        (_, b'C') => Key::Right,
        (_, b'D') => Key::Left,
        (_, b'H') | (1 | 7, b'~') => Key::Home,
        (_, b'F') | (4 | 8, b'~') => Key::End,
        (3, b'~') => Key::Delete,
        _ => Key::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let mut reader = KeyReader::default();
        let keys: String =
            bytes.iter().flat_map(|&b| reader.feed(b)).flatten().map(|key| format!("{key:?} ")).collect();
        assert_eq!(keys.trim_end(), expected);
    }

    #[test]
    fn every_way_to_press_enter_is_one_line() {
        check(b"\r", "Enter");
        check(b"\n", "Enter");
        check(b"\r\n", "Enter");
        check(b"\r\n\r\n", "Enter Enter");
        check(b"\r\r", "Enter Enter");
        check(b"\n\n", "Enter Enter");
        check(b"\ra\n", "Enter Char(97) Enter");
    }

    #[test]
    fn sequences_of_many_terminals() {
        check(b"\x1b[A\x1bOB\x1b[C\x1b[D", "Up Down Right Left");
        check(b"\x1b[H\x1b[1~\x1b[7~\x1bOH", "Home Home Home Home");
        check(b"\x1b[F\x1b[4~\x1b[8~\x1bOF", "End End End End");
        check(b"\x1b[3~\x1b[1;5C\x1b[1;3D", "Delete WordRight WordLeft");
        check(b"\x1bb\x1bf\x1bd\x1b\x7f", "WordLeft WordRight KillWordRight KillWord");
        check(b"\x1b[15~\x1b[200~\x1bx", "Unknown Unknown Unknown");
    }

    #[test]
    fn a_cut_sequence_does_not_swallow_what_follows() {
        check(b"\x1b[\ra", "CutSequence Enter Char(97)");
        check(b"\x1b\x03", "CutSequence Cancel");
        check(b"\x1b[1\x1b[A", "CutSequence Up");
        check(b"\x1b\x1b[A", "Up");
        check(b"\x1b[11111111111111111a", "CutSequence Char(97)");
        check(b"\x1b[\x80", "CutSequence BadByte(128)");
    }

    #[test]
    fn only_a_whole_sequence_shows_a_terminal() {
        let mut reader = KeyReader::default();
        let _ = b"abc\x01\x1b[".map(|b| reader.feed(b));
        assert!(!reader.sequence_seen());
        reader.feed(b'A');
        assert!(reader.sequence_seen());
    }
}
