//! A doubly linked list threaded through the page records.
//!
//! Push, pop and remove are O(1) and touch the records of the page and its neighbours alone. The ends are told by the
//! list's own head and tail: the outward links of the first and last page mean nothing, and are not kept up. A page is on
//! one list at most; which one is told by its state, and whoever may change the list owns the list's lock or cell.
//!
//! Linux: `struct list_head`.

use super::page::{NIL, Pages};

/// A list of pages by record index: a head, which is used first, and a tail.
#[derive(Clone, Copy, Debug)]
pub struct List {
    head: u32,
    tail: u32,
}

impl List {
    /// The list without pages.
    pub const EMPTY: List = List { head: NIL, tail: NIL };

    /// The list with the page `index` alone.
    #[inline(always)]
    pub const fn of(index: u32) -> List {
        List { head: index, tail: index }
    }

    /// Whether the list has no page.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.head == NIL
    }

    /// The first page.
    #[inline(always)]
    pub fn first(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    /// Puts `index` before all others.
    #[inline(always)]
    pub fn push_front(&mut self, pages: &Pages<'_>, index: u32) {
        match self.head {
            NIL => self.tail = index,
            head => {
                pages.at(index).set_next(head);
                pages.at(head).set_prev(index);
            }
        }
        self.head = index;
    }

    /// Puts `index` behind all others.
    #[inline(always)]
    pub fn push_back(&mut self, pages: &Pages<'_>, index: u32) {
        match self.tail {
            NIL => self.head = index,
            tail => {
                pages.at(index).set_prev(tail);
                pages.at(tail).set_next(index);
            }
        }
        self.tail = index;
    }

    /// Takes `index` out, which must be on this list; whether the list is empty now.
    #[inline(always)]
    pub fn remove(&mut self, pages: &Pages<'_>, index: u32) -> bool {
        let page = pages.at(index);
        match (index == self.head, index == self.tail) {
            (true, true) => {
                *self = List::EMPTY;
                return true;
            }
            (true, false) => self.head = page.next(),
            (false, true) => self.tail = page.prev(),
            (false, false) => {
                let (next, prev) = (page.next(), page.prev());
                pages.at(prev).set_next(next);
                pages.at(next).set_prev(prev);
            }
        }
        false
    }

    /// Takes the first page; with it, whether the list is empty now.
    #[inline(always)]
    pub fn pop_front(&mut self, pages: &Pages<'_>) -> Option<(u32, bool)> {
        let index = self.first()?;
        let page = pages.at(index);
        if index == self.tail {
            *self = List::EMPTY;
            return Some((index, true));
        }
        self.head = page.next();
        Some((index, false))
    }

    /// Takes the last page.
    #[inline(always)]
    pub fn pop_back(&mut self, pages: &Pages<'_>) -> Option<u32> {
        let index = (self.tail != NIL).then_some(self.tail)?;
        if index == self.head {
            *self = List::EMPTY;
        } else {
            self.tail = pages.at(index).prev();
        }
        Some(index)
    }

    /// The pages from first to last.
    pub fn iter<'p>(&self, pages: &'p Pages<'_>) -> impl Iterator<Item = u32> + use<'p> {
        let tail = self.tail;
        core::iter::successors(self.first(), move |&index| (index != tail).then(|| pages.at(index).next()))
    }

    /// The pages from last to first.
    pub fn iter_rev<'p>(&self, pages: &'p Pages<'_>) -> impl Iterator<Item = u32> + use<'p> {
        let head = self.head;
        let last = (self.tail != NIL).then_some(self.tail);
        core::iter::successors(last, move |&index| (index != head).then(|| pages.at(index).prev()))
    }

    /// Walks the list and says whether every link back answers its link forth, within `limit` pages.
    pub fn is_consistent(&self, pages: &Pages<'_>, limit: u64) -> bool {
        let mut before = NIL;
        for (steps, index) in self.iter(pages).enumerate() {
            if steps as u64 == limit || (before != NIL && pages.at(index).prev() != before) {
                return false;
            }
            before = index;
        }
        before == self.tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Pfn, PfnRange};
    use crate::mm::page::Page;

    /// Runs `script` on an empty list: `+n` push front, `n+` push back, `-n` remove, `<` pop front, `>` pop back.
    fn check(script: &str, expected: &[u32]) {
        let records: Vec<Page> = (0..1024).map(|_| Page::default()).collect();
        let pages = Pages::new(&records, PfnRange::new(Pfn(0), Pfn(1024)));
        let mut list = List::EMPTY;
        for step in script.split_whitespace() {
            if let Some(n) = step.strip_prefix('+') {
                list.push_front(&pages, n.parse().unwrap());
            } else if let Some(n) = step.strip_suffix('+') {
                list.push_back(&pages, n.parse().unwrap());
            } else if let Some(n) = step.strip_prefix('-') {
                list.remove(&pages, n.parse().unwrap());
            } else if step == "<" {
                list.pop_front(&pages);
            } else {
                list.pop_back(&pages);
            }
            assert!(list.is_consistent(&pages, 1024), "after {step}");
        }
        assert_eq!(list.iter(&pages).collect::<Vec<_>>(), expected, "{script}");
        assert_eq!(list.is_empty(), expected.is_empty());
    }

    #[test]
    fn both_ends_take_and_give() {
        check("+1 +2 +3", &[3, 2, 1]);
        check("1+ 2+ 3+", &[1, 2, 3]);
        check("1+ 2+ +3 < >", &[1]);
        check("+1 <", &[]);
        check("+1 >", &[]);
        check("< >", &[]);
        check("+1 < 2+ +3", &[3, 2]);
    }

    #[test]
    fn any_page_can_leave() {
        check("1+ 2+ 3+ -2", &[1, 3]);
        check("1+ 2+ 3+ -1", &[2, 3]);
        check("1+ 2+ 3+ -3", &[1, 2]);
        check("1+ -1 2+", &[2]);
    }
}
