//! `cache`: slab caches, and objects of them.
//!
//! Objects have the numbers of `kmalloc`'s. Linux: `kmem_cache_create` and its kin.

use core::fmt::Write as _;

use kernel::mm::kmem_cache::{CacheFlags, KmemCache};
use kernel::mm::slab::{self, Valid};
use kernel::proc::slabinfo::Row;

use super::kmalloc::{allocate, count, gfp_or_kernel, live_object, object_number, refuse};
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::count::Count;
use crate::machine::Machine;
use crate::objects::Origin;
use crate::status::{Outcome, Status, Trouble};
use crate::value::{self, Search, ValueError};

/// `cache new NAME SIZE [--align N] [--reclaim] [--debug]`
pub const fn new<M: Machine>() -> Command<M> {
    Command {
        name: "cache new",
        summary: "make a slab cache",
        help: "\
SIZE is that of its objects. --reclaim counts its pages as reclaimable and
keeps them together; --debug surrounds every object with a redzone and fills
free ones with poison, so that whoever writes where he should not is found.
Linux: kmem_cache_create. Study note 2 tells of kmalloc, which takes
from such caches.",
        args: &[
            Arg::One("NAME", Kind::Text),
            Arg::One("SIZE", Kind::Number),
            Arg::Opt("--align", "N", Kind::Number),
            Arg::Flag("--reclaim"),
            Arg::Flag("--debug"),
        ],
        examples: &["cache new inode 600 --reclaim; cache ls", "cache new odd 100 --align 64 --debug"],
        run: run_new,
    }
}

/// `cache ls [NAME] [--json]`
pub const fn list<M: Machine>() -> Command<M> {
    Command {
        name: "cache ls",
        summary: "list the slab caches, the newest first",
        help: "\
Objects in use and all objects, bytes of one, objects and pages of a slab,
slabs. cat /proc/slabinfo prints the same as Linux does.
Linux: s_show. See study note 2.",
        args: &[Arg::Maybe("NAME", Kind::Text), Arg::Flag("--json")],
        examples: &["cache ls", "cache ls kmalloc-1k"],
        run: run_list,
    }
}

/// `cache alloc NAME [GFP] [-n COUNT]`
pub const fn alloc<M: Machine>() -> Command<M> {
    Command {
        name: "cache alloc",
        summary: "take objects from a slab cache",
        help: "\
GFP is GFP_KERNEL unless you say otherwise.
Linux: kmem_cache_alloc. See study note 2 for the flags.",
        args: &[Arg::One("NAME", Kind::Text), Arg::Maybe("GFP", Kind::Gfp), Arg::Opt("-n", "COUNT", Kind::Count)],
        examples: &["cache alloc kmalloc-256 GFP_ATOMIC -n 20; cache ls kmalloc-256; kfree all"],
        run: run_alloc,
    }
}

/// `cache free NAME OBJECT`
pub const fn free<M: Machine>() -> Command<M> {
    Command {
        name: "cache free",
        summary: "give an object back to a slab cache",
        help: "\
The cache must be the object's own: an object of another one is refused, and
nothing changes. kfree finds the cache by itself.
Linux: kmem_cache_free. See study note 2.",
        args: &[Arg::One("NAME", Kind::Text), Arg::One("OBJECT", Kind::Text)],
        examples: &["cache alloc kmalloc-256; cache free kmalloc-256 #1"],
        run: run_free,
    }
}

/// `cache shrink NAME`
pub const fn shrink<M: Machine>() -> Command<M> {
    Command {
        name: "cache shrink",
        summary: "give the empty slabs of a cache back",
        help: "\
Prints how many slabs are left; 0 if no object is in use.
Linux: kmem_cache_shrink. See study note 2.",
        args: &[Arg::One("NAME", Kind::Text)],
        examples: &["kmalloc 1000; kfree #1; cache shrink kmalloc-1k"],
        run: run_shrink,
    }
}

/// `cache check NAME`
pub const fn check<M: Machine>() -> Command<M> {
    Command {
        name: "cache check",
        summary: "look at every free object of a cache",
        help: "\
Takes the cache's slabs away from all CPUs, and finds what somebody wrote to a
free object since it was freed, before the next one who gets it does: in any
cache the link to the next free object, with --debug every byte.
Linux: echo 1 > /sys/kernel/slab/NAME/validate, validate_slab_cache. See study
note 2.",
        args: &[Arg::One("NAME", Kind::Text)],
        examples: &["cache new mine 100 --debug; cache alloc mine -n 3; cache check mine"],
        run: run_check,
    }
}

/// `cache destroy NAME`
pub const fn destroy<M: Machine>() -> Command<M> {
    Command {
        name: "cache destroy",
        summary: "give a slab cache up",
        help: "\
Refused while an object is in use, or a pool takes from it, and for the caches
of kmalloc.
Linux: kmem_cache_destroy. See study note 2.",
        args: &[Arg::One("NAME", Kind::Text)],
        examples: &["cache new mine 40; cache destroy mine"],
        run: run_destroy,
    }
}

/// The cache called `name`.
pub fn find<'a, M: Machine>(call: &Call<'_, 'a, M>, name: &'a str) -> Result<&'static KmemCache, Trouble<'a>> {
    let slabs = &call.shell.machine.memory().slabs;
    slabs.find(name).ok_or_else(|| {
        let mut search = Search::new(name);
        slabs.iter().for_each(|cache| search.offer(cache.name().as_str()));
        ValueError::Unknown { what: "cache", word: name, nearest: search.nearest() }.into()
    })
}

fn run_new<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let size = value::number(call.args.must(1))?;
    let align = call.args.option("--align").map_or(Ok(0), value::number)?;
    let flag = |name, flags| if call.args.flag(name) { flags } else { CacheFlags::empty() };
    let debug = CacheFlags::CONSISTENCY_CHECKS | CacheFlags::RED_ZONE | CacheFlags::POISON;
    let flags = flag("--reclaim", CacheFlags::RECLAIM_ACCOUNT) | flag("--debug", debug);
    match call.shell.machine.memory().slabs.create(call.args.must(0), size, align, flags) {
        Ok(cache) => {
            let layout = cache.layout();
            let objects = layout.objects(layout.order);
            writeln!(
                call,
                "{}: {objects} objects of {} bytes in a slab of order {}",
                cache.name(),
                layout.size,
                layout.order
            )?;
            Ok(Status::DONE)
        }
        Err(error) => refuse(call, error),
    }
}

fn run_list<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let one = call.args.word(0).map(|name| find(call, name)).transpose()?;
    let memory = call.shell.machine.memory();
    if !call.json() {
        writeln!(
            call,
            "{:<31} {:>7} {:>7} {:>7} {:>5} {:>5} {:>6}",
            "CACHE", "ACTIVE", "ALL", "BYTES", "OBJS", "PAGES", "SLABS"
        )?;
    }
    for cache in memory.slabs.iter().filter(|cache| one.is_none_or(|one| one.number() == cache.number())) {
        let row = Row::of(memory, cache);
        if call.json() {
            row.write_json(call)?;
            continue;
        }
        let layout = row.info.layout;
        write!(call, "{:<31} {:>7} {:>7} ", row.name, row.info.active_objs, row.info.num_objs)?;
        let (objects, pages) = row.per_slab();
        writeln!(call, "{:>7} {objects:>5} {pages:>5} {:>6}", layout.size, row.info.num_slabs)?;
    }
    Ok(Status::DONE)
}

fn run_alloc<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let cache = find(call, call.args.must(0))?;
    let (gfp, count) = (gfp_or_kernel(call, 1)?, count(call)?);
    allocate(call, count, Origin::Cache(cache.name()), cache.name(), |call| {
        call.kernel(|memory, current| slab::kmem_cache_alloc(memory, current, cache, gfp))
    })
}

fn run_free<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let cache = find(call, call.args.must(0))?;
    let number = object_number(call.args.must(1))?;
    let object = match live_object(call, number) {
        Ok(object) => object,
        Err(error) => return refuse(call, error),
    };
    match call.kernel(|memory, current| slab::kmem_cache_free(memory, current, cache, object.addr)) {
        Ok(()) => {
            call.shell.session.bury_object(number);
            writeln!(call, "freed #{number}")?;
            Ok(Status::DONE)
        }
        Err(error) => refuse(call, error.named(call.shell.machine.memory())),
    }
}

fn run_shrink<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let cache = find(call, call.args.must(0))?;
    let slabs = call.kernel(|memory, current| slab::kmem_cache_shrink(memory, current, cache));
    writeln!(call, "{}: {} left", cache.name(), Count(slabs, "slab"))?;
    Ok(Status::DONE)
}

fn run_check<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let cache = find(call, call.args.must(0))?;
    match call.kernel(|memory, current| slab::kmem_cache_validate(memory, current, cache)) {
        Ok(Valid { objects, slabs }) => {
            let (objects, slabs) = (Count(objects, "free object"), Count(slabs, "partial slab"));
            writeln!(call, "{}: {objects} in {slabs}, as they were left", cache.name())?;
            Ok(Status::DONE)
        }
        Err(error) => refuse(call, error),
    }
}

fn run_destroy<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let cache = find(call, call.args.must(0))?;
    if call.shell.session.commons.takes_from(cache) {
        return Err(Trouble::Refused("a pool takes from that cache; mempool destroy it first"));
    }
    if call.shell.session.commons.has_net() && cache.name().as_str() == "skbuff_head_cache" {
        return Err(Trouble::Refused("the network takes from that cache"));
    }
    match call.kernel(|memory, current| slab::kmem_cache_destroy(memory, current, cache)) {
        Ok(()) => Ok(Status::DONE),
        Err(error) => refuse(call, error),
    }
}

#[cfg(test)]
mod tests {
    use crate::machine::Machine;
    use crate::testing::{check, run, shell};
    use kernel::addr::PhysAddr;
    use kernel::mm::memory::{Env, LinearMap};

    #[test]
    fn a_cache_lives_from_new_to_destroy() {
        check(
            "cache new mine 40; cache alloc mine -n 5; cache ls mine; cache destroy mine; echo $?\n\
             kfree all; cache shrink mine; cache destroy mine; cache ls mine; echo $?",
            "mine: 102 objects of 40 bytes in a slab of order 0\n\
             allocated 5 of 5 objects, mine, #1..#5\n\
             CACHE                            ACTIVE     ALL   BYTES  OBJS PAGES  SLABS\n\
             mine                                102     102      40   102     1      1\n\
             [[..] BUG mine (Not tainted): Objects remaining[..]\n[[..] kmem_cache_destroy mine: [..]\n\
             a slab of the cache still has objects in use\n1\n\
             freed 5 objects\nmine: 0 slabs left\ncache ls: no cache `mine`[..]\n2",
        );
    }

    #[test]
    fn an_object_goes_back_to_its_own_cache() {
        check(
            "cache new mine 256; cache alloc mine; cache free kmalloc-256 #1; echo $?; cache free mine #1; cache free mine #1",
            "mine: [..]\n#1 mine 0x[..]\n[[..] cache_from_obj: Wrong slab cache. [..]\n\
             0x[..] is an object of cache mine, not of cache kmalloc-256\n1\nfreed #1\n\
             #1 was freed already: 0x[..]",
        );
    }

    #[test]
    fn a_write_to_a_free_object_is_found() {
        let mut shell = shell();
        run(&mut shell, "cache new mine 64 --debug; cache alloc mine -n 2");
        let object = shell.session.objects.get(1).unwrap().addr;
        assert_eq!(
            run(&mut shell, "kfree #1; cache check mine; cache shrink mine"),
            "freed 1 object\nmine: 41 free objects in 1 partial slab, as they were left\nmine: 1 slab left\n"
        );
        shell.machine.memory().env.linear().write_word(PhysAddr(object.0 + 8), 0);
        let output = run(&mut shell, "cache check mine; echo $?");
        assert!(output.contains(", in a free object, is 0x00 instead of 0x6b\n1\n"), "{output}");
    }

    #[test]
    fn bad_caches_are_refused() {
        check("cache new kmalloc-1k 64; echo $?", "there is a cache kmalloc-1k already\n1");
        check("cache new mine 4; echo $?", "an object has 8 to [..] bytes, not 4\n1");
        check("cache destroy kmalloc-1k; echo $?", "cache kmalloc-1k belongs to kmalloc and stays\n1");
        check("cache shrink kmalloc-1K; echo $?", "cache shrink: no cache `kmalloc-1K`; did you mean `kmalloc-1k`?\n2");
    }

    #[test]
    fn an_overrun_is_found_when_the_object_comes_back() {
        let mut shell = shell();
        let output = run(&mut shell, "cache new checked 100 --debug; cache alloc checked");
        assert!(output.contains("#1 checked 0x"), "{output}");
        // The last 4 of these 8 bytes are the redzone.
        let object = shell.session.objects.get(1).unwrap().addr;
        let memory = shell.machine.memory();
        memory.env.linear().write_word(PhysAddr(object.0 + 96), 0);
        let output = run(&mut shell, "kfree #1; echo $?");
        assert!(output.contains("beside the object at") && output.ends_with("\n1\n"), "{output}");
    }
}
