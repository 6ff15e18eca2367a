//! The second chance: whether a page at the tail of an inactive list was used since it was looked at last.
//!
//! A page that a file's readers used is marked; one that tasks map has a young bit in each mapping. Linux:
//! `page_check_references`.

use crate::mm::memory::{Env, Memory};
use crate::mm::owner::{PageOwner, References};
use crate::mm::page::{Page, PageFlags};

/// What the use of a page calls for. Linux: `enum page_references`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PageReferences {
    /// Take it.
    Reclaim,
    /// Take it, unless it would have to be written: somebody read it once.
    ReclaimClean,
    /// Let it go round once more.
    Keep,
    /// It is in use.
    Activate,
}

/// Takes note of the use of a locked page, and forgets it.
pub(super) fn page_check_references<E: Env>(memory: &Memory<'_, E>, page: &Page, index: u32) -> PageReferences {
    let mapped = memory.env.owner().referenced(index);
    let referenced = !page.clear_flags(PageFlags::REFERENCED).is_empty();
    let anon = page.flags().contains(PageFlags::SWAPBACKED);
    let outcome = judge(mapped, referenced, anon);
    if !anon && matches!(outcome, PageReferences::Keep | PageReferences::Activate) {
        // The next young bit will find that this was not the first.
        page.set_flags(PageFlags::REFERENCED);
    }
    outcome
}

/// `mapped` is the use through mappings, `referenced` whether the page was marked.
fn judge(mapped: References, referenced: bool, anon: bool) -> PageReferences {
    if mapped.mlocked {
        // Unmapping it will fail, and that takes it off the list.
        PageReferences::Reclaim
    } else if mapped.young > 0 {
        match anon || referenced || mapped.young > 1 || mapped.executable {
            true => PageReferences::Activate,
            false => PageReferences::Keep,
        }
    } else if referenced && !anon {
        PageReferences::ReclaimClean
    } else {
        PageReferences::Reclaim
    }
}

#[cfg(test)]
mod tests {
    use super::PageReferences::{Activate, Keep, Reclaim, ReclaimClean};
    use super::*;

    #[test]
    fn every_combination_has_its_answer() {
        let young = |young, executable| References { young, executable, mlocked: false };
        let unused = young(0, false);
        let mlocked = References { young: 3, executable: true, mlocked: true };
        for (mapped, referenced, anon, expected) in [
            (unused, false, false, Reclaim),
            (unused, true, false, ReclaimClean),
            (unused, false, true, Reclaim),
            (unused, true, true, Reclaim),
            (young(1, false), false, false, Keep),
            (young(1, false), true, false, Activate),
            (young(2, false), false, false, Activate),
            (young(1, true), false, false, Activate),
            (young(1, false), false, true, Activate),
            (mlocked, true, false, Reclaim),
            (mlocked, true, true, Reclaim),
        ] {
            assert_eq!(judge(mapped, referenced, anon), expected, "{mapped:?} {referenced} {anon}");
        }
    }
}
