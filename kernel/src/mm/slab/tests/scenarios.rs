//! Scenarios of the specification, by id.

use super::*;
use crate::addr::PAGE_SIZE;
use crate::host::HostEnv;
use crate::mm::kmem_cache::{KmallocProfile, MAX_CACHES, SlabCaches, SlabConfig};
use crate::mm::page::PageFlags;
use crate::mm::slab_object::is_slab;
use crate::mmzone::MigrateType;

/// The order of the block of pages at `addr`, which is in no slab.
fn large_order(lab: &Lab<'_>, addr: PhysAddr) -> Option<u32> {
    let (_, state) = block_of(&lab.memory, addr)?;
    (!is_slab(state)).then(|| state.order().get())
}

#[test]
fn t67_sizes_choose_caches_pages_or_nothing() {
    let machine = board();
    let lab = Lab::without_pcp(&machine);
    let free = lab.free_pages();
    let get = |size| lab.kmalloc(size, Gfp::GFP_KERNEL);
    let sizes = [1, 128, 129, 192, 256, 4097, 8192];
    let objects = sizes.map(|size| get(size).unwrap());
    assert_eq!(
        objects.map(|object| lab.cache_of(object)).join(" "),
        "kmalloc-128 kmalloc-128 kmalloc-256 kmalloc-256 kmalloc-256 kmalloc-8k kmalloc-8k"
    );
    let large = [8193, 4 * MIB].map(|size| get(size).unwrap());
    assert_eq!(large.map(|block| large_order(&lab, block)), [Some(2), Some(10)]);
    let warned = logged(|| assert_eq!(get(4 * MIB + 1), Err(NoObject::TooLarge(4 * MIB + 1))));
    assert!(warned.contains("at mm/page_alloc.c:4529 __alloc_pages_nodemask"), "{warned}");
    assert_eq!(get(0), Ok(ZERO_SIZE_PTR));
    for addr in objects.into_iter().chain(large).chain([ZERO_SIZE_PTR, PhysAddr(0)]) {
        assert_eq!(lab.kfree(addr), Ok(()));
    }
    for name in ["kmalloc-128", "kmalloc-256", "kmalloc-8k"] {
        assert_eq!(lab.shrink(lab.cache(name)), 0);
    }
    assert_eq!(lab.free_pages(), free);
    lab.assert_sound();
}

#[test]
fn t67_the_generic_profile_has_96_and_192() {
    let machine = board();
    let mut lab = Lab::without_pcp(&machine);
    let places: Vec<KmemCache> = (0..MAX_CACHES).map(KmemCache::new).collect();
    let mut memory = core::mem::replace(&mut lab.memory, machine.memory());
    memory.slabs = SlabCaches::new(
        Box::leak(places.into_boxed_slice()),
        SlabConfig { profile: KmallocProfile::Generic, ..SlabConfig::default() },
    );
    let lab = Lab { memory };
    let names = [96, 192, 8, 65].map(|size| lab.cache_of(lab.kmalloc(size, Gfp::GFP_KERNEL).unwrap()));
    assert_eq!(names.join(" "), "kmalloc-96 kmalloc-192 kmalloc-8 kmalloc-96");
}

/// The boot arguments reach the caches: a byte past the end of an object is found when it comes back, and one in a free
/// object when it is handed out again.
#[test]
fn debugging_by_boot_argument_finds_what_is_overwritten() {
    let machine = crate::host::HostMachine::new("slub_debug=FZP kmalloc=generic", &[(0x4000_0000, 64 * MIB, 0)], &[]);
    let lab = Lab::without_pcp(&machine);
    let get = || lab.kmalloc(96, Gfp::GFP_KERNEL).unwrap();
    let (object, other) = (get(), get());
    assert_eq!(lab.cache_of(object), "kmalloc-96");
    lab.memory.env.write(PhysAddr(object.0 + 96), 1);
    let said = logged(|| assert!(lab.kfree(object).is_err()));
    assert!(said.contains("BUG kmalloc-96 (Not tainted): Redzone overwritten"), "{said}");
    lab.kfree(other).unwrap();
    lab.memory.env.write(other, 1);
    let said = logged(|| assert_ne!(get(), other));
    assert!(said.contains("BUG kmalloc-96 (Not tainted): Poison overwritten"), "{said}");
}

#[test]
fn t68_without_larger_blocks_a_slab_is_a_single_page() {
    let machine = board();
    let lab = Lab::scenario(&machine, 0);
    let single = (0..1000).map(|n| PhysAddr(0x4000_0000 + n * 2 * PAGE_SIZE).pfn());
    single.for_each(|pfn| _ = lab.free(pfn, 0).unwrap());
    assert_eq!(lab.buddyinfo(), "1000 0 0 0 0 0 0 0 0 0 0");
    let cache = lab.cache("kmalloc-4k");
    let (mut object, mut events) = (None, Vec::new());
    let get = || events = lab.traced(|| object = lab.kmalloc(4096, Gfp::GFP_KERNEL).ok());
    let mut log = String::new();
    lab.vmstat_diff(|| log = logged(get)).assert_still(&["allocstall", "compact_stall", "pgscan"]);
    assert_eq!(log, "");
    assert_eq!((cache.order_fallback(), lab.figures(cache), lab.nr_free()), (1, [1, 1, 1], 999));
    assert!(!events.iter().any(|event| event.contains("wakeup_kswapd")), "{events:#?}");
    let requests: Vec<_> = events.iter().filter(|event| event.starts_with("mm_page_alloc:")).collect();
    let mask = "gfp_flags=__GFP_IO|__GFP_FS|__GFP_NOWARN|__GFP_NORETRY|__GFP_COMP|__GFP_NOMEMALLOC";
    assert!(requests[0].contains("page=(null)") && requests[0].ends_with(mask), "{requests:#?}");
    assert!(
        requests[1].contains("order=0") && requests[1].ends_with("gfp_flags=GFP_KERNEL|__GFP_COMP"),
        "{requests:#?}"
    );
    lab.kfree(object.unwrap()).unwrap();
    lab.assert_sound();
}

#[test]
fn t69_a_slab_of_the_reserves_is_for_the_entitled() {
    let machine = board();
    let lab = Lab::scenario(&machine, 90);
    let cache = lab.make("packets", 512, CacheFlags::empty());
    let get = |gfp| kmem_cache_alloc(&lab.memory, &lab.current(), cache, gfp);
    let entitled = Gfp::GFP_ATOMIC | Gfp::__GFP_MEMALLOC;
    let first = get(entitled).unwrap();
    assert!(lab.is_pfmemalloc(first.pfn()));
    let refuse = || {
        let report = logged(|| assert_eq!(get(Gfp::GFP_ATOMIC), Err(NoObject::NoMemory(Gfp::GFP_ATOMIC))));
        let line = "SLUB: Unable to allocate memory on node -1, gfp=0x480020(GFP_ATOMIC)\n";
        assert!(report.contains(line), "{report}");
        report
    };
    let report = refuse();
    assert!(
        report.ends_with(
            "  cache: packets, object size: 512, buffer size: 512, default order: 0, min order: 0\n  \
             node 0: slabs: 1, objs: 8, free: 7\n"
        ),
        "{report}"
    );
    // From the node's list, then from the CPU's own slab.
    let (second, third) = (get(entitled).unwrap(), get(entitled).unwrap());
    assert_eq!([second.pfn(), third.pfn()], [first.pfn(); 2]);
    refuse();
    // With more memory the reserves' slab is passed over, and another one is made.
    (0..8).for_each(|n| _ = lab.free(PhysAddr(0x4100_0000 + n * PAGE_SIZE).pfn(), 0).unwrap());
    let other = get(Gfp::GFP_ATOMIC).unwrap();
    assert!(other.pfn() != first.pfn() && !lab.is_pfmemalloc(other.pfn()));
    [first, second, third, other].iter().for_each(|object| lab.put(cache, *object).unwrap());
    assert_eq!((lab.shrink(cache), lab.nr_free()), (0, 98));
}

#[test]
fn t71_shrinking_gives_every_empty_slab_back() {
    let machine = board();
    let lab = Lab::without_pcp(&machine);
    let free = lab.free_pages();
    let cache = lab.make("mine", 128, CacheFlags::empty());
    let objects: Vec<_> = (0..3 * 32).map(|_| lab.get(cache)).collect();
    assert_eq!((lab.figures(cache), lab.slab_pages(), lab.free_pages()), ([96, 96, 3], [0, 3], free - 3));
    objects.into_iter().for_each(|object| lab.put(cache, object).unwrap());
    assert_eq!(lab.figures(cache)[2], 3);
    assert_eq!(lab.shrink(cache), 0);
    assert_eq!((lab.figures(cache), lab.slab_pages(), lab.free_pages()), ([0, 0, 0], [0, 0], free));
    lab.assert_sound();
}

#[test]
fn the_kinds_of_slab_are_counted_apart_and_named_in_their_pages() {
    let machine = board();
    let lab = Lab::without_pcp(&machine);
    let object = lab.kmalloc(300, Gfp::GFP_KERNEL | Gfp::__GFP_RECLAIMABLE).unwrap();
    assert_eq!((lab.cache_of(object), lab.slab_pages()), ("kmalloc-rcl-512".into(), [1, 0]));
    let state = lab.memory.pages.at(lab.memory.pages.index(object.pfn())).state();
    assert_eq!((state.migratetype(), state.flags()), (MigrateType::Reclaimable, PageFlags::SLAB | FROZEN));
    lab.kfree(object).unwrap();
    assert_eq!(lab.current().task.take_reclaimed_slab(), 0);
    lab.shrink(lab.cache("kmalloc-rcl-512"));
    assert_eq!((lab.slab_pages(), lab.current().task.take_reclaimed_slab()), ([0, 0], 1));
}

#[test]
fn zeroed_memory_is_zero_and_resized_memory_keeps_its_content() {
    let machine = board();
    let lab = Lab::new(&machine);
    let (memory, current): (&Memory<'_, HostEnv<'_>>, _) = (&lab.memory, lab.current());
    let object = kzalloc(memory, &current, 100, Gfp::GFP_KERNEL).unwrap();
    assert!((0..128).all(|at| memory.env.read(PhysAddr(object.0 + at)) == 0));
    assert_eq!(ksize(memory, object), Ok(128));
    (0..128).for_each(|at| memory.env.write(PhysAddr(object.0 + at), at as u8 ^ 0x55));
    let resize = |addr, size| krealloc(memory, &current, addr, size, Gfp::GFP_KERNEL).unwrap();
    assert_eq!(resize(object, 128), object);
    let larger = resize(object, 3 * PAGE_SIZE);
    assert!((0..128).all(|at| memory.env.read(PhysAddr(larger.0 + at)) == at as u8 ^ 0x55));
    assert_eq!((ksize(memory, larger), ksize(memory, object)), (Ok(4 * PAGE_SIZE), Err(BadFree::AlreadyFree(object))));
    assert_eq!(resize(larger, 0), ZERO_SIZE_PTR);
    assert_eq!(ksize(memory, ZERO_SIZE_PTR), Ok(0));
    let again = resize(ZERO_SIZE_PTR, 8);
    assert_eq!(ksize(memory, again), Ok(128));
}

#[test]
fn zones_that_a_slab_cannot_be_in_are_reported_and_dropped() {
    let machine = board();
    let lab = Lab::new(&machine);
    let report = logged(|| lab.kmalloc(64, Gfp::GFP_KERNEL | Gfp::__GFP_HIGHMEM).unwrap());
    assert_eq!(report, "Unexpected gfp: 0x2(__GFP_HIGHMEM). Fixing up to gfp: 0x6000c0(GFP_KERNEL). Fix your code!\n");
}

#[test]
fn sleeping_in_atomic_context_is_reported_before_the_fast_path() {
    let machine = board();
    let lab = Lab::new(&machine);
    lab.kmalloc(64, Gfp::GFP_KERNEL).unwrap();
    let current = lab.current().in_context(crate::task::Context::Atomic);
    let report = logged(|| kmalloc(&lab.memory, &current, 64, Gfp::GFP_KERNEL).unwrap());
    let expected = "BUG: sleeping function called from invalid context at mm/slab.h:421\n\
                    in_atomic(): 1, irqs_disabled(): 0, pid: 1, name: sh\n";
    assert!(report.starts_with(expected), "{report}");
    assert_eq!(logged(|| kmalloc(&lab.memory, &current, 64, Gfp::GFP_ATOMIC).unwrap()), "");
}

#[test]
fn events_tell_of_objects() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("mine", 40, CacheFlags::empty());
    let warm = lab.get(cache);
    let events = lab.traced(|| lab.get(cache));
    let second = warm.0 + 40;
    assert_eq!(
        events,
        [format!("kmem_cache_alloc: call_site=0 ptr={second:#x} bytes_req=40 bytes_alloc=40 gfp_flags=GFP_KERNEL")]
    );
    let events = lab.traced(|| lab.put(cache, PhysAddr(second)).unwrap());
    assert_eq!(events, [format!("kmem_cache_free: call_site=0 ptr={second:#x}")]);
    let events = lab.traced(|| lab.kmalloc(9000, Gfp::GFP_NOWAIT));
    assert!(events.last().unwrap().ends_with("bytes_req=9000 bytes_alloc=16384 gfp_flags=GFP_NOWAIT"), "{events:?}");
    assert_eq!(lab.traced(|| lab.kfree(ZERO_SIZE_PTR).unwrap()), ["kfree: call_site=0 ptr=0x10"]);
}
