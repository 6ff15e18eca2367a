//! `mempool`: memory pools, and objects of them.
//!
//! Objects have the numbers of `kmalloc`'s. Linux: `mm/mempool.c`.

use alloc::boxed::Box;
use core::fmt::{self, Write as _};

use kernel::addr::MAX_ORDER;
use kernel::mm::kmem_cache::{CacheName, KmemCache};
use kernel::mm::mempool::{self, Mempool, NoElement, Source};
use kernel::proc::json::Quoted;

use super::cache;
use super::kmalloc::{allocate, count, gfp_or_kernel, live_object, object_number, refuse};
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::objects::{Object, Origin};
use crate::status::{Outcome, Status, Trouble};
use crate::value::{self, ValueError};

/// Objects that a pool may set aside: as many as their list has room for in a block.
const MAX_NR: i64 = 1 << 19;

/// A pool with a name.
pub struct Pool {
    name: CacheName,
    pool: Box<Mempool<'static>>,
}

impl Pool {
    /// Whether the pool's objects come from `cache`.
    pub fn takes_from(&self, cache: &KmemCache) -> bool {
        matches!(self.pool.source(), Source::Cache(has) if has.number() == cache.number())
    }
}

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
HAS of SHOULD objects are set aside, USED are in the hands of the shell.
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
Refused while objects of it are in use.
Linux: mempool_destroy. See study note 0.",
        args: &[Arg::One("NAME", Kind::Text)],
        examples: &["mempool new bio 4 kmalloc 256; mempool destroy bio"],
        run: run_destroy,
    }
}

/// Place of the pool called `name`.
fn find<'a, M: Machine>(call: &Call<'_, 'a, M>, name: &'a str) -> Result<usize, Trouble<'a>> {
    let pools = &call.shell.session.pools;
    let place = pools.iter().position(|pool| pool.name.as_str() == name);
    let unknown = || value::unknown("pool", name, pools.iter().map(|pool| pool.name.as_str()));
    Ok(place.ok_or_else(unknown)?)
}

/// Objects of a pool that are in use.
fn used<M: Machine>(call: &Call<'_, '_, M>, name: CacheName) -> u64 {
    let objects = &call.shell.session.objects;
    let is_of_pool = |object: &Object| object.origin == Origin::Pool(name);
    let mut next = 1;
    let live = core::iter::from_fn(|| objects.next_live(next, is_of_pool).inspect(|number| next = number + 1));
    live.count() as u64
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
    if find(call, call.args.must(0)).is_ok() {
        return Err(Trouble::Refused("there is a pool of that name"));
    }
    call.shell.session.pools.try_reserve(1).map_err(|_| Trouble::OutOfHeap)?;
    match call.kernel(|memory, current| mempool::create(memory, current, nr, source)) {
        Ok(pool) => {
            call.shell.session.pools.push(Pool { name, pool: Box::new(pool) });
            Ok(Status::DONE)
        }
        Err(error) => refuse(call, format_args!("NULL: {error}")),
    }
}

fn run_list<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let json = call.json();
    if !json {
        writeln!(call, "{:<31} {:>7} {:>7} {:>7}  FROM", "POOL", "HAS", "SHOULD", "USED")?;
    }
    for place in 0..call.shell.session.pools.len() {
        let Pool { name, pool } = &call.shell.session.pools[place];
        let (name, (has, should), from) = (*name, pool.level(call.shell.machine.memory()), From(pool.source()));
        let used = used(call, name);
        if json {
            write!(call, r#"{{"pool":{},"has":{has},"should":{should},"#, Quoted(name.as_str()))?;
            writeln!(call, r#""used":{used},"from":"{from}"}}"#)?;
        } else {
            writeln!(call, "{name:<31} {has:>7} {should:>7} {used:>7}  {from}")?;
        }
    }
    Ok(Status::DONE)
}

/// Runs `f` with the pool at `place`.
fn with_pool<M: Machine, R>(
    call: &mut Call<'_, '_, M>,
    place: usize,
    f: impl FnOnce(&mut Call<'_, '_, M>, &Mempool<'static>) -> R,
) -> R {
    let pool = call.shell.session.pools.remove(place);
    let result = f(call, &pool.pool);
    call.shell.session.pools.insert(place, pool);
    result
}

fn run_alloc<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let place = find(call, call.args.must(0))?;
    let (gfp, count) = (gfp_or_kernel(call, 1)?, count(call)?);
    let name = call.shell.session.pools[place].name;
    let mut is_interrupted = false;
    let status = with_pool(call, place, |call, pool| {
        allocate(call, count, Origin::Pool(name), name, |call| {
            let element = call.kernel(|memory, current| mempool::alloc(memory, current, pool, gfp));
            if element == Err(NoElement::Interrupted) {
                // ^C that ended a wait is spent.
                is_interrupted = call.shell.machine.interrupted();
            }
            element
        })
    })?;
    Ok(if is_interrupted { Status::INTERRUPTED } else { status })
}

fn run_free<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let place = find(call, call.args.must(0))?;
    let number = object_number(call.args.must(1))?;
    let object = match live_object(call, number) {
        Ok(object) => object,
        Err(error) => return refuse(call, error),
    };
    if object.origin != Origin::Pool(call.shell.session.pools[place].name) {
        return refuse(call, format_args!("#{number} did not come from that pool"));
    }
    match with_pool(call, place, |call, pool| {
        call.kernel(|memory, current| mempool::free(memory, current, pool, object.addr))
    }) {
        Ok(()) => {
            call.shell.session.objects.bury(number);
            writeln!(call, "freed #{number}")?;
            Ok(Status::DONE)
        }
        Err(error) => refuse(call, error.named(call.shell.machine.memory())),
    }
}

fn run_resize<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let place = find(call, call.args.must(0))?;
    let nr = value::number_in("the number of objects", call.args.must(1), 1, MAX_NR)? as u32;
    match with_pool(call, place, |call, pool| call.kernel(|memory, current| mempool::resize(memory, current, pool, nr)))
    {
        Ok(has) => {
            writeln!(call, "{has} of {nr} objects are set aside")?;
            Ok(Status::DONE)
        }
        Err(error) => refuse(call, format_args!("NULL: {error}")),
    }
}

fn run_destroy<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let place = find(call, call.args.must(0))?;
    if used(call, call.shell.session.pools[place].name) > 0 {
        return Err(Trouble::Refused("objects of the pool are in use"));
    }
    let Pool { pool, .. } = call.shell.session.pools.remove(place);
    call.kernel(|memory, current| mempool::destroy(memory, current, *pool));
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
