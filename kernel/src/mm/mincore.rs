//! Which pages of files are in memory, and in what state.
//!
//! [`for_each_cached`] shows every cached page as it is at that moment; nobody is kept from changing it right after.
//!
//! Linux: `mm/mincore.c`, and what `/proc/kpageflags` and page-types tell about pages.

use crate::sync::atomic::Ordering::Relaxed;

use super::memory::{Env, Memory};
use super::page::PageFlags;
use super::pagecache::{entry_of, find_get_page, for_each_place};
use super::pc_error::PcError;
use super::rmap;
use super::sparse::Place;
use super::swap;
use super::users::Users;
use crate::addr::Pfn;
use crate::task::Current;

/// A page of a file that is in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CachedPage {
    /// File and index.
    pub place: Place,
    /// Where it is.
    pub pfn: Pfn,
    /// Its marks.
    pub flags: PageFlags,
    /// Tasks that map it.
    pub mapcount: u32,
    /// References that a user took by hand.
    pub pins: u32,
    /// The version that was written last.
    pub version: u32,
}

/// Calls `each` with every cached page of `file`, or of all files, in order, until it says no.
///
/// # Errors
///
/// When the work was called off, or `each` said no.
pub fn for_each_cached<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    file: Option<u32>,
    mut each: impl FnMut(CachedPage) -> bool,
) -> Result<(), PcError> {
    for_each_place(memory, current, users, file, |place| {
        let Some((entry, index)) = find_get_page(memory, users, place) else { return Ok(()) };
        let page = CachedPage {
            place,
            pfn: memory.pages.pfn(index),
            flags: users.page(index).flags(),
            mapcount: rmap::mapcount(users, index),
            pins: users.file(entry).pins.load(Relaxed),
            version: users.ledger(entry).load(Relaxed),
        };
        swap::put_page(memory, current, index);
        if each(page) { Ok(()) } else { Err(PcError::Interrupted) }
    })
}

/// The version of a file's page that was written last; 0 for none.
pub fn last_version<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, place: Place) -> u32 {
    let entry = entry_of(memory, users, place);
    entry.map_or(0, |entry| users.ledger(entry).load(Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::filemap;
    use crate::mm::memory::Env;
    use crate::mm::pins;
    use crate::mm::testing::{Lab, board_m64};

    #[test]
    fn cached_pages_are_seen_as_they_are() {
        let machine = board_m64();
        let lab = Lab::new(&machine);
        let (memory, current, users) = (&lab.memory, lab.current(), lab.memory.env.owner());
        filemap::read(memory, &current, users, Place::new(2, 9)).unwrap();
        filemap::write(memory, &current, users, Place::new(1, 70), 3).unwrap();
        pins::pin(memory, users, Place::new(1, 70)).unwrap();
        let mut seen = Vec::new();
        for_each_cached(memory, &current, users, None, |page| {
            seen.push((page.place, page.flags.contains(PageFlags::DIRTY), page.pins, page.version));
            true
        })
        .unwrap();
        assert_eq!(seen, [(Place::new(1, 70), true, 1, 3), (Place::new(2, 9), false, 0, 0)]);
        assert_eq!(last_version(memory, users, Place::new(1, 70)), 3);
        assert_eq!(last_version(memory, users, Place::new(5, 0)), 0);
        let mut count = 0;
        let stopped = for_each_cached(memory, &current, users, None, |_| {
            count += 1;
            false
        });
        assert_eq!((stopped, count), (Err(PcError::Interrupted), 1));
        pins::unpin(memory, &current, users, Place::new(1, 70)).unwrap();
        lab.assert_sound();
    }
}
