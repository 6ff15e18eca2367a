//! `mempool`: memory pools, and objects of them.
//!
//! Objects have the numbers of `kmalloc`'s. Linux: `mm/mempool.c`.

use alloc::sync::Arc;
use core::fmt::{self, Write as _};

use kernel::addr::MAX_ORDER;
use kernel::mm::kmem_cache::CacheName;
use kernel::mm::mempool::{self, NoElement, Source};
use kernel::proc::json::Quoted;

use super::cache;
use super::kmalloc::{allocate, count, gfp_or_kernel, live_object, object_number, refuse};
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::commons::{Pool, PoolInUse};
use crate::handles::NoRoom;
use crate::machine::Machine;
use crate::objects::Origin;
use crate::status::{Outcome, Status, Trouble};
use crate::value::{self, ValueError};

/// Objects that a pool may set aside: as many as their list has room for in a block.
const MAX_NR: i64 = 1 << 19;

/// Where a pool's objects come from, in words.
struct From(Source<'static>);

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Source::Cache(cache) => write!(f, "cache {}", cache.name()),
            Source::Kmalloc(bytes) => write!(f, "kmalloc {bytes}"),
            Source::Pages(order) => write!(f, "pages {order}"),
        }
    }
}

/// `mempool new NAME N cache|kmalloc|pages SOURCE`
pub const fn new<M: Machine>() -> Command<M> {
    Command {
        name: "mempool new",
        summary: "make a memory pool that sets N objects aside",
        help: "\
They come from a slab cache (cache NAME), from kmalloc (kmalloc BYTES) or from
the page allocator (pages ORDER). Who cleans memory takes from a pool so as
not to wait for memory, and needs no PF_MEMALLOC for that.
Linux: mempool_create. Study note 0 tells what becomes of those who use
PF_MEMALLOC instead.",
        args: &[
            Arg::One("NAME", Kind::Text),
            Arg::One("N", Kind::Number),
            Arg::One("FROM", Kind::Choice(&["cache", "kmalloc", "pages"])),
            Arg::One("CACHE|BYTES|ORDER", Kind::Text),
        ],
        examples: &["mempool new bio 4 kmalloc 256; mempool ls", "mempool new page 2 pages 0"],
        run: run_new,
    }
}

/// `mempool ls [--json]`
pub const fn list<M: Machine>() -> Command<M> {
    Command {
        name: "mempool ls",
        summary: "list the memory pools",
        help: "\
HAS of SHOULD objects are set aside, USED are in the hands of the shell and
its jobs.
Linux has no such list; the figures are curr_nr and min_nr of mempool_t. See
study note 0.",
        args: &[Arg::Flag("--json")],
        examples: &["mempool new bio 4 kmalloc 256; mempool ls"],
        run: run_list,
    }
}

/// `mempool alloc NAME [GFP] [-n COUNT]`
pub const fn alloc<M: Machine>() -> Command<M> {
    Command {
        name: "mempool alloc",
        summary: "take objects from a memory pool",
        help: "\
The pool asks where its objects come from without an effort, then gives one
that it has set aside, then asks again with all the effort that GFP allows.
If GFP lets it sleep it waits for an object to come back, until ^C. It never
uses the reserves of the page allocator.
Linux: mempool_alloc. See study note 0.",
        args: &[Arg::One("NAME", Kind::Text), Arg::Maybe("GFP", Kind::Gfp), Arg::Opt("-n", "COUNT", Kind::Count)],
        examples: &["mempool new io 4 kmalloc 256; mempool alloc io GFP_NOIO -n 6"],
        run: run_alloc,
    }
}

/// `mempool free NAME OBJECT`
pub const fn free<M: Machine>() -> Command<M> {
    Command {
        name: "mempool free",
        summary: "give an object back to a memory pool",
        help: "\
The pool keeps it if too few are set aside, and wakes who waits; else it goes
back where it came from.
Linux: mempool_free. See study note 0.",
        args: &[Arg::One("NAME", Kind::Text), Arg::One("OBJECT", Kind::Text)],
        examples: &["mempool new bio 4 kmalloc 256; mempool alloc bio; mempool free bio #1"],
        run: run_free,
    }
}

/// `mempool resize NAME N`
pub const fn resize<M: Machine>() -> Command<M> {
    Command {
        name: "mempool resize",
        summary: "set another number of objects aside",
        help: "\
Those that are too many go back; those that are missing are allocated, as far
as that goes.
Linux: mempool_resize. See study note 0.",
        args: &[Arg::One("NAME", Kind::Text), Arg::One("N", Kind::Number)],
        examples: &["mempool new bio 4 kmalloc 256; mempool resize bio 9; mempool ls"],
        run: run_resize,
    }
}

/// `mempool destroy NAME`
pub const fn destroy<M: Machine>() -> Command<M> {
    Command {
        name: "mempool destroy",
        summary: "give a memory pool up, and what it has set aside",
        help: "\
Refused while objects of it are in use, or a job works with it.
Linux: mempool_destroy. See study note 0.",
        args: &[Arg::One("NAME", Kind::Text)],
        examples: &["mempool new bio 4 kmalloc 256; mempool destroy bio"],
        run: run_destroy,
    }
}

/// The pool that the first word names.
fn named<'a, M: Machine>(call: &Call<'_, 'a, M>) -> Result<Arc<Pool>, Trouble<'a>> {
    Ok(call.shell.session.commons.pool(call.args.must(0))?)
}

fn run_new<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let name = CacheName::new(call.args.must(0)).ok_or(Trouble::Usage("a pool's name has 1 to 31 bytes"))?;
    let nr = value::number_in("the number of objects", call.args.must(1), 0, MAX_NR)? as u32;
    let source = match (call.args.must(2), call.args.must(3)) {
        ("cache", name) => Source::Cache(cache::find(call, name)?),
        ("kmalloc", word) => Source::Kmalloc(value::number_in("the size", word, 1, 1 << 22)? as u64),
        ("pages", word) => Source::Pages(value::number_in("order", word, 0, i64::from(MAX_ORDER) - 1)? as u32),
        (word, _) => return Err(ValueError::Unknown { what: "source", word, nearest: None }.into()),
    };
    const THERE_IS_ONE: Trouble<'_> = Trouble::Refused("there is a pool of that name");
    if named(call).is_ok() {
        return Err(THERE_IS_ONE);
    }
    let pool = match call.kernel(|memory, current| mempool::create(memory, current, nr, source)) {
        Ok(pool) => pool,
        Err(error) => return refuse(call, format_args!("NULL: {error}")),
    };
    let Err((pool, no_room)) = call.shell.session.commons.add_pool(name, pool) else { return Ok(Status::DONE) };
    call.kernel(|memory, current| mempool::destroy(memory, current, pool));
    Err(no_room.map_or(THERE_IS_ONE, |NoRoom| Trouble::OutOfHeap))
}

fn run_list<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let json = call.json();
    if !json {
        writeln!(call, "{:<31} {:>7} {:>7} {:>7}  FROM", "POOL", "HAS", "SHOULD", "USED")?;
    }
    let commons = call.shell.session.commons.clone();
    for pool in (0..).map_while(|place| commons.nth_pool(place)) {
        let (has, should) = pool.mempool().level(call.shell.machine.memory());
        let (name, used, from) = (pool.name(), pool.used(), From(pool.mempool().source()));
        if json {
            write!(call, r#"{{"pool":{},"has":{has},"should":{should},"#, Quoted(name.as_str()))?;
            writeln!(call, r#""used":{used},"from":"{from}"}}"#)?;
        } else {
            writeln!(call, "{name:<31} {has:>7} {should:>7} {used:>7}  {from}")?;
        }
    }
    Ok(Status::DONE)
}

fn run_alloc<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let pool = named(call)?;
    let (gfp, count) = (gfp_or_kernel(call, 1)?, count(call)?);
    let mut is_interrupted = false;
    let status = allocate(call, count, Origin::Pool(pool.name()), pool.name(), |call| {
        let element = call.kernel(|memory, current| mempool::alloc(memory, current, pool.mempool(), gfp));
        match element {
            Ok(_) => pool.count_taken(),
            // ^C that ended a wait is spent.
            Err(NoElement::Interrupted) => is_interrupted = call.shell.machine.interrupted(),
            Err(_) => {}
        }
        element
    })?;
    Ok(if is_interrupted { Status::INTERRUPTED } else { status })
}

fn run_free<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let pool = named(call)?;
    let number = object_number(call.args.must(1))?;
    let object = match live_object(call, number) {
        Ok(object) => object,
        Err(error) => return refuse(call, error),
    };
    if object.origin != Origin::Pool(pool.name()) {
        return refuse(call, format_args!("#{number} did not come from that pool"));
    }
    match call.kernel(|memory, current| mempool::free(memory, current, pool.mempool(), object.addr)) {
        Ok(()) => {
            call.shell.session.bury_object(number);
            writeln!(call, "freed #{number}")?;
            Ok(Status::DONE)
        }
        Err(error) => refuse(call, error.named(call.shell.machine.memory())),
    }
}

fn run_resize<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let pool = named(call)?;
    let nr = value::number_in("the number of objects", call.args.must(1), 1, MAX_NR)? as u32;
    match call.kernel(|memory, current| mempool::resize(memory, current, pool.mempool(), nr)) {
        Ok(has) => {
            writeln!(call, "{has} of {nr} objects are set aside")?;
            Ok(Status::DONE)
        }
        Err(error) => refuse(call, format_args!("NULL: {error}")),
    }
}

fn run_destroy<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let pool = named(call)?;
    let pool = call.shell.session.commons.remove_pool(pool).map_err(|in_use| match in_use {
        PoolInUse::Objects => Trouble::Refused("objects of the pool are in use"),
        PoolInUse::Command => Trouble::Refused("a job works with the pool; wait for it, or kill it"),
    })?;
    call.kernel(|memory, current| mempool::destroy(memory, current, pool));
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use crate::testing::{assert_prints, check, run, shell};

    #[test]
    fn a_pool_gives_what_it_set_aside_when_nothing_else_is_left() {
        let mut shell = shell();
        run(&mut shell, "mempool new page 4 pages 0; free to 0 DMA32");
        let output = run(&mut shell, "mempool alloc page GFP_NOWAIT -n 5; echo $?; mempool ls");
        assert!(output.starts_with("allocated 4 of 5 objects, page, #"), "{output}");
        assert!(output.contains("\nNULL: the pool is empty, and "), "{output}");
        assert!(output.contains("\n1\nPOOL") && output.contains(" 0       4       4  pages 0\n"), "{output}");
        let last = shell.session.handles.last();
        let output = run(
            &mut shell,
            &std::format!("mempool free page #{last}; mempool alloc page GFP_NOWAIT; mempool destroy page; echo $?"),
        );
        assert!(
            output.starts_with(&std::format!("freed #{last}\n#{} page 0x", last + 1))
                && output.ends_with("in use\n1\n"),
            "{output}"
        );
    }

    #[test]
    fn a_wait_for_an_object_that_nobody_gives_back_is_called_off_on_a_host() {
        let mut shell = shell();
        run(&mut shell, "mempool new page 4 pages 0; free to 0 DMA32");
        let output = run(&mut shell, "mempool alloc page GFP_NOIO -n 5\necho $?; mempool ls");
        let expected = "[..] the shell waits for what nobody here will ever do: called off, as by ^C\n\
             allocated 4 of 5 objects, page, #[..]\n\
             NULL: interrupted while waiting for an object to come back\n130\n\
             POOL[..]\npage  [..] 0       4       4  pages 0";
        assert_prints(&output, expected);
    }

    #[test]
    fn pools_grow_shrink_and_go() {
        check(
            "mempool new bio 4 kmalloc 256; mempool resize bio 9; mempool resize bio 2; mempool alloc bio; mempool free bio #1\n\
             mempool ls; mempool destroy bio; mempool ls",
            "9 of 9 objects are set aside\n2 of 2 objects are set aside\n#1 bio 0x[..]\nfreed #1\n\
             POOL                                HAS  SHOULD    USED  FROM\n\
             bio                                   2       2       0  kmalloc 256\n\
             POOL                                HAS  SHOULD    USED  FROM",
        );
    }

    #[test]
    fn an_object_that_went_past_the_pool_is_not_in_use() {
        check(
            "mempool new bio 1 kmalloc 64; mempool alloc bio; kfree #1; mempool ls; mempool destroy bio; echo $?",
            "#1 bio 0x[..]\nfreed 1 object\nPOOL[..]\nbio [..] 1       1       0  kmalloc 64\n0",
        );
    }

    #[test]
    fn mistakes_are_named() {
        check("mempool alloc bio; echo $?", "mempool alloc: no pool `bio`\n2");
        check("mempool new bio 4 slab x; echo $?", "mempool new: no source `slab`\n2");
        check("mempool new bio 1 cache kmaloc-1k; echo $?", "mempool new: no cache `kmaloc-1k`; did you mean[..]\n2");
        check(
            "mempool new bio 1 kmalloc 64; kmalloc 64; mempool free bio #1; echo $?; mempool free bio #2; echo $?",
            "#1[..]\n#1 did not come from that pool\n1\nthere is no object #2\n1",
        );
        check(
            "mempool new bio 1 kmalloc 64; mempool new bio 1 kmalloc 64",
            "mempool new: there is a pool of that name",
        );
        check(
            "cache new mine 64; mempool new bio 1 cache mine; cache destroy mine; echo $?",
            "mine: [..]\ncache destroy: a pool takes from that cache; mempool destroy it first\n1",
        );
    }
}
