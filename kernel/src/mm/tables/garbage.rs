//! Records as RAM may hold them before anybody wrote one, for the host's machines.

use crate::sync::atomic::{AtomicU32, AtomicU64};

use super::{AnonPage, FilePage, Handle, MapState, Mapping, Request, SwapSlot};

const BYTE: u8 = 0x5a;
const fn word() -> AtomicU32 {
    AtomicU32::new(u32::from_ne_bytes([BYTE; 4]))
}

const fn long() -> AtomicU64 {
    AtomicU64::new(u64::from_ne_bytes([BYTE; 8]))
}

impl FilePage {
    pub(crate) const fn garbage() -> FilePage {
        FilePage {
            slot: long(),
            sum: long(),
            stored: word(),
            version: word(),
            mappings: word(),
            dirtied: word(),
            pins: word(),
            flags: word(),
        }
    }
}

impl Mapping {
    pub(crate) const fn garbage() -> Mapping {
        Mapping { next: word(), page: word(), task: word(), state: MapState(word()) }
    }
}

impl AnonPage {
    pub(crate) const fn garbage() -> AnonPage {
        AnonPage { page: word(), slot: word(), version: word(), state: MapState(word()) }
    }
}

impl SwapSlot {
    pub(crate) const fn garbage() -> SwapSlot {
        SwapSlot { owner: word(), version: word(), sum: long() }
    }
}

impl Request {
    pub(crate) const fn garbage() -> Request {
        Request { target: word(), page: word(), version: word(), sum: long(), due: long() }
    }
}

impl Handle {
    pub(crate) const fn garbage() -> Handle {
        Handle { page: word(), state: word() }
    }
}
