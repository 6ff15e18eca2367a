//! Pages that move, of files, tasks and handles.

use super::*;
use crate::gfp::Gfp;
use crate::mm::anon;
use crate::mm::fault::{self, Fault};
use crate::mm::handles;
use crate::mm::owner::MigrateError;
use crate::mm::page_alloc;
use crate::reclaim_types::MigrateMode;

/// Moves the page at `from` as migration does, to a fresh one.
fn migrate(lab: &Lab<'_>, from: u32, mode: MigrateMode) -> Result<u32, MigrateError> {
    let (memory, current) = (&lab.memory, lab.current());
    let lru = memory.pages.at(from).flags().contains(PageFlags::LRU);
    assert!(if lru { swap::isolate_lru_page(memory, from) } else { memory.pages.at(from).get_unless_zero() });
    if !lru {
        assert!(users(lab).isolate_movable(from));
    }
    assert!(memory.pages.at(from).try_lock());
    let to = memory.pages.index(page_alloc::alloc_page(memory, &current, Gfp::GFP_HIGHUSER_MOVABLE).unwrap());
    assert!(memory.pages.at(to).try_lock());
    let moved = users(lab).migrate(memory, &current, from, to, mode);
    swap::unlock_page(memory, from);
    swap::unlock_page(memory, to);
    let (gone, kept) = if moved.is_ok() { (from, to) } else { (to, from) };
    assert!(swap::put_page(memory, &current, gone), "the page that is not needed is free");
    if lru {
        swap::putback_lru_page(memory, &current, kept);
    } else {
        if moved.is_err() {
            users(lab).putback_movable(kept);
        }
        swap::put_page(memory, &current, kept);
    }
    moved.map(|()| to)
}

#[test]
fn a_page_is_the_same_wherever_it_moves() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, lab.current());
    let at = place(1, 1);
    write(&lab, at, 5);
    mmap::map(memory, &current, users(&lab), at, false).unwrap();
    let to = migrate(&lab, page(&lab, at), MigrateMode::Async).unwrap();
    assert_eq!((page(&lab, at), users(&lab).mapcount(to), memory.pages.at(to).state().count()), (to, 1, 2));
    assert!(flags(&lab, at).contains(PageFlags::DIRTY | PageFlags::LRU));
    writeback::write_dirty(memory, &current, users(&lab), writeback::Reason::All);
    assert_eq!(migrate(&lab, to, MigrateMode::SyncLight), Err(MigrateError::Busy), "under writeback");
    assert!(migrate(&lab, to, MigrateMode::Sync).is_ok(), "waits until it is written");
    pins::pin(memory, users(&lab), at).unwrap();
    assert_eq!(migrate(&lab, page(&lab, at), MigrateMode::Sync), Err(MigrateError::Again), "pinned");
    pins::unpin(memory, &current, users(&lab), at).unwrap();

    anon::populate(memory, &current, users(&lab), 1);
    let to = migrate(&lab, anon_page(&lab, 0), MigrateMode::Async).unwrap();
    assert_eq!((anon_page(&lab, 0), fault::touch(memory, &current, users(&lab), 0)), (to, Ok(Fault::None)));
    assert_eq!((anon::check(memory, &current, users(&lab), lab.tasks().init()).lost, verify(&lab)), (0, 0));
    lab.assert_sound();
}

#[test]
fn a_handle_follows_its_page() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, lab.current());
    let refused = handles::alloc(memory, &current, users(&lab), Gfp::GFP_KERNEL);
    assert_eq!(refused, Err(PcError::NotMovable(Gfp::GFP_KERNEL)));
    let [a, b] = [(); 2].map(|()| handles::alloc(memory, &current, users(&lab), Gfp::GFP_HIGHUSER_MOVABLE).unwrap());
    let index = |handle| memory.pages.index(handles::frame(memory, users(&lab), handle).unwrap());
    let to = migrate(&lab, index(a), MigrateMode::Async).unwrap();
    assert_eq!((index(a), handles::check_all(memory, &current, users(&lab)).lost), (to, 0));
    handles::pin(memory, users(&lab), a).unwrap();
    assert_eq!(migrate(&lab, to, MigrateMode::Sync), Err(MigrateError::Again));
    assert_eq!(handles::free(memory, &current, users(&lab), a), Err(PcError::Pinned));
    handles::unpin(memory, &current, users(&lab), a).unwrap();
    assert_eq!(handles::free(memory, &current, users(&lab), a), Ok(true));
    assert_eq!(handles::check(memory, &current, users(&lab), a), Err(PcError::NoHandle(a)));
    memory.env.write(memory.pages.pfn(index(b)).addr(), 0);
    memory.env.write(memory.pages.pfn(index(b)).addr(), 1);
    assert_eq!(handles::check_all(memory, &current, users(&lab)).lost, 1);
    assert_eq!(handles::alloc(memory, &current, users(&lab), Gfp::GFP_HIGHUSER_MOVABLE), Ok(a), "used again");
}

#[test]
fn a_handle_given_up_while_its_page_is_isolated_leaves_an_orphan() {
    let machine = board_16m("");
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, lab.current());
    let handle = handles::alloc(memory, &current, users(&lab), Gfp::GFP_HIGHUSER_MOVABLE).unwrap();
    let index = memory.pages.index(handles::frame(memory, users(&lab), handle).unwrap());
    assert!(memory.pages.at(index).get_unless_zero() && users(&lab).isolate_movable(index));
    assert!(!users(&lab).isolate_movable(index), "twice");
    assert_eq!(handles::free(memory, &current, users(&lab), handle), Ok(false));
    users(&lab).putback_movable(index);
    assert!(swap::put_page(memory, &current, index));
    lab.assert_sound();
}
