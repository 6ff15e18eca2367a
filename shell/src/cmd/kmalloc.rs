//! `kmalloc`, `kzalloc`, `krealloc`, `kfree`: memory by size.
//!
//! What is handed to the kernel to be freed is always an object that the shell has: a number that was freed, or an address
//! that is no object's, is named and changes nothing. Linux: `include/linux/slab.h`.

use core::fmt::{self, Write as _};

use kernel::addr::{PhysAddr, get_order};
use kernel::gfp::Gfp;
use kernel::mm::kmem_cache::MAX_KMALLOC_SIZE;
use kernel::mm::memory::Memory;
use kernel::mm::slab::kmalloc::NoResize;
use kernel::mm::slab::{self, BadFree};

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::count::Count;
use crate::handles::NoRoom;
use crate::machine::Machine;
use crate::objects::{Object, Origin};
use crate::status::{Outcome, Status, Trouble};
use crate::value::{self, HandleRange, ValueError};

/// `kmalloc SIZE [GFP] [-n COUNT]`
pub const fn kmalloc<M: Machine>() -> Command<M> {
    Command {
        name: "kmalloc",
        summary: "allocate bytes by size",
        help: "\
From the cache of the next larger size (cat /proc/slabinfo); above 8 KiB
straight from the page allocator, to 4 MiB at most. GFP is GFP_KERNEL unless
you say otherwise; -n allocates COUNT of them. Objects have numbers as
blocks of pages have; kfree takes them.
Linux: kmalloc. Study note 2 tells of its flags; the 128 KB that it
names as the limit is that of older kernels.",
        args: &[Arg::One("SIZE", Kind::Number), Arg::Maybe("GFP", Kind::Gfp), Arg::Opt("-n", "COUNT", Kind::Count)],
        examples: &["kmalloc 100; kfree #1", "kmalloc 256 GFP_ATOMIC -n 40; kfree all", "kmalloc 0x5000"],
        run: |call| run_kmalloc(call, Gfp::empty()),
    }
}

/// `kzalloc SIZE [GFP] [-n COUNT]`
pub const fn kzalloc<M: Machine>() -> Command<M> {
    Command {
        name: "kzalloc",
        summary: "allocate zeroed bytes by size",
        help: "\
kmalloc with __GFP_ZERO: all bytes of the object are 0.
Linux: kzalloc. See study note 2.",
        args: &[Arg::One("SIZE", Kind::Number), Arg::Maybe("GFP", Kind::Gfp), Arg::Opt("-n", "COUNT", Kind::Count)],
        examples: &["kzalloc 100; kfree #1"],
        run: |call| run_kmalloc(call, Gfp::__GFP_ZERO),
    }
}

/// `krealloc OBJECT SIZE [GFP]`
pub const fn krealloc<M: Machine>() -> Command<M> {
    Command {
        name: "krealloc",
        summary: "give an object of kmalloc another size",
        help: "\
It stays where it is if there is room, else its content moves to a larger
object and the old one is freed. The number stays the same.
Linux: krealloc. See study note 2.",
        args: &[Arg::One("OBJECT", Kind::Text), Arg::One("SIZE", Kind::Number), Arg::Maybe("GFP", Kind::Gfp)],
        examples: &["kmalloc 100; krealloc #1 128; krealloc #1 5000; kfree #1"],
        run: run_krealloc,
    }
}

/// `kfree OBJECT...`
pub const fn kfree<M: Machine>() -> Command<M> {
    Command {
        name: "kfree",
        summary: "give objects back",
        help: "\
By number (#3, #3..#9), by address (0x...), or all of them but those of pools.
Null and ZERO_SIZE_PTR (0x10) may be freed and nothing happens. What cannot be
freed is told: an address inside an object, in no slab, of an object that is
free, or that somebody else has; nothing is changed then, and the status is 1.
Linux: kfree. See study note 2.",
        args: &[Arg::One("OBJECT|ADDRESS|all", Kind::Text), Arg::Many("OBJECT|ADDRESS", Kind::Text)],
        examples: &["kmalloc 100 -n 3; kfree #1 #2..#3", "kfree 0x10"],
        run: run_kfree,
    }
}

impl From<NoRoom> for Trouble<'_> {
    fn from(_: NoRoom) -> Self {
        Trouble::OutOfHeap
    }
}

/// The mask that the word at place `n` says, else `GFP_KERNEL`.
pub fn gfp_or_kernel<'a, M: Machine>(call: &Call<'_, 'a, M>, n: usize) -> Result<Gfp, Trouble<'a>> {
    Ok(call.args.word(n).map_or(Ok(Gfp::GFP_KERNEL), |word| value::gfp(word).map(|parsed| parsed.mask))?)
}

/// How often `-n` wants something; `max` is as often as it goes.
pub fn count<'a, M: Machine>(call: &Call<'_, 'a, M>) -> Result<u64, Trouble<'a>> {
    Ok(call.args.option("-n").map_or(Ok(Some(1)), value::count)?.unwrap_or(u64::MAX))
}

/// Allocates with `get` until there are `count` objects, or it says no, and gives them numbers; one line about it.
pub fn allocate<M: Machine, E: fmt::Display>(
    call: &mut Call<'_, '_, M>,
    count: u64,
    origin: Origin,
    source: impl fmt::Display,
    mut get: impl FnMut(&mut Call<'_, '_, M>) -> Result<PhysAddr, E>,
) -> Outcome<'static> {
    let first = call.shell.session.handles.last() as usize + 1;
    let (mut got, mut refusal) = (0, None);
    while got < count && refusal.is_none() {
        call.check_interrupt()?;
        call.shell.session.objects.reserve()?;
        call.shell.session.reserve_number()?;
        match get(call) {
            Ok(addr) => {
                let number = call.shell.session.next_number();
                call.shell.session.objects.push(number, addr, origin);
                got += 1;
            }
            Err(error) => refusal = Some(error),
        }
    }
    if let Some(object) = call.shell.session.objects.get(first).filter(|_| count == 1) {
        writeln!(call, "#{first} {source} {:#x}", object.addr.0)?;
    } else if count > 1 {
        write!(call, "allocated {got} of ")?;
        if count == u64::MAX {
            write!(call, "max")?;
        } else {
            write!(call, "{count}")?;
        }
        write!(call, " objects, {source}")?;
        if got > 0 { writeln!(call, ", #{first}..#{}", first as u64 + got - 1)? } else { writeln!(call)? }
    }
    if let Some(error) = refusal {
        writeln!(call, "NULL: {error}")?;
        return Ok(Status::REFUSED);
    }
    Ok(Status::DONE)
}

/// Where `kmalloc` has so many bytes from.
struct Source<M: Machine> {
    memory: &'static Memory<'static, M::Env>,
    bytes: u64,
    gfp: Gfp,
}

impl<M: Machine> fmt::Display for Source<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_small = (1..=MAX_KMALLOC_SIZE).contains(&self.bytes);
        match self.memory.slabs.kmalloc(self.bytes.max(1), self.gfp).filter(|_| is_small) {
            Some(cache) => write!(f, "{}", cache.name()),
            None if self.bytes == 0 => f.write_str("ZERO_SIZE_PTR"),
            None => write!(f, "pages of order {}", get_order(self.bytes)),
        }
    }
}

fn run_kmalloc<'a, M: Machine>(call: &mut Call<'_, 'a, M>, also: Gfp) -> Outcome<'a> {
    let bytes = value::number(call.args.must(0))?;
    let gfp = gfp_or_kernel(call, 1)? | also;
    let count = count(call)?;
    let source: Source<M> = Source { memory: call.shell.machine.memory(), bytes, gfp };
    allocate(call, count, Origin::Kmalloc, source, |call| {
        call.kernel(|memory, current| slab::kmalloc(memory, current, bytes, gfp))
    })
}

/// Why an object named at the prompt cannot be freed. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotYours {
    /// No object has this number.
    NoNumber(usize),
    /// It was freed; what lies there now is somebody else's.
    Reused(usize, PhysAddr),
    /// It was freed, and so says the kernel.
    Freed(usize, BadFree),
    /// The object that begins there belongs to somebody else.
    Others(PhysAddr),
    /// The kernel says no.
    Bad(BadFree),
}

impl fmt::Display for NotYours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotYours::NoNumber(number) => write!(f, "there is no object #{number}"),
            NotYours::Reused(number, addr) => {
                write!(f, "#{number} was freed already; what lies at {:#x} now is somebody else's", addr.0)
            }
            NotYours::Freed(number, error) => write!(f, "#{number} was freed already: {error}"),
            NotYours::Others(addr) => write!(f, "what begins at {:#x} is in use, but by no object of yours", addr.0),
            NotYours::Bad(error) => error.fmt(f),
        }
    }
}

/// The object with this number, if it is in use.
pub fn live_object<M: Machine>(call: &Call<'_, '_, M>, number: usize) -> Result<Object, NotYours> {
    let object = call.shell.session.objects.get(number).ok_or(NotYours::NoNumber(number))?;
    if object.is_live {
        return Ok(object);
    }
    match slab::ksize(call.shell.machine.memory(), object.addr) {
        Ok(_) => Err(NotYours::Reused(number, object.addr)),
        Err(error) => Err(NotYours::Freed(number, error)),
    }
}

/// Frees what begins at `addr`.
fn give<M: Machine>(call: &mut Call<'_, '_, M>, addr: PhysAddr) -> Result<(), NotYours> {
    call.kernel(|memory, current| slab::kfree(memory, current, addr)).map_err(NotYours::Bad)
}

/// Frees object `number`.
fn free_object<M: Machine>(call: &mut Call<'_, '_, M>, number: usize) -> Result<(), NotYours> {
    let object = live_object(call, number)?;
    give(call, object.addr)?;
    call.shell.session.bury_object(number);
    Ok(())
}

/// A line for each word whose objects cannot all be freed, then one for the others.
fn run_kfree<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let args = call.args;
    // All of them are read before the first is freed.
    for word in args.words().filter(|word| *word != "all") {
        if is_address(word) { value::number(word).map(|_| ()) } else { value::handles(word).map(|_| ()) }?;
    }
    let (mut freed, mut status) = (0, Status::DONE);
    for word in args.words() {
        let result = match word {
            "all" => free_all(call, &mut freed),
            _ if is_address(word) => Ok(free_address(call, &mut freed, PhysAddr(value::number(word)?))),
            _ => free_range(call, &mut freed, value::handles(word)?),
        };
        if let Err(error) = result? {
            status = refuse(call, error)?;
        }
    }
    if freed > 0 || status == Status::DONE {
        writeln!(call, "freed {}", Count(freed, "object"))?;
    }
    Ok(status)
}

/// Whether a word is an address, not a number of an object.
fn is_address(word: &str) -> bool {
    word.starts_with("0x")
}

/// What became of one word: ^C, or what the first object said that cannot be freed.
type Freed = Result<Result<(), NotYours>, Trouble<'static>>;

/// Frees all objects but those of pools.
fn free_all<M: Machine>(call: &mut Call<'_, '_, M>, freed: &mut u64) -> Freed {
    let (mut next, mut result) = (1, Ok(()));
    let is_of_no_pool = |object: &Object| !matches!(object.origin, Origin::Pool(_));
    while let Some(number) = call.shell.session.objects.next_live(next, is_of_no_pool) {
        call.check_interrupt()?;
        next = number + 1;
        match free_object(call, number) {
            Ok(()) => *freed += 1,
            Err(error) => result = result.and(Err(error)),
        }
    }
    Ok(result)
}

fn free_range<M: Machine>(call: &mut Call<'_, '_, M>, freed: &mut u64, range: HandleRange) -> Freed {
    for number in range.first..=range.last {
        call.check_interrupt()?;
        if let Err(error) = free_object(call, number as usize) {
            return Ok(Err(error));
        }
        *freed += 1;
    }
    Ok(Ok(()))
}

/// Frees what begins at an address, if it is an object of the shell's; the kernel says what it is else.
fn free_address<M: Machine>(call: &mut Call<'_, '_, M>, freed: &mut u64, addr: PhysAddr) -> Result<(), NotYours> {
    if let Some(number) = call.shell.session.objects.find(addr) {
        return free_object(call, number).map(|()| *freed += 1);
    }
    match slab::ksize(call.shell.machine.memory(), addr) {
        Ok(0) => give(call, addr),
        Ok(_) => Err(NotYours::Others(addr)),
        Err(error) => Err(NotYours::Bad(error)),
    }
}

/// The number of one object: `#7`.
pub fn object_number(word: &str) -> Result<usize, ValueError<'_>> {
    let range = value::handles(word)?;
    if range.first == range.last { Ok(range.first as usize) } else { Err(ValueError::Handle(word)) }
}

fn run_krealloc<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let number = object_number(call.args.must(0))?;
    let bytes = value::number(call.args.must(1))?;
    let gfp = gfp_or_kernel(call, 2)?;
    let object = match live_object(call, number) {
        Ok(object) => object,
        Err(error) => return refuse(call, error),
    };
    match call.kernel(|memory, current| slab::krealloc(memory, current, object.addr, bytes, gfp)) {
        Ok(addr) => {
            call.shell.session.objects.move_to(number, addr);
            let source: Source<M> = Source { memory: call.shell.machine.memory(), bytes, gfp };
            if addr == object.addr {
                writeln!(call, "#{number} stays at {:#x}", addr.0)?;
            } else {
                writeln!(call, "#{number} {source} {:#x}, was at {:#x}", addr.0, object.addr.0)?;
            }
            Ok(Status::DONE)
        }
        Err(NoResize::Bad(error)) => refuse(call, error),
        Err(NoResize::NoObject(error)) => refuse(call, format_args!("NULL: {error}; #{number} is as it was")),
    }
}

/// One line about what was not done.
pub fn refuse<M: Machine>(call: &mut Call<'_, '_, M>, why: impl fmt::Display) -> Outcome<'static> {
    writeln!(call, "{why}")?;
    Ok(Status::REFUSED)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, run, shell};

    #[test]
    fn a_size_chooses_its_cache() {
        check(
            "kmalloc 100; kmalloc 8193; kmalloc 0; kmalloc 300 GFP_KERNEL|__GFP_RECLAIMABLE",
            "#1 kmalloc-128 0x[..]\n#2 pages of order 2 0x[..]\n#3 ZERO_SIZE_PTR 0x10\n#4 kmalloc-rcl-512 0x[..]",
        );
        check(
            "kmalloc 256 -n 40; kfree #2..#40; kfree all",
            "allocated 40 of 40 objects, kmalloc-256, #1..#40\nfreed 39 objects\nfreed 1 object",
        );
        let output = run(&mut shell(), "kmalloc 0x400001; echo $?");
        assert!(output.contains("NULL: at most 4 MiB come in a row, not 4194305 bytes\n1\n"), "{output}");
        let output = run(&mut shell(), "free to 0; kmalloc 4194304 GFP_NOWAIT|__GFP_NOWARN; echo $?");
        let refusal = "NULL: no block of order 10, mode:0x400200(GFP_NOWAIT|__GFP_NOWARN)\n1\n";
        assert!(output.ends_with(refusal), "{output}");
    }

    #[test]
    fn what_is_freed_twice_or_elsewhere_is_named_and_stays() {
        check("kmalloc 100; kfree #1; kfree #1; echo $?", "#1[..]\nfreed 1 object\n#1 was freed already: 0x[..]\n1");
        check(
            "kmalloc 100; kfree #1; kmalloc 100; kfree #1; kfree #2",
            "#1[..]\nfreed 1 object\n#2[..]\n#1 was freed already; what lies at 0x[..] now is somebody else's\n\
             freed 1 object",
        );
        check("kfree #1; echo $?", "there is no object #1\n1");
        check("kfree 7; echo $?", "kfree: `7` is not a handle[..]\n2");
        check(
            "kfree 0x1; kfree 0x10; kfree 0x99999999999",
            "freed 0 objects\nfreed 0 objects\n0x[..] is not memory[..]",
        );
        check("alloc GFP_KERNEL; kfree 0x42000000; echo $?", "#1[..]\n0x42000000 was not allocated by kmalloc[..]\n1");
    }

    #[test]
    fn an_address_is_as_good_as_a_number() {
        let mut shell = shell();
        let output = run(&mut shell, "kmalloc 100 -n 2");
        assert!(output.starts_with("allocated 2 of 2"), "{output}");
        let addr = shell.session.objects.get(1).unwrap().addr.0;
        let inside = run(&mut shell, &std::format!("kfree {:#x}; echo $?", addr + 8));
        assert!(inside.contains("is inside the object that starts at") && inside.ends_with("\n1\n"), "{inside}");
        assert_eq!(run(&mut shell, &std::format!("kfree {addr:#x}; kfree {addr:#x}")).lines().count(), 2);
        assert!(run(&mut shell, "kfree #1").contains("was freed already"));
        let block = run(&mut shell, "alloc GFP_KERNEL|__GFP_COMP -o 1");
        let pfn = block.split("pfn 0x").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let others = run(&mut shell, &std::format!("kfree 0x{pfn}000"));
        assert!(others.contains("is in use, but by no object of yours"), "{others}");
    }

    #[test]
    fn content_survives_another_size() {
        check(
            "kmalloc 100; krealloc #1 128; krealloc #1 5000; krealloc #2 1; kfree #1",
            "#1[..]\n#1 stays at 0x[..]\n#1 kmalloc-8k 0x[..], was at 0x[..]\nthere is no object #2\nfreed 1 object",
        );
        let output = run(&mut shell(), "kmalloc 100; krealloc #1 5000000; echo $?; kfree #1");
        assert!(output.ends_with("bytes; #1 is as it was\n1\nfreed 1 object\n"), "{output}");
    }
}
