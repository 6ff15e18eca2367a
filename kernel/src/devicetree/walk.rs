//! A checked copy as [`Node`]s, found by one linear [`Walk`].
//!
//! A walk knows the way from the root down to its node (its [`Lineage`]), which the `fdt` crate's nodes do not, and
//! which `ranges` and `interrupt-parent` need. Nothing here panics: over a checked copy nothing ends early, and over
//! anything else a walk just ends.
//!
//! Linux does more: it unflattens the blob into a tree of structs.

use core::iter;

use super::DeviceTree;
use super::cells::{text, word};
use super::structure::{Blocks, Token};

/// A node of a checked copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    blocks: Blocks<'a>,
    name: &'a [u8],
    /// Where its first property, child or end stands.
    body: usize,
}

impl<'a> Node<'a> {
    /// The root of a checked copy.
    pub(super) fn root(blocks: Blocks<'a>) -> Option<Node<'a>> {
        Node::at(blocks, 0)
    }

    /// The node that begins at byte `at`.
    fn at(blocks: Blocks<'a>, at: usize) -> Option<Node<'a>> {
        match blocks.token(at)? {
            (Token::BeginNode(name), body) => Some(Node { blocks, name, body }),
            _ => None,
        }
    }

    /// The name with its unit address, as in `memory@40000000`.
    pub(super) fn name(self) -> &'a str {
        core::str::from_utf8(self.name).unwrap_or("")
    }

    /// The value of the first property of this name.
    pub(super) fn property(self, name: &str) -> Option<&'a [u8]> {
        let mut at = self.body;
        while let Some((Token::Property(property), next)) = self.blocks.token(at) {
            if self.blocks.is_named(property, name.as_bytes()) {
                return Some(property.value);
            }
            at = next;
        }
        None
    }

    /// The children in the blob's order.
    pub(super) fn children(self) -> impl Iterator<Item = Node<'a>> {
        let mut below = Walk { at: self.body, ..Walk::new(self.blocks) };
        iter::from_fn(move || {
            loop {
                let node = below.next()?;
                if below.lineage.len == 1 {
                    return Some(node);
                }
            }
        })
    }

    /// The first child with this name, with or without a unit address.
    pub(super) fn child(self, name: &str) -> Option<Node<'a>> {
        self.children().find(|child| child.is_named(name))
    }

    /// Whether `name` is this node's name, or its name but for the unit address.
    pub(super) fn is_named(self, name: &str) -> bool {
        self.name.strip_prefix(name.as_bytes()).is_some_and(|rest| matches!(rest, [] | [b'@', ..]))
    }

    /// A property that is one word.
    pub(super) fn word(self, name: &str) -> Option<u32> {
        word(self.property(name)?)
    }

    /// A property that is text.
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.property(name).map(text)
    }

    /// Whether `status` does not forbid the node's use. Linux: `of_device_is_available`.
    pub(super) fn is_enabled(self) -> bool {
        matches!(self.text("status"), None | Some("ok" | "okay"))
    }
}

/// The way from the root to a node: where each node on it begins. The root is at level 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lineage<'a> {
    blocks: Blocks<'a>,
    begins: [u32; DeviceTree::MAX_DEPTH],
    len: usize,
}

impl<'a> Lineage<'a> {
    /// Nodes on the way, the node itself and the root included; at least 1.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The node at the end of the way.
    pub(super) fn node(&self) -> Option<Node<'a>> {
        let begin = self.begins.get(self.len.checked_sub(1)?)?;
        Node::at(self.blocks, *begin as usize)
    }

    /// The way to the parent; `None` at the root.
    pub(super) fn parent(&self) -> Option<Lineage<'a>> {
        (self.len > 1).then(|| Lineage { len: self.len - 1, ..*self })
    }

    /// The node and its ancestors, the root last.
    pub(super) fn upwards(&self) -> impl Iterator<Item = Node<'a>> {
        let begins = self.begins.get(..self.len).unwrap_or(&[]);
        begins.iter().rev().filter_map(|begin| Node::at(self.blocks, *begin as usize))
    }

    /// The blocks that the nodes are in.
    pub(super) fn blocks(&self) -> Blocks<'a> {
        self.blocks
    }
}

/// All nodes, depth first, in the blob's order.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    lineage: Lineage<'a>,
    at: usize,
    /// Whether `next_value` has had its value from the current node.
    answered: bool,
}

impl<'a> Walk<'a> {
    /// Starts before the root.
    pub(super) fn new(blocks: Blocks<'a>) -> Walk<'a> {
        Walk { lineage: Lineage { blocks, begins: [0; DeviceTree::MAX_DEPTH], len: 0 }, at: 0, answered: false }
    }

    /// The way to the node that `next` returned last, or that has the value which `next_value` returned last.
    pub(super) fn lineage(&self) -> &Lineage<'a> {
        &self.lineage
    }

    /// Goes on to the next node that has a property of this name, and returns its value (the first one's).
    ///
    /// Cheaper than asking node by node: every token is read once.
    pub(super) fn next_value(&mut self, name: &str) -> Option<&'a [u8]> {
        loop {
            match self.step()? {
                Token::BeginNode(_) => self.answered = false,
                Token::Property(property)
                    if !self.answered && self.lineage.blocks.is_named(property, name.as_bytes()) =>
                {
                    self.answered = true;
                    return Some(property.value);
                }
                _ => {}
            }
        }
    }

    /// Reads one token and keeps the way to the current node; `None` at the end.
    fn step(&mut self) -> Option<Token<'a>> {
        let begin = self.at;
        let (token, next) = self.lineage.blocks.token(begin)?;
        match token {
            Token::BeginNode(_) => {
                *self.lineage.begins.get_mut(self.lineage.len)? = begin as u32;
                self.lineage.len += 1;
            }
            Token::EndNode => self.lineage.len = self.lineage.len.checked_sub(1)?,
            Token::Property(_) | Token::Nop => {}
            Token::End => return None,
        }
        self.at = next;
        Some(token)
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        loop {
            if let Token::BeginNode(name) = self.step()? {
                return Some(Node { blocks: self.lineage.blocks, name, body: self.at });
            }
        }
    }
}
