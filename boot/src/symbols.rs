//! Names of functions, for backtraces.
//!
//! The section `.ksyms` of the image; `cargo xtask build` fills it after the link. All numbers are little endian:
//!
//! ```text
//! offset 0   u32 count
//! offset 4   count x { u32 function, u32 name }: the function's offset from the image's base, by which they are sorted,
//!            and its name's offset from the section's start
//! then       the names, each ended by NUL
//! ```
//!
//! An image that did not go through the tool has count 0 and prints bare addresses.
//!
//! Linux does more: `kallsyms` compresses, and knows sizes.

use crate::arch::entry::image_base;
use core::slice;

unsafe extern "C" {
    #[link_name = "__ksyms_start"]
    static KSYMS_START: u8;
    #[link_name = "__ksyms_end"]
    static KSYMS_END: u8;
}

/// The function that contains `address`, and how far into it `address` is. `None` outside the image's functions.
pub fn lookup(address: u64) -> Option<(&'static str, u64)> {
    let table = table();
    let count = word(table, 0)? as usize;
    let offset = u32::try_from(address.checked_sub(image_base())?).ok()?;
    let behind = partition_point(count, |entry| word(table, 4 + 8 * entry).is_some_and(|start| start <= offset));
    let entry = 4 + 8 * behind.checked_sub(1)?;
    let name = table.get(word(table, entry + 4)? as usize..)?;
    let end = name.iter().position(|byte| *byte == 0)?;
    Some((str::from_utf8(&name[..end]).ok()?, u64::from(offset - word(table, entry)?)))
}

fn table() -> &'static [u8] {
    let (start, end) = (&raw const KSYMS_START, &raw const KSYMS_END);
    // SAFETY: the linker script puts both symbols around one section, which nothing writes while we run.
    unsafe { slice::from_raw_parts(start, end as usize - start as usize) }
}

fn word(table: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(table.get(at..at + 4)?.try_into().ok()?))
}

/// How many of the entries 0 to `count` satisfy `holds`, which is true up to some entry and false from there on.
fn partition_point(count: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
