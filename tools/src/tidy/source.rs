//! Reads the files that the rules look at.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::{Attribute, Item, ItemMod};

/// Directories that are not ours.
const FOREIGN: [&str; 2] = [".git", "target"];

/// One file.
pub struct Source {
    /// Path from the root of the repository, with slashes.
    pub path: String,
    /// The whole text; empty for data, which has bytes that are no text.
    pub text: String,
    /// How many bytes the file has.
    pub bytes: usize,
    /// How it parses, for Rust files.
    parsed: Option<syn::Result<syn::File>>,
    /// Lines (from 1) of test modules.
    tests: Vec<Range<usize>>,
}

impl Source {
    /// A file of this path and text.
    pub fn new(path: &str, text: &str) -> Source {
        let parsed = path.ends_with(".rs").then(|| syn::parse_file(text));
        let mut tests = Vec::new();
        if let Some(Ok(file)) = &parsed {
            test_modules(&file.items, &mut tests);
        }
        if is_test_file(path) {
            tests.push(0..usize::MAX);
        }
        Source { path: path.to_owned(), text: text.to_owned(), bytes: text.len(), parsed, tests }
    }

    /// The syntax tree of a Rust file.
    pub fn file(&self) -> Option<&syn::File> {
        self.parsed.as_ref()?.as_ref().ok()
    }

    /// Why a Rust file has no syntax tree.
    pub fn error(&self) -> Option<String> {
        self.parsed.as_ref()?.as_ref().err().map(ToString::to_string)
    }

    /// Whether a line (from 1) is test code.
    pub fn is_test(&self, line: usize) -> bool {
        self.tests.iter().any(|tests| tests.contains(&line))
    }

    /// The lines that are not tests.
    pub fn lines_without_tests(&self) -> usize {
        (1..=self.text.lines().count()).filter(|line| !self.is_test(*line)).count()
    }

    /// Every token, with those inside macros, that is not test code; groups come before what they hold.
    pub fn tokens(&self) -> Vec<TokenTree> {
        let mut tokens = Vec::new();
        if self.file().is_some() {
            flatten(self.text.parse().unwrap_or_default(), &mut tokens);
        }
        tokens.retain(|token| !self.is_test(line_of(token)));
        tokens
    }
}

/// The line on which a token starts.
pub fn line_of(token: &TokenTree) -> usize {
    token.span().start().line
}

/// Whether a path says that all of the file is test code, or what only tests and host programs use.
fn is_test_file(path: &str) -> bool {
    ["tests.rs", "/testing.rs", "kernel/src/host.rs"].iter().any(|end| path.ends_with(end))
        || ["/tests/", "/testing/", "kernel/src/host/"].iter().any(|inside| path.contains(inside))
}

/// Lists a stream's tokens in order.
fn flatten(stream: TokenStream, tokens: &mut Vec<TokenTree>) {
    for token in stream {
        tokens.push(token.clone());
        if let TokenTree::Group(group) = token {
            flatten(group.stream(), tokens);
        }
    }
}

/// Collects the lines of modules under `cfg(test)`.
fn test_modules(items: &[Item], lines: &mut Vec<Range<usize>>) {
    for module in items.iter().filter_map(as_module) {
        if module.attrs.iter().any(is_cfg_test) {
            let first = module.attrs.first().map_or(module.span(), Spanned::span).start().line;
            lines.push(first..module.span().end().line + 1);
        } else if let Some((_, items)) = &module.content {
            test_modules(items, lines);
        }
    }
}

fn as_module(item: &Item) -> Option<&ItemMod> {
    match item {
        Item::Mod(module) => Some(module),
        _ => None,
    }
}

/// `#[cfg(test)]`, or `cfg` of a combination that has the word `test`.
fn is_cfg_test(attribute: &Attribute) -> bool {
    let has_test = |tokens: TokenStream| {
        let mut all = Vec::new();
        flatten(tokens, &mut all);
        all.iter().any(|token| matches!(token, TokenTree::Ident(word) if word == "test"))
    };
    attribute.path().is_ident("cfg") && attribute.meta.require_list().is_ok_and(|list| has_test(list.tokens.clone()))
}

/// Reads every file under `root` that is ours.
pub fn load(root: &Path) -> Result<Vec<Source>> {
    let mut paths = Vec::new();
    walk(root, &mut paths)?;
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
        let text = if bytes.contains(&0) { "".into() } else { String::from_utf8_lossy(&bytes) };
        sources.push(Source { bytes: bytes.len(), ..Source::new(&name, &text) });
    }
    Ok(sources)
}

/// Collects the files under a directory.
fn walk(dir: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        if FOREIGN.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), paths)?;
        } else {
            paths.push(entry.path());
        }
    }
    Ok(())
}
