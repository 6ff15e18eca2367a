//! Rules about text: any file, line by line.

use super::source::Source;

/// A file of more bytes is data, and belongs elsewhere.
const MAX_BYTES: usize = 256 << 10;
/// Words that promise work to come.
const LEFTOVERS: [&str; 5] = ["TODO", "FIXME", "XXX", "HACK", "WIP"];
/// Where people's files lie; written in two halves, so that this file does not break its own rule.
const MACHINE_PATHS: [&str; 5] =
    [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/"), concat!("/wo", "rk/"), concat!("/t", "mp/")];
/// Parts of host names of registries and archives.
const HOSTS: [&str; 8] = [
    concat!("crates", ".io"),
    concat!("static.rust", "-lang.org"),
    concat!("deb.deb", "ian.org"),
    concat!("ftp.deb", "ian.org"),
    concat!("snapshot.deb", "ian.org"),
    concat!("security.deb", "ian.org"),
    concat!("archive.ubu", "ntu.com"),
    concat!("ports.ubu", "ntu.com"),
];
/// Files that cargo writes, in which it names its registry.
const GENERATED: &str = "Cargo.lock";

/// Lines of `source` for which `what` has something to say.
fn lines(source: &Source, what: impl Fn(&str) -> Option<String>) -> Vec<(usize, String)> {
    (1..).zip(source.text.lines()).filter_map(|(line, text)| Some((line, what(text)?))).collect()
}

/// The first of `parts` in a line.
fn part_of(text: &str, parts: &[&str]) -> Option<String> {
    parts.iter().find(|part| text.contains(**part)).map(|part| format!("'{part}'"))
}

pub fn header(source: &Source) -> Vec<(usize, String)> {
    let first = source.text.lines().find(|line| !line.starts_with("#!["));
    let missing = source.path.ends_with(".rs") && !first.is_some_and(|line| line.starts_with("//! "));
    missing.then(|| (1, "no header".to_owned())).into_iter().collect()
}

pub fn ascii(source: &Source) -> Vec<(usize, String)> {
    if source.path.ends_with(".md") {
        return Vec::new();
    }
    lines(source, |text| text.chars().find(|c| !c.is_ascii()).map(|c| format!("'{c}'")))
}

pub fn leftovers(source: &Source) -> Vec<(usize, String)> {
    let names_them = source.path.ends_with("tidy/text.rs") || source.path.ends_with("tidy/tests.rs");
    let word = |text: &str| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.find(|word| LEFTOVERS.contains(word)).map(|word| format!("'{word}'"))
    };
    if names_them { Vec::new() } else { lines(source, word) }
}

pub fn machine_paths(source: &Source) -> Vec<(usize, String)> {
    lines(source, |text| part_of(text, &MACHINE_PATHS))
}

pub fn hosts(source: &Source) -> Vec<(usize, String)> {
    if source.path == GENERATED { Vec::new() } else { lines(source, |text| part_of(text, &HOSTS)) }
}

pub fn bytes(source: &Source) -> Vec<(usize, String)> {
    (source.bytes > MAX_BYTES).then(|| (1, format!("{} bytes", source.bytes))).into_iter().collect()
}

pub fn spaces(source: &Source) -> Vec<(usize, String)> {
    if source.path.ends_with(".txt") || source.path == GENERATED {
        return Vec::new();
    }
    let mut found = lines(source, |text| text.ends_with([' ', '\t', '\r']).then(|| "space at the end".to_owned()));
    if !source.text.is_empty() && (!source.text.ends_with('\n') || source.text.ends_with("\n\n")) {
        found.push((source.text.lines().count(), "not one line end".to_owned()));
    }
    found
}
