//! The map: virtual address = physical address, each byte with the permissions it deserves.
//!
//! [`AddressSpace`] fills translation tables from a pool inside the image. The image and the device tree are mapped
//! before the MMU is on; RAM and devices follow, as the device tree tells of them. A first mapping stays: mapping RAM
//! later goes around the image's read-only pages and the stacks' guards. What nobody maps, such as `no-map` memory,
//! faults.
//!
//! 4 KiB pages, 48-bit addresses, four levels; blocks of 1 GiB and 2 MiB where they fit, so that 64 GiB of RAM cost as
//! many instructions as 1 GiB.
//!
//! Linux does more: user space, a randomised linear map, contiguous hints, and splitting blocks again.

use super::entry::{data_start, image_base, invalidate_data_cache};
use super::stack;
use crate::lock::Lock;
use aarch64_cpu::asm::barrier::{ISH, ISHST, SY, dsb, isb};
use aarch64_cpu::registers::{
    ID_AA64MMFR0_EL1, MAIR_EL1, ReadWriteable, Readable, SCTLR_EL1, TCR_EL1, TTBR0_EL1, TTBR1_EL1, Writeable,
};
use core::cell::UnsafeCell;
use core::fmt;
use core::ops::Range;
use kernel::sync::Class;

const PAGE: u64 = 4096;
/// Addresses are below this.
pub const END: u64 = 1 << 48;
const ENTRIES: usize = 512;
/// Tables in the pool. A piece of RAM takes four at most, usually one, a device two; memblock knows 128 pieces. What is
/// not used is given back to RAM.
const NR_TABLES: usize = 160;
/// Tables that the image and the device tree take at most, before the caches are on.
const NR_EARLY_TABLES: usize = 16;
/// Tables that are kept for devices.
const NR_SPARE_TABLES: usize = 16;

const VALID: u64 = 1;
/// In an entry of level 0 to 2: points to a table. In one of level 3: is a page.
const TABLE: u64 = 1 << 1;
/// A bit that hardware ignores: with `VALID` clear it keeps an entry from being mapped.
const GUARD: u64 = 1 << 55;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
const ACCESSED: u64 = 1 << 10;
const INNER_SHAREABLE: u64 = 3 << 8;
const READ_ONLY: u64 = 1 << 7;
const NOT_EXECUTABLE: u64 = 1 << 53;
const NOT_EXECUTABLE_AT_EL0: u64 = 1 << 54;
/// Index into MAIR_EL1.
const DEVICE: u64 = 0 << 2;
const NORMAL: u64 = 1 << 2;

/// What a range holds, hence what may be done to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Instructions: read and execute.
    Text,
    /// Constants: read.
    ReadOnly,
    /// Memory: read and write.
    Ram,
    /// Registers of a device: read and write, in order, uncached.
    Device,
    /// Nothing, for good: every access faults.
    Guard,
}

impl Kind {
    /// The descriptor's bits besides address and type.
    const fn attributes(self) -> u64 {
        let normal = VALID | ACCESSED | NOT_EXECUTABLE_AT_EL0 | NORMAL | INNER_SHAREABLE;
        match self {
            Kind::Text => normal | READ_ONLY,
            Kind::ReadOnly => normal | READ_ONLY | NOT_EXECUTABLE,
            Kind::Ram => normal | NOT_EXECUTABLE,
            Kind::Device => VALID | ACCESSED | NOT_EXECUTABLE_AT_EL0 | DEVICE | NOT_EXECUTABLE,
            Kind::Guard => GUARD,
        }
    }
}

/// The pool of tables is empty: the device tree has too many separate pieces of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfTables {
    /// Address that could not be mapped any more.
    pub at: u64,
}

impl fmt::Display for OutOfTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot map {:#x}: all {NR_TABLES} translation tables are in use, memory is in too many pieces",
            self.at
        )
    }
}

/// One translation table.
#[repr(C, align(4096))]
struct Table([u64; ENTRIES]);

/// The tables' memory. Neither in the file nor zeroed at entry: a table is cleared when it is taken.
struct Pool(UnsafeCell<[Table; NR_TABLES]>);

// SAFETY: only `AddressSpace` touches the pool, through `&mut self` of the one instance below.
unsafe impl Sync for Pool {}

#[unsafe(link_section = ".noinit.tables")]
static POOL: Pool = Pool(UnsafeCell::new([const { Table([0; ENTRIES]) }; NR_TABLES]));

/// The one address space. The entry code fills it without the lock: no lock works before the MMU does.
static ADDRESS_SPACE: Lock<AddressSpace> = Lock::new(Class::Machine, AddressSpace { used: 0, limit: NR_TABLES });

/// Translation tables under construction. Table 0 is the root.
struct AddressSpace {
    /// Tables taken from the pool.
    used: usize,
    /// Tables that may be taken.
    limit: usize,
}

impl AddressSpace {
    /// Takes a cleared table from the pool.
    fn take_table(&mut self) -> Option<*mut Table> {
        if self.used == self.limit {
            return None;
        }
        let table = POOL.0.get().cast::<Table>().wrapping_add(self.used);
        self.used += 1;
        // SAFETY: the table lies in the pool and nobody has it: `used` only grows, and `&mut self` is the only user.
        unsafe { (*table).0.fill(0) };
        Some(table)
    }

    /// Lets entry `number` of `table`, which leads nowhere yet, lead to a new table; that.
    fn add_table(&mut self, table: *mut Table, number: usize, at: u64) -> Result<*mut Table, OutOfTables> {
        let below = self.take_table().ok_or(OutOfTables { at })?;
        // SAFETY: `table` is the root or a table just taken; both lie in the pool.
        unsafe { (*table).0[number] = below as u64 | TABLE | VALID };
        Ok(below)
    }

    /// Takes the tables of the kernel's window: the one of level 1, which is the kernel's from now on, and below its last
    /// entry those of the last `slot_tables` pieces of 2 MiB.
    fn take_window(&mut self, start: u64, slot_tables: usize) -> Result<u64, OutOfTables> {
        let root = POOL.0.get().cast();
        let window = self.add_table(root, (start >> 39) as usize % ENTRIES, start)?;
        let last = self.add_table(window, ENTRIES - 1, start)?;
        for number in ENTRIES - slot_tables..ENTRIES {
            self.add_table(last, number, start)?;
        }
        Ok(window as u64)
    }

    /// Maps the pages of `range` that are not mapped yet, below [`END`].
    fn map(&mut self, range: Range<u64>, kind: Kind) -> Result<(), OutOfTables> {
        let pages = range.start & !(PAGE - 1)..range.end.min(END).next_multiple_of(PAGE);
        self.map_in(POOL.0.get().cast(), 39, pages, kind)
    }

    /// The same in one table, each of whose entries spans `1 << shift` bytes. Recurses three times at most.
    fn map_in(&mut self, table: *mut Table, shift: u32, pages: Range<u64>, kind: Kind) -> Result<(), OutOfTables> {
        let span = 1 << shift;
        let leaf = kind.attributes() | if shift == 12 { TABLE } else { 0 };
        let mut at = pages.start;
        while at < pages.end {
            let next = pages.end.min((at | (span - 1)) + 1);
            // SAFETY: `table` is the root or came from an entry that this function wrote; both lie in the pool.
            let entry = unsafe { &mut (*table).0[(at >> shift) as usize % ENTRIES] };
            if *entry == 0 && shift <= 30 && next - at == span {
                *entry = at | leaf;
            } else if *entry == 0 {
                let below = self.take_table().ok_or(OutOfTables { at })?;
                *entry = below as u64 | TABLE | VALID;
                self.map_in(below, shift - 9, at..next, kind)?;
            } else if shift > 12 && *entry & (VALID | TABLE) == VALID | TABLE {
                self.map_in((*entry & ADDRESS) as *mut Table, shift - 9, at..next, kind)?;
            }
            at = next;
        }
        Ok(())
    }
}

/// Maps what is not mapped yet of the pages that `range` touches. Linux: `create_pgd_mapping`.
///
/// # Safety
///
/// `range` must be what `kind` says: RAM that exists, or registers of a device whose driver calls.
pub unsafe fn map(range: Range<u64>, kind: Kind) -> Result<(), OutOfTables> {
    let mapped = super::cpu::masked(|| ADDRESS_SPACE.lock().map(range, kind));
    dsb(ISHST);
    isb(SY);
    mapped
}

/// Gives the kernel a table of level 1 for the 512 GiB from `start` on, with tables of level 3 for the last `slot_tables`
/// pieces of 2 MiB; where it is. Once.
pub fn take_window(start: u64, slot_tables: usize) -> Result<u64, OutOfTables> {
    let window = super::cpu::masked(|| ADDRESS_SPACE.lock().take_window(start, slot_tables));
    dsb(ISHST);
    isb(SY);
    window
}

/// The memory of the tables that nobody will need any more once RAM is mapped; it is the caller's from now on.
pub fn give_back_tables() -> Range<u64> {
    let keep = super::cpu::masked(|| {
        let mut space = ADDRESS_SPACE.lock();
        space.limit = space.limit.min(space.used + NR_SPARE_TABLES);
        space.limit
    });
    let tables = POOL.0.get() as u64;
    tables + keep as u64 * PAGE..tables + NR_TABLES as u64 * PAGE
}

/// Maps the image and the device tree, then turns the MMU and the caches on. For the entry code.
///
/// `device_tree` is what the loader passed; it is mapped only if it looks like one ([`crate::tree::peek`]).
///
/// # Safety
///
/// Once, by the boot CPU, with the MMU off, before any other function of this file.
pub unsafe extern "C" fn map_image_and_enable(device_tree: u64) {
    let tables = POOL.0.get() as u64;
    let early = tables..tables + NR_EARLY_TABLES as u64 * PAGE;
    // SAFETY: the caches are off, and nobody has written there yet.
    unsafe { invalidate_data_cache(early.start, early.end) };
    // SAFETY: nothing else runs yet, and a lock would not work yet.
    let space = unsafe { &mut *ADDRESS_SPACE.as_mut_ptr() };
    let mapped = space.take_table().is_some()
        && image_ranges().into_iter().all(|(range, kind)| space.map(range, kind).is_ok())
        && match crate::tree::peek(device_tree) {
            Ok(bytes) => space.map(device_tree..device_tree + bytes as u64, Kind::ReadOnly).is_ok(),
            Err(_) => true,
        };
    // The image is below 4 MiB and takes seven tables at most, the device tree five more. There is no way to complain.
    if !mapped || space.used > NR_EARLY_TABLES {
        super::cpu::park();
    }
    // SAFETY: the caches are off; what they have of this range is older than what we wrote there.
    unsafe {
        invalidate_data_cache(&raw const RODATA_START as u64, &raw const WRITTEN_END as u64);
        invalidate_data_cache(early.start, early.end);
    }
    // SAFETY: the tables map this code, its stack and its data to themselves.
    unsafe { enable(tables) };
}

/// Sets up translation with the tables at `root`, caches on.
///
/// # Safety
///
/// The tables must map the running code and its stack to themselves.
pub unsafe fn enable(root: u64) {
    MAIR_EL1.write(
        MAIR_EL1::Attr0_Device::nonGathering_nonReordering_EarlyWriteAck
            + MAIR_EL1::Attr1_Normal_Outer::WriteBack_NonTransient_ReadWriteAlloc
            + MAIR_EL1::Attr1_Normal_Inner::WriteBack_NonTransient_ReadWriteAlloc,
    );
    // 48 bits of physical address are what 4 KiB pages reach without LPA2.
    let address_bits = ID_AA64MMFR0_EL1.read(ID_AA64MMFR0_EL1::PARange).min(5);
    TCR_EL1.write(
        TCR_EL1::T0SZ.val(16)
            + TCR_EL1::TG0::KiB_4
            + TCR_EL1::SH0::Inner
            + TCR_EL1::ORGN0::WriteBack_ReadAlloc_WriteAlloc_Cacheable
            + TCR_EL1::IRGN0::WriteBack_ReadAlloc_WriteAlloc_Cacheable
            + TCR_EL1::EPD1::DisableTTBR1Walks
            + TCR_EL1::IPS.val(address_bits),
    );
    TTBR0_EL1.set(root);
    TTBR1_EL1.set(0);
    dsb(SY);
    isb(SY);
    // SAFETY: no translation is in use yet.
    unsafe { core::arch::asm!("tlbi vmalle1", "ic iallu") };
    dsb(ISH);
    isb(SY);
    SCTLR_EL1.modify(SCTLR_EL1::M::Enable + SCTLR_EL1::C::Cacheable + SCTLR_EL1::I::Cacheable + SCTLR_EL1::WXN::Enable);
    isb(SY);
}

unsafe extern "C" {
    #[link_name = "__rodata_start"]
    static RODATA_START: u8;
    #[link_name = "__written_end"]
    static WRITTEN_END: u8;
    #[link_name = "__image_end"]
    static IMAGE_END: u8;
}

/// Bytes from the image's first to its last, stacks included.
pub fn image_size() -> u64 {
    &raw const IMAGE_END as u64 - image_base()
}

/// The image's parts with their kinds; the guards come first and stay.
fn image_ranges() -> [(Range<u64>, Kind); 7] {
    let rodata = &raw const RODATA_START as u64;
    let data = data_start();
    let [a, b, c, d] = stack::guards().map(|(guard, _)| (guard..guard + stack::GUARD_BYTES, Kind::Guard));
    let end = image_base() + image_size();
    [a, b, c, d, (image_base()..rodata, Kind::Text), (rodata..data, Kind::ReadOnly), (data..end, Kind::Ram)]
}

/// Whether this CPU may read the byte at `address`: asks the MMU. Linux: `kern_addr_valid`.
pub fn is_readable(address: u64) -> bool {
    let par: u64;
    // SAFETY: AT only fills PAR_EL1, which nothing else uses.
    unsafe {
        core::arch::asm!(
            "at s1e1r, {address}",
            "isb",
            "mrs {par}, PAR_EL1",
            address = in(reg) address,
            par = out(reg) par,
        );
    }
    par & 1 == 0
}
