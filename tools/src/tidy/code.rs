//! Rules about Rust code: sizes, unsafe code, what the kernel must not have.

use proc_macro2::{Delimiter, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, ImplItemFn, ItemFn, MetaList, Signature, TraitItemFn};

use super::source::{Source, line_of};

/// A file has at most so many lines that are not tests.
const MAX_FILE_LINES: usize = 500;
/// A function has at most so many lines, from its signature to its last brace; assembly is not counted.
const MAX_FUNCTION_LINES: usize = 70;
/// Where unsafe code may stand.
const UNSAFE_PLACES: [&str; 2] = ["kernel/src/sync.rs", "boot/"];
/// The files that must have neither statics nor heap.
const KERNEL: &str = "kernel/src/";
/// Macros that say that something is not done.
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];
/// Lints that must not be silenced.
const LOUD: [&str; 7] =
    ["dead_code", "unused", "unused_variables", "unused_imports", "unused_mut", "unused_must_use", "warnings"];

pub fn file_length(source: &Source) -> Vec<(usize, String)> {
    let lines = source.lines_without_tests();
    let long = source.path.ends_with(".rs") && lines > MAX_FILE_LINES;
    long.then(|| (MAX_FILE_LINES, format!("{lines} lines"))).into_iter().collect()
}

pub fn function_length(source: &Source) -> Vec<(usize, String)> {
    let mut functions = Functions::default();
    source.file().inspect(|file| functions.visit_file(file));
    functions.0.retain(|(line, _)| !source.is_test(*line));
    functions.0
}

/// Collects functions that are too long.
#[derive(Default)]
struct Functions(Vec<(usize, String)>);

impl Functions {
    fn look(&mut self, signature: &Signature, body: &Block) {
        let first = signature.span().start().line;
        let lines = body.span().end().line + 1 - first;
        if lines > MAX_FUNCTION_LINES {
            self.0.push((first, format!("{} has {lines} lines", signature.ident)));
        }
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if !function.attrs.iter().any(is_naked) {
            self.look(&function.sig, &function.block);
        }
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.look(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.look(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// Whether an attribute says that the function is assembly, whose lines are instructions.
fn is_naked(attribute: &Attribute) -> bool {
    let unsafe_naked = |list: &MetaList| list.path.is_ident("unsafe") && list.tokens.to_string() == "naked";
    attribute.path().is_ident("naked") || attribute.meta.require_list().is_ok_and(unsafe_naked)
}

/// Whether a token is one of these words.
fn is_word(token: Option<&TokenTree>, words: &[&str]) -> bool {
    matches!(token, Some(TokenTree::Ident(word)) if words.iter().any(|expected| word == expected))
}

fn is_punct(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

fn is_group(token: Option<&TokenTree>, delimiter: Delimiter) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == delimiter)
}

/// Lines where `found` accepts the token at an index of `tokens`.
fn places(tokens: &[TokenTree], found: impl Fn(usize) -> bool) -> Vec<(usize, String)> {
    (0..tokens.len()).filter(|at| found(*at)).map(|at| (line_of(&tokens[at]), format!("'{}'", tokens[at]))).collect()
}

pub fn unfinished(source: &Source) -> Vec<(usize, String)> {
    let tokens = source.tokens();
    let mut found = places(&tokens, |at| is_word(tokens.get(at), &UNFINISHED) && is_punct(tokens.get(at + 1), '!'));
    found.extend((1..).zip(source.text.lines()).filter_map(|(line, text)| Some((line, silenced(text)?))));
    if source.file().is_some() { found } else { Vec::new() }
}

/// An attribute that hides a test or a warning; tests are no exception.
fn silenced(text: &str) -> Option<String> {
    let text = text.trim_start();
    let attribute = text.strip_prefix("#[").or_else(|| text.strip_prefix("#!["))?;
    let mut words = attribute.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    match words.next()? {
        "ignore" => Some("'ignore'".to_owned()),
        "allow" | "expect" => words.find(|word| LOUD.contains(word)).map(|word| format!("'{word}' is silenced")),
        _ => None,
    }
}

pub fn unsafe_place(source: &Source) -> Vec<(usize, String)> {
    if UNSAFE_PLACES.iter().any(|place| source.path.starts_with(place)) {
        return Vec::new();
    }
    let tokens = source.tokens();
    places(&tokens, |at| is_word(tokens.get(at), &["unsafe"]))
}

pub fn safety(source: &Source) -> Vec<(usize, String)> {
    let tokens = source.tokens();
    let lines: Vec<&str> = source.text.lines().collect();
    let mut found = places(&tokens, |at| {
        let next = tokens.get(at + 1);
        let code = is_group(next, Delimiter::Brace) || is_word(next, &["impl"]);
        is_word(tokens.get(at), &["unsafe"]) && code
    });
    found.retain(|(line, _)| !is_justified(&lines, *line));
    found
}

/// Whether a SAFETY comment stands directly before line `at` (from 1), or before the statement that contains it.
fn is_justified(lines: &[&str], at: usize) -> bool {
    let is_comment = |line: &&str| line.starts_with("//");
    let is_attribute = |line: &&str| line.starts_with("#[");
    let goes_on = |line: &&str| !is_comment(line) && !is_attribute(line) && !line.ends_with([';', '}', '{']);
    let above = lines[..at - 1].iter().rev().map(|line| line.trim());
    let mut comments =
        above.skip_while(|line| !line.is_empty() && goes_on(line)).skip_while(is_attribute).take_while(is_comment);
    lines[at - 1].contains("// SAFETY: ") || comments.any(|line| line.starts_with("// SAFETY: "))
}

pub fn statics(source: &Source) -> Vec<(usize, String)> {
    if !source.path.starts_with(KERNEL) {
        return Vec::new();
    }
    let tokens = source.tokens();
    let is_lifetime = |at: usize| at > 0 && is_punct(tokens.get(at - 1), '\'');
    let static_or_local = |at| is_word(tokens.get(at), &["static", "thread_local"]);
    places(&tokens, |at| static_or_local(at) && !is_lifetime(at))
}

/// Other atomics would hide from the tests that explore schedules.
pub fn atomics(source: &Source) -> Vec<(usize, String)> {
    let is_sync = ["sync.rs", "sync/"].iter().any(|name| source.path.starts_with(&format!("{KERNEL}{name}")));
    if !source.path.starts_with(KERNEL) || is_sync {
        return Vec::new();
    }
    let tokens = source.tokens();
    let path = |at: usize| (0..2).all(|mark| is_punct(tokens.get(at + mark), ':'));
    places(&tokens, |at| {
        let is_foreign = is_word(tokens.get(at), &["core", "std"]) && path(at + 1);
        is_foreign && is_word(tokens.get(at + 3), &["sync"]) && path(at + 4) && is_word(tokens.get(at + 6), &["atomic"])
    })
}

pub fn heap(source: &Source) -> Vec<(usize, String)> {
    if !source.path.starts_with(KERNEL) {
        return Vec::new();
    }
    let tokens = source.tokens();
    let inner = |at: usize| at > 0 && [':', '.'].iter().any(|mark| is_punct(tokens.get(at - 1), *mark));
    places(&tokens, |at| {
        let names_it = is_word(tokens.get(at), &["alloc", "std"]);
        let crate_item = at > 0 && is_word(tokens.get(at - 1), &["crate"]);
        let starts_path = !inner(at) && is_punct(tokens.get(at + 1), ':') && is_punct(tokens.get(at + 2), ':');
        names_it && (crate_item || starts_path)
    })
}
