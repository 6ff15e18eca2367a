//! `peek`, `poke`, `fill`, `verify`: what memory holds, through any handle.
//!
//! A number is that of a block of pages, an object, or an area of vmalloc. Pages of high memory have an address only while
//! they are mapped (`kmap.rs`); the pages of an area are reached through its mapping.

use core::fmt::{self, Write as _};
use core::ops::Range;

use kernel::addr::{PAGE_SIZE, Pfn, VirtAddr};
use kernel::mm::memory::{Env, Memory};
use kernel::mm::{highmem, pgtable, slab};

use super::kmalloc::{live_object, refuse};
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value::{self, ValueError};

/// Bytes of a word.
const WORD: u64 = 8;
/// Bytes that `peek` shows in a line.
const LINE: u64 = 16;

/// `peek HANDLE OFFSET [-n COUNT]`
pub const fn peek<M: Machine>() -> Command<M> {
    Command {
        name: "peek",
        summary: "show bytes of a block, object or area",
        help: "\
One byte, or COUNT of them, 16 a line, at OFFSET from the start of what has
the number: a block of pages, an object of kmalloc, an area of vmalloc. A page
of high memory must be mapped: kmap.",
        args: &[
            Arg::One("HANDLE", Kind::Handle),
            Arg::One("OFFSET", Kind::Number),
            Arg::Opt("-n", "COUNT", Kind::Number),
        ],
        examples: &["alloc GFP_KERNEL|__GFP_ZERO; peek #1 0x10 -n 32", "kzalloc 100; peek #1 99"],
        run: run_peek,
    }
}

/// `poke HANDLE OFFSET BYTE`
pub const fn poke<M: Machine>() -> Command<M> {
    Command {
        name: "poke",
        summary: "write a byte of a block, object or area",
        help: "\
The byte at OFFSET from the start; see peek.",
        args: &[Arg::One("HANDLE", Kind::Handle), Arg::One("OFFSET", Kind::Number), Arg::One("BYTE", Kind::Number)],
        examples: &["vmalloc 8K; poke #1 5000 0xab; peek #1 5000"],
        run: run_poke,
    }
}

/// `fill HANDLE BYTE`
pub const fn fill<M: Machine>() -> Command<M> {
    Command {
        name: "fill",
        summary: "write every byte of a block, object or area",
        help: "\
With BYTE; see peek. All pages of a block of high memory must be mapped.",
        args: &[Arg::One("HANDLE", Kind::Handle), Arg::One("BYTE", Kind::Number)],
        examples: &["alloc GFP_KERNEL -o 2; fill #1 0x5a; verify #1 0x5a"],
        run: run_fill,
    }
}

/// `verify HANDLE BYTE`
pub const fn verify<M: Machine>() -> Command<M> {
    Command {
        name: "verify",
        summary: "look whether every byte is the same",
        help: "\
Status 1, and the first byte that differs, if they are not all BYTE; see peek.",
        args: &[Arg::One("HANDLE", Kind::Handle), Arg::One("BYTE", Kind::Number)],
        examples: &["vzalloc 64K; verify #1 0", "kmalloc 100; fill #1 7; verify #1 7"],
        run: run_verify,
    }
}

/// What has a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Content {
    /// Pages from this one on, and their bytes.
    Pages(Pfn, u64),
    /// Bytes from this address on, all of them mapped.
    Bytes(VirtAddr, u64),
}

/// A page has no address: its number in the block, and its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct NoAddress(u64, Pfn);

impl Content {
    const fn len(self) -> u64 {
        match self {
            Content::Pages(_, bytes) | Content::Bytes(_, bytes) => bytes,
        }
    }

    /// The address of the byte at `offset`; it is good up to the end of its page.
    fn address<E: Env>(self, memory: &Memory<'_, E>, offset: u64) -> Result<VirtAddr, NoAddress> {
        match self {
            Content::Bytes(start, _) => Ok(start.add(offset)),
            Content::Pages(first, _) => {
                let (page, within) = (offset / PAGE_SIZE, offset % PAGE_SIZE);
                let start = highmem::page_address(memory, first.add(page));
                start.map(|start| start.add(within)).ok_or(NoAddress(page, first.add(page)))
            }
        }
    }

    /// The bytes in `range`, a page of a block at a time: the offset of each piece, and how long it is.
    fn pieces(self, range: Range<u64>) -> impl Iterator<Item = (u64, u64)> {
        let mut at = range.start;
        core::iter::from_fn(move || {
            let end = range.end.min((at / PAGE_SIZE + 1) * PAGE_SIZE);
            let piece = (at < end).then_some((at, end - at));
            at = end;
            piece
        })
    }
}

/// The number of one thing: `#7`.
fn number(word: &str) -> Result<u32, ValueError<'_>> {
    let range = value::handles(word)?;
    if range.first == range.last { Ok(range.first) } else { Err(ValueError::Handle(word)) }
}

/// What the first word names, or why there is nothing, which was said.
fn content<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Result<Result<Content, Status>, Trouble<'a>> {
    let number = number(call.args.must(0))?;
    let session = &call.shell.session;
    if let Some(held) = session.handles.get(number) {
        return Ok(Ok(Content::Pages(held.pfn, held.order.nr_pages() * PAGE_SIZE)));
    }
    if let Some(area) = session.areas.get(number) {
        if area.is_live {
            return Ok(Ok(Content::Bytes(area.start, area.bytes)));
        }
    } else if session.objects.get(number as usize).is_some() {
        return object(call, number as usize);
    }
    let text = if number > call.shell.session.handles.last() { "there is no" } else { "nothing is left of" };
    Ok(Err(refuse(call, format_args!("{text} #{number}"))?))
}

fn object<'a, M: Machine>(call: &mut Call<'_, 'a, M>, number: usize) -> Result<Result<Content, Status>, Trouble<'a>> {
    let memory = call.shell.machine.memory();
    let object = match live_object(call, number) {
        Ok(object) => object,
        Err(error) => return Ok(Err(refuse(call, error)?)),
    };
    match slab::ksize(memory, object.addr) {
        Ok(bytes) => Ok(Ok(Content::Bytes(VirtAddr::linear(object.addr), bytes))),
        Err(error) => Ok(Err(refuse(call, error)?)),
    }
}

/// The byte that word `n` says.
fn byte<'a, M: Machine>(call: &Call<'_, 'a, M>, n: usize) -> Result<u8, Trouble<'a>> {
    Ok(value::number_in("the byte", call.args.must(n), 0, 255)? as u8)
}

/// The offset that the second word says, of `bytes` bytes that are there.
fn offset<'a, M: Machine>(call: &Call<'_, 'a, M>, content: Content, bytes: u64) -> Result<u64, Trouble<'a>> {
    let last = content.len().checked_sub(bytes).ok_or(Trouble::Usage("so many bytes are not there"))?;
    Ok(value::number_in("the offset", call.args.must(1), 0, last as i64)? as u64)
}

/// Whether every page of `range` has an address; if not, that is said.
fn check_mapped<M: Machine>(call: &mut Call<'_, '_, M>, content: Content, range: Range<u64>) -> Outcome<'static> {
    let memory = call.shell.machine.memory();
    match content.pieces(range).find_map(|(at, _)| content.address(memory, at).err()) {
        None => Ok(Status::DONE),
        Some(NoAddress(page, pfn)) => {
            let handle = call.args.must(0);
            writeln!(call, "page {page}, pfn {pfn}, is high memory and has no address: kmap {handle} {page}")?;
            Ok(Status::REFUSED)
        }
    }
}

/// What the first word names, if all of it has an address; or why not, which was said.
fn mapped_content<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Result<Result<Content, Status>, Trouble<'a>> {
    let content = match content(call)? {
        Ok(content) => content,
        refused => return Ok(refused),
    };
    Ok(match check_mapped(call, content, 0..content.len())? {
        Status::DONE => Ok(content),
        refused => Err(refused),
    })
}

/// The words that `bytes` bytes at `at` touch: where each is, and which of its bits are touched.
fn words(at: VirtAddr, bytes: u64) -> impl Iterator<Item = (VirtAddr, u64)> {
    let end = at.0 + bytes;
    (at.0 / WORD * WORD..end).step_by(WORD as usize).map(move |word| {
        let before = u64::MAX << (8 * at.0.saturating_sub(word));
        let behind = u64::MAX >> (8 * (word + WORD).saturating_sub(end));
        (VirtAddr(word), before & behind)
    })
}

/// Writes `byte` to every byte of `range`, all of which has an address.
fn write<M: Machine>(call: &mut Call<'_, '_, M>, content: Content, range: Range<u64>, byte: u8) -> Outcome<'static> {
    let (memory, full) = (call.shell.machine.memory(), u64::from_le_bytes([byte; 8]));
    for (offset, bytes) in content.pieces(range) {
        call.check_interrupt()?;
        let Ok(start) = content.address(memory, offset) else { return Ok(Status::REFUSED) };
        for (at, touched) in words(start, bytes) {
            let kept = if touched == u64::MAX { 0 } else { pgtable::read_word(memory, at) & !touched };
            pgtable::write_word(memory, at, kept | full & touched);
        }
    }
    Ok(Status::DONE)
}

/// The byte at `offset`.
fn read<E: Env>(memory: &Memory<'_, E>, content: Content, offset: u64) -> Option<u8> {
    let at = content.address(memory, offset).ok()?;
    let word = pgtable::read_word(memory, VirtAddr(at.0 / WORD * WORD));
    Some((word >> (at.0 % WORD * 8)) as u8)
}

fn run_peek<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let content = match content(call)? {
        Ok(content) => content,
        Err(status) => return Ok(status),
    };
    let count = call.args.option("-n").map_or(Ok(1), |word| value::number_in("the count", word, 1, 4096))? as u64;
    let first = offset(call, content, count)?;
    let refused = check_mapped(call, content, first..first + count)?;
    if refused != Status::DONE {
        return Ok(refused);
    }
    let memory = call.shell.machine.memory();
    for line in (first..first + count).step_by(LINE as usize) {
        let end = (line + LINE).min(first + count);
        let bytes = fmt::from_fn(|f| {
            (line..end).filter_map(|at| read(memory, content, at)).try_for_each(|byte| write!(f, " {byte:02x}"))
        });
        writeln!(call, "{line:#06x}:{bytes}")?;
    }
    Ok(Status::DONE)
}

fn run_poke<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let content = match content(call)? {
        Ok(content) => content,
        Err(status) => return Ok(status),
    };
    let (at, byte) = (offset(call, content, 1)?, byte(call, 2)?);
    match check_mapped(call, content, at..at + 1)? {
        Status::DONE => write(call, content, at..at + 1, byte),
        refused => Ok(refused),
    }
}

fn run_fill<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let byte = byte(call, 1)?;
    let content = match mapped_content(call)? {
        Ok(content) => content,
        Err(status) => return Ok(status),
    };
    let status = write(call, content, 0..content.len(), byte)?;
    writeln!(call, "filled {} bytes with {byte:#04x}", content.len())?;
    Ok(status)
}

fn run_verify<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let expected = byte(call, 1)?;
    let content = match mapped_content(call)? {
        Ok(content) => content,
        Err(status) => return Ok(status),
    };
    let memory = call.shell.machine.memory();
    let full = u64::from_le_bytes([expected; 8]);
    for (offset, bytes) in content.pieces(0..content.len()) {
        call.check_interrupt()?;
        let Ok(start) = content.address(memory, offset) else { continue };
        let other = words(start, bytes).find_map(|(at, touched)| {
            let wrong = (pgtable::read_word(memory, at) ^ full) & touched;
            (wrong != 0).then(|| at.0 + u64::from(wrong.trailing_zeros()) / 8 - start.0 + offset)
        });
        if let Some(at) = other {
            let found = read(memory, content, at).unwrap_or_default();
            return refuse(call, format_args!("the byte at {at:#x} is {found:#04x}, not {expected:#04x}"));
        }
    }
    writeln!(call, "{} bytes are {expected:#04x}", content.len())?;
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use crate::exec::Shell;
    use crate::host::HostMachine;
    use crate::testing::{assert_prints, check, run};

    #[test]
    fn every_kind_of_memory_has_content() {
        for make in ["alloc GFP_KERNEL -o 1", "kmalloc 8192", "vmalloc 8K"] {
            check(
                &std::format!(
                    "{make}; fill #1 0x5a; verify #1 0x5a; poke #1 5000 7; verify #1 0x5a; echo $?; peek #1 4998 -n 18"
                ),
                "#1[..]\nfilled 8192 bytes with 0x5a\n8192 bytes are 0x5a\nthe byte at 0x1388 is 0x07, not 0x5a\n1\n\
                 0x1386: 5a 5a 07 5a 5a 5a 5a 5a 5a 5a 5a 5a 5a 5a 5a 5a\n0x1396: 5a 5a",
            );
        }
        check(
            "kzalloc 100; verify #1 0; vzalloc 1; verify #2 0",
            "#1[..]\n128 bytes are 0x00\n#2[..]\n4096 bytes are 0x00",
        );
    }

    #[test]
    fn neighbours_stay_as_they_are() {
        check(
            "kmalloc 128 -n 2; fill #1 1; fill #2 2; verify #1 1; verify #2 2",
            "allocated 2[..]\nfilled 128[..]\nfilled 128[..]\n128 bytes are 0x01\n128 bytes are 0x02",
        );
    }

    #[test]
    fn high_memory_must_be_mapped() {
        let mut shell = Shell::new(HostMachine::new("zones=full highmem=16M", &[(0x4000_0000, 96 << 20, 0)], &[]));
        let output = run(
            &mut shell,
            "alloc GFP_HIGHUSER|__GFP_ZERO -o 1; peek #1 0; kmap #1 0; peek #1 0; fill #1 9; echo $?; kmap #1 1; fill #1 9; kunmap #1 0; peek #1 0",
        );
        assert_prints(
            &output,
            "#1[..] HighMem Unmovable\npage 0, pfn 0x[..], is high memory and has no address: kmap #1 0\npfn[..]\n0x0000: 00\n\
             page 1, pfn 0x[..], is high memory and has no address: kmap #1 1\n1\npfn[..]\nfilled 8192 bytes with 0x09\n\
             page 0, [..]: kmap #1 0",
        );
    }

    #[test]
    fn what_is_not_there_is_said() {
        check("peek #1 0; echo $?", "there is no #1\n1");
        check("alloc GFP_KERNEL; free #1; peek #1 0", "#1[..]\nfreed[..]\nnothing is left of #1");
        check("vmalloc 1; vfree #1; fill #1 0", "#1[..]\nfreed[..]\nnothing is left of #1");
        check("kmalloc 9; kfree #1; verify #1 0", "#1[..]\nfreed[..]\n#1 was freed already: [..]");
        check("kmalloc 9; poke #1 128 0; echo $?", "#1[..]\npoke: the offset must be 0..127, not 128\n2");
        check(
            "kmalloc 9; poke #1 1 256; kmalloc 0; peek #2 0",
            "#1[..]\npoke: the byte must be 0..255, not 256\n#2[..]\npeek: so many bytes are not there",
        );
        check("alloc GFP_KERNEL -n 2; peek #1..#2 0", "[..]\n[..]\n[..]\npeek: `#1..#2` is not a handle[..]");
    }
}
