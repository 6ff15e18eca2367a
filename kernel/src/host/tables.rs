//! The tables of those who use reclaimable memory, full of garbage as a board's RAM is.

use crate::sync::atomic::AtomicU32;

use super::GARBAGE;
use crate::mm::sparse::Chunk;
use crate::mm::tables::{AnonPage, FilePage, Handle, Mapping, Request, SwapSlot, UsersSize, UsersTables};

/// A vector of so many copies of a constant; record by record would be most of the work of a test under Miri.
macro_rules! garbage {
    ($len:expr, $record:expr) => {{
        let mut records = Vec::with_capacity($len + 1024);
        while records.len() < $len {
            records.append(&mut Vec::from([const { $record }; 1024]));
        }
        records.truncate($len);
        records
    }};
}

/// The tables of a machine.
pub struct Tables {
    owners: Vec<AtomicU32>,
    file_chunks: Vec<Chunk>,
    files: Vec<FilePage>,
    ledger: Vec<AtomicU32>,
    anon_chunks: Vec<Chunk>,
    anons: Vec<AnonPage>,
    mappings: Vec<Mapping>,
    slots: Vec<SwapSlot>,
    requests: Vec<Request>,
    handles: Vec<Handle>,
}

impl Tables {
    pub fn new(size: UsersSize) -> Tables {
        const WORD: u32 = u32::from_ne_bytes([GARBAGE; 4]);
        Tables {
            owners: garbage!(size.records, AtomicU32::new(WORD)),
            file_chunks: garbage!(size.chunks, Chunk::garbage()),
            files: garbage!(size.pages(), FilePage::garbage()),
            ledger: garbage!(size.pages(), AtomicU32::new(WORD)),
            anon_chunks: garbage!(size.chunks, Chunk::garbage()),
            anons: garbage!(size.pages(), AnonPage::garbage()),
            mappings: garbage!(size.mappings, Mapping::garbage()),
            slots: garbage!(size.slots, SwapSlot::garbage()),
            requests: garbage!(size.requests, Request::garbage()),
            handles: garbage!(size.handles, Handle::garbage()),
        }
    }

    pub fn borrow(&self) -> UsersTables<'_> {
        UsersTables {
            owners: &self.owners,
            file_chunks: &self.file_chunks,
            files: &self.files,
            ledger: &self.ledger,
            anon_chunks: &self.anon_chunks,
            anons: &self.anons,
            mappings: &self.mappings,
            slots: &self.slots,
            requests: &self.requests,
            handles: &self.handles,
        }
    }
}
