//! Moving a page: the owners' part of migration.
//!
//! A page may move when nobody refers to it but its owner and the caller. Its references are frozen while its content is
//! copied and everybody who knew it learns of the new page; all who know it are in the tables, so that one lock makes
//! this one step. Mappings name the page's record, not the page, and need no change.
//!
//! Linux: `migrate_page_move_mapping`, `migrate_page_copy`, `remove_migration_ptes`. Linux does more: it takes the page
//! out of page tables first and puts it back after; here nobody can look meanwhile.

use crate::sync::atomic::Ordering::Relaxed;

use super::handles;
use super::highmem;
use super::memory::{Env, Memory};
use super::migrate::migrate_page_states;
use super::owner::MigrateError;
use super::page::PageFlags;
use super::page_wait::wait_on_page_writeback;
use super::rmap;
use super::tables::Slot;
use super::users::{PageUser, Users, add_node_stat, add_zone_stat};
use crate::reclaim_types::MigrateMode;
use crate::task::Current;
use crate::vmstat::{NodeStat, ZoneStat};

/// Moves content and identity of the page `from` to the page `to`; see [`super::owner::PageOwner::migrate`].
pub(super) fn migrate<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    users: &Users<'_>,
    from: u32,
    to: u32,
    mode: MigrateMode,
) -> Result<(), MigrateError> {
    if users.page(from).flags().contains(PageFlags::WRITEBACK) {
        if mode != MigrateMode::Sync {
            return Err(MigrateError::Busy);
        }
        wait_on_page_writeback(memory, current, users, from).map_err(|_| MigrateError::Again)?;
    }
    users.locked(memory, |_| {
        let user = users.user_of(from).ok_or(MigrateError::Busy)?;
        let owned = references_of(users, user, from);
        if !users.page(from).freeze(owned + 1) {
            return Err(MigrateError::Again);
        }
        highmem::copy_page(memory, memory.pages.pfn(from), memory.pages.pfn(to));
        move_counts(memory, users, user, from, to);
        users.page(to).get(owned);
        migrate_page_states(memory, from, to);
        users.set_user(to, user);
        match user {
            PageUser::File(entry) => users.file(entry).set_slot(Slot::Page(to)),
            PageUser::Anon(entry) => users.anon(entry).page.store(to, Relaxed),
            PageUser::Handle(number) => {
                users.handle(number).page.store(to, Relaxed);
                handles::put_back(users, to);
            }
        }
        users.page(from).unfreeze(1);
        Ok(())
    })
}

/// References that the owner's tables hold: its own, or the swap cache's, and one for each mapping. Linux:
/// `expected_page_refs`.
fn references_of(users: &Users<'_>, user: PageUser, index: u32) -> u16 {
    let own = match user {
        PageUser::File(_) | PageUser::Handle(_) => true,
        PageUser::Anon(_) => users.page(index).flags().contains(PageFlags::SWAPCACHE),
    };
    u16::from(own) + rmap::mapcount(users, index) as u16
}

/// The page counts for another zone from now on, perhaps of another node.
fn move_counts<E: Env>(memory: &Memory<'_, E>, users: &Users<'_>, user: PageUser, from: u32, to: u32) {
    let move_node = |stat| {
        add_node_stat(memory, from, stat, -1);
        add_node_stat(memory, to, stat, 1);
    };
    let move_zone = |stat| {
        add_zone_stat(memory, from, stat, -1);
        add_zone_stat(memory, to, stat, 1);
    };
    let (flags, is_mapped) = (users.page(from).flags(), rmap::mapcount(users, from) > 0);
    match user {
        PageUser::File(entry) => {
            move_node(NodeStat::NrFilePages);
            if is_mapped {
                move_node(NodeStat::NrMapped);
            }
            if rmap::is_mlocked(users, entry) {
                move_zone(ZoneStat::NrMlock);
            }
            if flags.contains(PageFlags::DIRTY) {
                move_node(NodeStat::NrDirty);
                move_zone(ZoneStat::NrZoneWritePending);
            }
        }
        PageUser::Anon(_) => {
            if flags.contains(PageFlags::SWAPCACHE) {
                move_node(NodeStat::NrFilePages);
            }
            if is_mapped {
                move_node(NodeStat::NrAnonPages);
            }
        }
        PageUser::Handle(_) => {}
    }
}
