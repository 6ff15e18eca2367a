//! JSON as the tables need it: one object a line.
//!
//! Key types: [`Object`], which writes its fields as they come, and [`Quoted`], a text from outside. Words of our own tables
//! need no escaping.

use core::fmt::{self, Write as _};

/// A text as a JSON string, with its quotes. What is neither printable ASCII nor the end of a line becomes `?`.
pub struct Quoted<T>(pub T);

impl<T: fmt::Display> fmt::Display for Quoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        write!(InString(f), "{}", self.0)?;
        f.write_char('"')
    }
}

/// The inside of a JSON string.
struct InString<'f, 'b>(&'f mut fmt::Formatter<'b>);

impl fmt::Write for InString<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(self.0, "\\{c}"),
            '\n' => self.0.write_str("\\n"),
            ' '..='~' => self.0.write_char(c),
            _ => self.0.write_char('?'),
        })
    }
}

/// An object that is being written; [`Object::end`] closes it and its line.
pub struct Object<'o> {
    out: &'o mut dyn fmt::Write,
    separator: &'static str,
}

impl<'o> Object<'o> {
    /// Opens an object on a new line of `out`.
    pub fn new(out: &'o mut dyn fmt::Write) -> Object<'o> {
        Object { out, separator: "{" }
    }

    /// Writes a field with a number or a boolean.
    pub fn field(&mut self, name: &str, value: impl fmt::Display) -> Result<&mut Object<'o>, fmt::Error> {
        write!(self.out, "{}\"{name}\":{value}", self.separator)?;
        self.separator = ",";
        Ok(self)
    }

    /// Writes a field with a text from outside.
    pub fn text(&mut self, name: &str, value: &str) -> Result<&mut Object<'o>, fmt::Error> {
        self.field(name, Quoted(value))
    }

    /// Writes a field with a word.
    pub fn word(&mut self, name: &str, value: impl fmt::Display) -> Result<&mut Object<'o>, fmt::Error> {
        self.field(name, format_args!("\"{value}\""))
    }

    /// Writes a field with an array of numbers.
    pub fn array<T: fmt::Display>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = T>,
    ) -> Result<&mut Object<'o>, fmt::Error> {
        self.field(name, "[")?;
        let mut separator = "";
        for value in values {
            write!(self.out, "{separator}{value}")?;
            separator = ",";
        }
        self.out.write_str("]")?;
        Ok(self)
    }

    /// Closes the object and ends the line.
    pub fn end(&mut self) -> fmt::Result {
        let open = if self.separator == "{" { "{" } else { "" };
        writeln!(self.out, "{open}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_escaped() {
        assert_eq!(Quoted("a \"b\" \\ \u{e9}\n").to_string(), r#""a \"b\" \\ ?\n""#);
    }

    #[test]
    fn an_object_is_a_line() {
        let mut text = String::new();
        let mut row = Object::new(&mut text);
        row.field("node", 0).unwrap().word("zone", "DMA32").unwrap();
        row.array("nr_free", [1, 0, 3])
            .unwrap()
            .array("none", [0; 0])
            .unwrap()
            .field("low", true)
            .unwrap()
            .end()
            .unwrap();
        Object::new(&mut text).end().unwrap();
        assert_eq!(text, "{\"node\":0,\"zone\":\"DMA32\",\"nr_free\":[1,0,3],\"none\":[],\"low\":true}\n{}\n");
    }
}
