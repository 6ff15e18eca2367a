//! Every misuse has its own error and its own report, and changes nothing.

use super::*;
use crate::host::HostMachine;
use crate::mm::kmem_cache::CacheError;
use crate::mm::memory::LinearMap;

/// A misuse that is refused with `error` and `reports`, and changes neither pages nor caches.
#[track_caller]
fn refused(lab: &Lab<'_>, misuse: impl FnOnce() -> Result<(), BadFree>, error: BadFree, reports: &str) {
    let state = || {
        let caches: Vec<_> = lab.memory.slabs.iter().map(|cache| lab.figures(cache)).collect();
        (lab.state(), caches, lab.slab_pages())
    };
    let before = state();
    let mut found = Ok(());
    let said = logged(|| found = misuse());
    assert_eq!((found, said.as_str()), (Err(error), reports));
    assert!(before == state());
}

#[test]
fn bad_addresses_are_told_apart() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("odd", 96, CacheFlags::empty());
    let (object, page) = (lab.get(cache), lab.alloc(Gfp::GFP_KERNEL, 0).unwrap());
    let large = lab.kmalloc(10_000, Gfp::GFP_KERNEL).unwrap();
    let [inside, slack] = [8, 42 * 96].map(|offset| PhysAddr(object.0 + offset));
    let nowhere = PhysAddr(0x9000_0000);
    let foreign = page.addr();
    let middle = PhysAddr(large.0 + 8192);
    refused(&lab, || lab.kfree(nowhere), BadFree::NotMemory(nowhere), "");
    refused(&lab, || lab.kfree(foreign), BadFree::Foreign(foreign), "");
    refused(&lab, || lab.kfree(inside), BadFree::Inside(inside, object), "");
    refused(&lab, || lab.kfree(slack), BadFree::NoObject(slack), "");
    refused(&lab, || lab.kfree(middle), BadFree::Inside(middle, large), "");
    refused(&lab, || lab.put(cache, large), BadFree::Foreign(large), "");
    let free_page = lab.kmalloc(10_000, Gfp::GFP_KERNEL).unwrap();
    lab.kfree(free_page).unwrap();
    refused(&lab, || lab.kfree(free_page), BadFree::Foreign(free_page), "");
    assert_eq!((lab.kfree(object), lab.kfree(large)), (Ok(()), Ok(())));
}

/// krealloc found out that the old object stays when it had the new one, which was lost then.
#[test]
fn what_was_to_replace_an_object_goes_when_the_object_stays() {
    let machine = HostMachine::new("slub_debug=Z", &[(0x4000_0000, 64 * MIB, 0)], &[]);
    let lab = Lab::new(&machine);
    let object = lab.kmalloc(128, Gfp::GFP_KERNEL).unwrap();
    let behind = PhysAddr(object.0 + 128);
    lab.memory.env.write(behind, 7);
    let grown = krealloc(&lab.memory, &lab.current(), object, 500, Gfp::GFP_KERNEL);
    assert_eq!(grown, Err(kmalloc::NoResize::Bad(BadFree::Overrun(object, behind, 7))));
    assert_eq!(lab.shrink(lab.cache("kmalloc-512")), 0);
}

#[test]
fn an_object_goes_back_to_its_own_cache_only() {
    let machine = board();
    let lab = Lab::new(&machine);
    let (one, other) = (lab.cache("kmalloc-128"), lab.cache("kmalloc-256"));
    let object = lab.kmalloc(100, Gfp::GFP_KERNEL).unwrap();
    refused(
        &lab,
        || lab.put(other, object),
        BadFree::WrongCache(object, one.number(), other.number()),
        "cache_from_obj: Wrong slab cache. kmalloc-256 but object is from kmalloc-128\n",
    );
    let named = lab.put(other, object).unwrap_err().named(&lab.memory).to_string();
    assert!(named.ends_with(" is an object of cache kmalloc-128, not of cache kmalloc-256"), "{named}");
    assert_eq!(lab.put(one, object), Ok(()));
}

#[test]
fn a_free_object_is_not_freed_again_wherever_it_is() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("mine", 512, CacheFlags::empty());
    let objects: Vec<_> = (0..3 * 8).map(|_| lab.get(cache)).collect();
    // The last slab is the CPU's own; objects of the first go to a spare slab, then to a partial one.
    for object in [objects[23], objects[0], objects[1]] {
        lab.put(cache, object).unwrap();
        let said =
            format!("BUG mine (Not tainted): Object already free\nFIX mine: Object at {:#x} not freed\n", object.0);
        refused(&lab, || lab.put(cache, object), BadFree::AlreadyFree(object), &said);
    }
    lab.shrink(cache);
    for object in [objects[23], objects[0]] {
        assert_eq!(lab.put(cache, object), Err(BadFree::AlreadyFree(object)));
    }
}

#[test]
fn an_object_that_was_never_written_is_freed_once() {
    let machine = board();
    let lab = Lab::new(&machine);
    let object = lab.kmalloc(64, Gfp::GFP_KERNEL).unwrap();
    assert_eq!((lab.kfree(object), lab.kfree(object)), (Ok(()), Err(BadFree::AlreadyFree(object))));
}

#[test]
fn a_write_after_free_is_found_before_the_next_owner_gets_there() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("mine", 512, CacheFlags::empty());
    let objects: Vec<_> = (0..4).map(|_| lab.get(cache)).collect();
    lab.put(cache, objects[0]).unwrap();
    lab.memory.env.write(PhysAddr(objects[0].0 + 5), 0x77);
    let mut next = PhysAddr(0);
    let said = logged(|| next = lab.get(cache));
    assert_eq!(
        said,
        format!(
            "BUG mine (Not tainted): Freechain corrupt\nINFO: {:#x}. A free object was written to\n\
             FIX mine: Freelist cleared\n",
            objects[0].0
        )
    );
    assert_ne!(next.pfn(), objects[0].pfn());
    // The slab still takes its objects back, and gives them out again.
    lab.put(cache, objects[1]).unwrap();
    lab.assert_sound();
}

#[test]
fn a_partial_slab_with_a_broken_chain_leaves_the_list() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("mine", 512, CacheFlags::empty());
    let objects: Vec<_> = (0..4).map(|_| lab.get(cache)).collect();
    lab.put(cache, objects[3]).unwrap();
    lab.shrink(cache);
    assert_eq!(lab.validate(cache), Ok(5));
    lab.memory.env.linear().write_word(objects[3], 7);
    assert_eq!(lab.validate(cache), Err(Invalid::Chain(objects[3])));
    let said = logged(|| lab.put(cache, objects[2]).unwrap());
    assert!(said.contains("Freechain corrupt"), "{said}");
    assert_eq!(lab.validate(cache), Ok(1));
    assert_eq!(lab.get(cache), objects[2]);
    assert_ne!(lab.get(cache).pfn(), objects[2].pfn());
}

#[test]
fn an_overrun_is_found_when_the_object_comes_back() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("zoned", 20, CacheFlags::RED_ZONE);
    let object = lab.get(cache);
    for (offset, byte) in [(20, 0), (23, 1), (-1_i64, 2)] {
        let at = PhysAddr(object.0.wrapping_add_signed(offset));
        lab.memory.env.write(at, byte);
        let said = format!(
            "BUG zoned (Not tainted): Redzone overwritten\nINFO: {:#x}. First byte {byte:#x} instead of 0xcc\n\
             FIX zoned: Object at {:#x} not freed\n",
            at.0, object.0
        );
        refused(&lab, || lab.put(cache, object), BadFree::Overrun(object, at, byte), &said);
        lab.memory.env.write(at, 0xcc);
    }
    assert_eq!((lab.put(cache, object), lab.put(cache, object)), (Ok(()), Err(BadFree::AlreadyFree(object))));
    assert_eq!(lab.shrink(cache), 0);
}

#[test]
fn padding_counts_as_overrun_without_redzones() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("padded", 20, CacheFlags::POISON);
    let object = lab.get(cache);
    assert_eq!([0, 18, 19, 20].map(|at| lab.memory.env.read(PhysAddr(object.0 + at))), [0x6b, 0x6b, 0xa5, 0x5a]);
    let at = PhysAddr(object.0 + 21);
    lab.memory.env.write(at, 9);
    assert_eq!(lab.put(cache, object), Err(BadFree::Overrun(object, at, 9)));
}

#[test]
fn use_after_free_takes_the_slab_out_of_use() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("poisoned", 100, CacheFlags::POISON | CacheFlags::RED_ZONE);
    let object = lab.get(cache);
    lab.put(cache, object).unwrap();
    lab.memory.env.write(PhysAddr(object.0 + 50), 0);
    let invalid = lab.validate(cache);
    assert!(matches!(invalid, Err(Invalid::Bytes(found)) if found.at.0 == object.0 + 50), "{invalid:?}");
    let mut next = PhysAddr(0);
    let said = logged(|| next = lab.get(cache));
    assert_eq!(
        said,
        format!(
            "BUG poisoned (Not tainted): Poison overwritten\nINFO: {:#x}. First byte 0x0 instead of 0x6b\n\
             FIX poisoned: Marking all objects used\n",
            object.0 + 50
        )
    );
    assert_ne!(next.pfn(), object.pfn());
}

#[test]
fn caches_in_use_and_those_of_kmalloc_stay() {
    let machine = board();
    let lab = Lab::new(&machine);
    let (memory, current) = (&lab.memory, lab.current());
    let cache = lab.make("mine", 64, CacheFlags::empty());
    let object = lab.get(cache);
    let mut result = Ok(());
    let said = logged(|| result = kmem_cache_destroy(memory, &current, cache));
    assert_eq!(result, Err(CacheError::Busy(1)));
    assert_eq!(
        said,
        "BUG mine (Not tainted): Objects remaining in mine on __kmem_cache_shutdown()\n\
         kmem_cache_destroy mine: Slab cache still has objects\n"
    );
    lab.put(cache, object).unwrap();
    assert_eq!(kmem_cache_destroy(memory, &current, cache), Ok(()));
    assert_eq!(kmem_cache_destroy(memory, &current, cache), Err(CacheError::Destroyed));
    assert_eq!(kmem_cache_alloc(memory, &current, cache, Gfp::GFP_KERNEL), Err(NoObject::NoCache));
    assert_eq!(lab.put(cache, object), Err(BadFree::Foreign(object)));
    let kmalloc = lab.cache("kmalloc-1k");
    assert_eq!(kmem_cache_destroy(memory, &current, kmalloc), Err(CacheError::Kmalloc(kmalloc.name())));
}

#[test]
fn every_refusal_says_what_was_wrong() {
    let [one, two] = [PhysAddr(0x4000_1000), PhysAddr(0x4000_1040)];
    let texts = [
        (BadFree::NotMemory(one), "0x40001000 is not memory of this machine"),
        (BadFree::Foreign(one), "0x40001000 was not allocated by kmalloc or from a cache"),
        (BadFree::Inside(two, one), "0x40001040 is inside the object that starts at 0x40001000"),
        (BadFree::NoObject(one), "0x40001000 is in a slab, but in none of its objects"),
        (BadFree::WrongCache(one, 3, 4), "0x40001000 is an object of cache 3, not of cache 4"),
        (BadFree::AlreadyFree(one), "0x40001000 is free already"),
        (BadFree::Overrun(one, two, 0x2a), "0x40001040, beside the object at 0x40001000, was overwritten with 0x2a"),
    ];
    texts.iter().for_each(|(error, text)| assert_eq!(error.to_string(), *text));
    let red = debug::Corruption { area: debug::Area::Redzone, at: two, found: 0x2a, expected: 0xbb };
    let texts = [
        (Invalid::Chain(one), "the link of a free object at 0x40001000 was overwritten"),
        (Invalid::Bytes(red), "0x40001040, beside a free object, is 0x2a instead of 0xbb"),
        (Invalid::Frozen(one.pfn()), "the slab at pfn 0x40001 is on its node's list and some CPU's"),
        (Invalid::Miscounted(1, 2), "1 partial slabs counted but counter=2"),
    ];
    texts.iter().for_each(|(error, text)| assert_eq!(error.to_string(), *text));
    let block = NoObject::NoBlock(10, Gfp::GFP_KERNEL);
    assert_eq!(block.to_string(), "no block of order 10, mode:0x6000c0(GFP_KERNEL)");
    assert_eq!(NoObject::NoMemory(Gfp::GFP_ATOMIC).to_string(), "no page for another slab, mode:0x480020(GFP_ATOMIC)");
}
