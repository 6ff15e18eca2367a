//! Where slabs are: with a CPU, among its spare ones, on a node's list, or nowhere.

use super::*;
use crate::mmzone::NodeId;

/// Partial slabs of node 0.
fn partial(lab: &Lab<'_>, cache: &KmemCache) -> Vec<u64> {
    let pin = lab.memory.pin();
    let partial = cache.node(NodeId(0)).partial.lock(&pin);
    let pages: Vec<u64> = partial.list.iter(&lab.memory.pages).map(|index| lab.memory.pages.pfn(index).0).collect();
    assert_eq!(pages.len(), partial.nr as usize);
    pages
}

/// Spare slabs of the CPU that acts.
fn spare(lab: &Lab<'_>, cache: &KmemCache) -> u32 {
    let pin = lab.memory.pin();
    cache.cpus.local(&pin).nr_spare
}

#[test]
fn objects_come_in_the_order_of_addresses_and_come_back_first() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.cache("kmalloc-256");
    let objects: Vec<u64> = (0..16).map(|_| lab.get(cache).0).collect();
    assert_eq!(objects, (0..16).map(|n| objects[0] + 256 * n).collect::<Vec<_>>());
    for n in [3, 9] {
        lab.put(cache, PhysAddr(objects[n])).unwrap();
    }
    assert_eq!([lab.get(cache).0, lab.get(cache).0], [objects[9], objects[3]]);
}

#[test]
fn a_full_slab_that_gets_an_object_becomes_a_spare_one() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("mine", 512, CacheFlags::empty());
    let objects: Vec<_> = (0..32 * 8).map(|_| lab.get(cache)).collect();
    assert_eq!((spare(&lab, cache), partial(&lab, cache).len()), (0, 0));
    // Each of the first 14 slabs gets one object; more than 13 objects are too many to keep.
    for slab in 0..14 {
        lab.put(cache, objects[slab * 8]).unwrap();
    }
    assert_eq!((spare(&lab, cache), lab.figures(cache)), (14, [256, 256, 32]));
    lab.put(cache, objects[14 * 8]).unwrap();
    assert_eq!((spare(&lab, cache), partial(&lab, cache).len()), (1, 14));
    assert_eq!(lab.figures(cache), [256 - 14, 256, 32]);
    // The CPU takes from its spare slab, then from the node's until it has seven objects at hand.
    assert_eq!(lab.get(cache), objects[14 * 8]);
    lab.get(cache);
    assert_eq!((spare(&lab, cache), partial(&lab, cache).len()), (6, 7));
}

#[test]
fn a_node_keeps_five_empty_slabs() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("mine", 512, CacheFlags::empty());
    let objects: Vec<_> = (0..32 * 8).map(|_| lab.get(cache)).collect();
    objects.into_iter().for_each(|object| lab.put(cache, object).unwrap());
    // Twice 14 slabs became spare, of which the node took five; three are spare now, and the CPU takes from one.
    assert_eq!((partial(&lab, cache).len(), spare(&lab, cache), lab.figures(cache)[2]), (5, 3, 9));
    assert_eq!(lab.shrink(cache), 0);
}

#[test]
fn a_listed_slab_that_becomes_empty_goes_while_there_are_five() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("mine", 512, CacheFlags::empty());
    let objects: Vec<_> = (0..8 * 8).map(|_| lab.get(cache)).collect();
    let (rest, last): (Vec<_>, Vec<_>) = objects.iter().enumerate().partition(|(n, _)| n % 8 > 0);
    rest.iter().for_each(|(_, object)| lab.put(cache, **object).unwrap());
    assert_eq!((lab.shrink(cache), partial(&lab, cache).len()), (8, 8));
    last.iter().for_each(|(_, object)| lab.put(cache, **object).unwrap());
    assert_eq!((partial(&lab, cache).len(), lab.figures(cache)), (4, [0, 32, 4]));
}

#[test]
fn shrinking_puts_the_fullest_slabs_first() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("mine", 512, CacheFlags::empty());
    let objects: Vec<_> = (0..4 * 8).map(|_| lab.get(cache)).collect();
    for (slab, free) in [(0, 2), (1, 5), (2, 8), (3, 1)] {
        objects[slab * 8..][..free].iter().for_each(|object| lab.put(cache, *object).unwrap());
    }
    assert_eq!(lab.shrink(cache), 3);
    assert_eq!(partial(&lab, cache), [3, 0, 1].map(|slab| objects[slab * 8].pfn().0));
    assert_eq!(lab.get(cache), objects[24]);
}

#[test]
fn what_another_cpu_frees_is_found_when_the_own_chain_ends() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("mine", 512, CacheFlags::empty());
    let objects: Vec<_> = (0..8).map(|_| lab.get(cache)).collect();
    lab.memory.env.cpu().set_cpu(1);
    lab.put(cache, objects[2]).unwrap();
    lab.put(cache, objects[5]).unwrap();
    assert_eq!(lab.put(cache, objects[5]), Err(BadFree::AlreadyFree(objects[5])));
    lab.memory.env.cpu().set_cpu(0);
    assert_eq!([lab.get(cache), lab.get(cache)], [objects[5], objects[2]]);
    assert_ne!(lab.get(cache).pfn(), objects[0].pfn());
}

#[test]
fn two_chains_of_one_slab_become_one() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("mine", 512, CacheFlags::empty());
    let objects: Vec<_> = (0..6).map(|_| lab.get(cache)).collect();
    lab.memory.env.cpu().set_cpu(1);
    objects[..3].iter().for_each(|object| lab.put(cache, *object).unwrap());
    lab.memory.env.cpu().set_cpu(0);
    assert_eq!(lab.shrink(cache), 1);
    assert_eq!((lab.validate(cache), lab.figures(cache)), (Ok(5), [3, 8, 1]));
    objects[3..].iter().for_each(|object| lab.put(cache, *object).unwrap());
    assert_eq!((lab.shrink(cache), lab.slab_pages()), (0, [0, 0]));
}

#[test]
fn the_slabs_of_every_cpu_are_given_back() {
    let machine = board();
    let lab = Lab::new(&machine);
    let cache = lab.make("mine", 512, CacheFlags::empty());
    for cpu in [0, 2, 1] {
        lab.memory.env.cpu().set_cpu(cpu);
        // The last slab is the one that the CPU takes from; the others, full until now, become its spare ones.
        let objects: Vec<_> = (0..20).map(|_| lab.get(cache)).collect();
        objects.into_iter().for_each(|object| lab.put(cache, object).unwrap());
    }
    assert_eq!(lab.figures(cache)[2], 9);
    lab.memory.env.cpu().set_cpu(0);
    assert_eq!((lab.shrink(cache), lab.slab_pages()), (0, [0, 0]));
    assert_eq!(kmem_cache_destroy(&lab.memory, &lab.current(), cache), Ok(()));
}

#[test]
fn a_request_for_a_node_is_served_from_there() {
    let machine = crate::mm::testing::board_2_nodes("");
    let lab = Lab::new(&machine);
    let current = lab.current();
    let cache = lab.make("mine", 512, CacheFlags::empty());
    let get = |node| kmem_cache_alloc_node(&lab.memory, &current, cache, Gfp::GFP_KERNEL, Some(NodeId(node))).unwrap();
    let node = |object: PhysAddr| lab.memory.zone_of(object.pfn()).unwrap().node;
    let objects = [get(0), get(1), get(0)];
    assert_eq!(objects.map(node), [NodeId(0), NodeId(1), NodeId(0)]);
    assert_eq!(objects[0].pfn(), objects[2].pfn());
    let slabs = [0, 1].map(|node| cache.node(NodeId(node)).nr_slabs());
    assert_eq!(slabs, [1, 1]);
    objects.iter().for_each(|object| lab.put(cache, *object).unwrap());
    assert_eq!(lab.shrink(cache), 0);
}

/// An object of `cache` in memory of `node`, for CPU `cpu`.
fn get_on(lab: &Lab<'_>, cache: &KmemCache, cpu: usize, node: u8) -> PhysAddr {
    lab.memory.env.cpu().set_cpu(cpu);
    kmem_cache_alloc_node(&lab.memory, &lab.current(), cache, Gfp::GFP_KERNEL, Some(NodeId(node))).unwrap()
}

/// CPUs 0 and 2 are of node 0. Each gives up its slab there for one of node 1.
#[test]
fn a_slab_that_a_cpu_gives_up_is_taken_first_unless_others_freed_of_it() {
    for freed_by_others in [false, true] {
        let machine = crate::mm::testing::board_2_nodes("");
        let lab = Lab::new(&machine);
        let cache = lab.make("mine", 512, CacheFlags::empty());
        let (one, _, other) = (get_on(&lab, cache, 0, 0), get_on(&lab, cache, 2, 0), get_on(&lab, cache, 2, 0));
        assert_ne!(one.pfn(), other.pfn());
        get_on(&lab, cache, 0, 1);
        if freed_by_others {
            lab.put(cache, other).unwrap();
        }
        get_on(&lab, cache, 2, 1);
        let [front, back] = if freed_by_others { [one, other] } else { [other, one] };
        assert_eq!(partial(&lab, cache), [front.pfn().0, back.pfn().0]);
    }
}

#[test]
fn another_node_gives_a_slab_when_it_has_more_than_five() {
    for (slabs, giver) in [(5, NodeId(0)), (6, NodeId(1))] {
        let machine = crate::mm::testing::board_2_nodes("");
        let lab = Lab::new(&machine);
        let cache = lab.make("mine", 512, CacheFlags::empty());
        let objects: Vec<_> = (0..slabs * 8).map(|_| get_on(&lab, cache, 0, 1)).collect();
        objects.iter().step_by(8).for_each(|object| lab.put(cache, *object).unwrap());
        assert_eq!(lab.shrink(cache), slabs);
        assert_eq!(lab.memory.zone_of(lab.get(cache).pfn()).unwrap().node, giver, "{slabs} slabs on node 1");
    }
}

#[test]
fn memory_is_refused_when_there_is_none_and_not_before() {
    let machine = board();
    let lab = Lab::without_pcp(&machine);
    lab.set_free(600);
    let cache = lab.cache("kmalloc-2k");
    let mut objects = Vec::new();
    while let Ok(object) = lab.kmalloc(2048, Gfp::GFP_NOWAIT | Gfp::__GFP_NOWARN) {
        objects.push(object);
    }
    let low = lab.zone().watermark(crate::mmzone::Watermark::Low);
    assert!(lab.zone().counts.free_pages() <= low + 1, "{} pages are free", lab.zone().counts.free_pages());
    assert_eq!(lab.figures(cache)[1], objects.len() as u64);
    objects.into_iter().for_each(|object| lab.kfree(object).unwrap());
    assert_eq!((lab.shrink(cache), lab.free_pages()), (0, 600));
    lab.assert_sound();
}
