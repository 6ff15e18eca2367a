//! The operations: each returns whether it went through, and has given everything back by then.

use super::Operation;
use crate::addr::{PAGE_SIZE, VirtAddr};
use crate::gfp::Gfp;
use crate::mm::anon;
use crate::mm::fault::{self, Fault};
use crate::mm::filemap;
use crate::mm::highmem;
use crate::mm::kmem_cache::CacheFlags;
use crate::mm::memory::{Env, LinearMap};
use crate::mm::mempool::{self, Source};
use crate::mm::mmap;
use crate::mm::page_alloc;
use crate::mm::page_frag::{PageFragCache, page_frag_alloc, page_frag_drain, page_frag_free};
use crate::mm::pgtable;
use crate::mm::skb::{self, Net, RxModel};
use crate::mm::slab;
use crate::mm::swapfile;
use crate::mm::testing::Lab;
use crate::mm::tests::users::anonymous::swap_out;
use crate::mm::tests::users::{place, users};
use crate::mm::truncate;
use crate::mm::vmalloc;
use crate::mmzone::NodeId;

/// Those for every machine. An object takes a request for itself, and one for a slab when there is none; what a slab wants
/// in a row it also takes as a single page.
pub const OPERATIONS: [Operation; 27] = [
    operation("kmalloc", 2, Some(1), |lab, arm| kmalloc(lab, arm, 100, Gfp::GFP_KERNEL)),
    operation("kmalloc from a slab of two pages", 2, Some(1), |lab, arm| kmalloc(lab, arm, 1000, Gfp::GFP_KERNEL)),
    operation("kmalloc of whole pages", 1, None, |lab, arm| kmalloc(lab, arm, 20_000, Gfp::GFP_KERNEL)),
    operation("kzalloc", 2, Some(1), |lab, arm| kmalloc(lab, arm, 300, Gfp::GFP_KERNEL | Gfp::__GFP_ZERO)),
    operation("kmalloc_node", 2, Some(1), kmalloc_node),
    operation("krealloc", 5, None, krealloc),
    operation("kmem_cache_alloc", 20 + 3, Some(3), |lab, arm| objects(lab, arm, CacheFlags::empty())),
    operation("kmem_cache_alloc, debugging", 20 + 2, Some(3), |lab, arm| objects(lab, arm, CacheFlags::DEBUG)),
    // The array of addresses is an object, too.
    operation("mempool_create of kmalloc", 2 + 4 + 1, Some(2), |lab, arm| pool(lab, arm, Source::Kmalloc(256))),
    operation("mempool_create of pages", 2 + 4, Some(5), |lab, arm| pool(lab, arm, Source::Pages(0))),
    operation("mempool_resize to more", 1 + 2, Some(7), |lab, arm| resized_pool(lab, arm, 6)),
    operation("mempool_resize to less", 0, Some(5), |lab, arm| resized_pool(lab, arm, 2)),
    operation("mempool_alloc", 4, Some(5), elements),
    operation("alloc_pages_exact", 1, None, exact_pages),
    // The record and a slab for it, the array, three pages, tables of level 2 and level 3.
    operation("vmalloc", 2 + 1 + 3 + 2, Some(6), |lab, arm| area(lab, arm, 3)),
    operation("page_frag_alloc", 2, Some(12), fragments),
    operation("netdev_alloc_skb", 1 + 2, Some(2), |lab, arm| packet(lab, arm, RxModel::V50, Gfp::GFP_ATOMIC, 100)),
    operation("netdev_alloc_skb, newer", 2 + 2, Some(2), |lab, arm| {
        packet(lab, arm, RxModel::Seed, Gfp::GFP_ATOMIC, 100)
    }),
    operation("netdev_alloc_skb that may sleep", 2 + 2, Some(2), |lab, arm| {
        packet(lab, arm, RxModel::V50, Gfp::GFP_KERNEL, 1500)
    }),
    operation("napi_alloc_skb with pages", 1 + 2 + 3, Some(5), packet_with_pages),
    operation("populate", 4, Some(4), anonymous_pages),
    operation("a fault that reads from swap space", 1, Some(1), swapped_page),
    operation("swapon", 0, Some(0), swap_space),
    operation("read", 1, Some(1), |lab, arm| {
        of_a_file(lab, arm, |lab| filemap::read(&lab.memory, &lab.current(), users(lab), place(0, 5)).is_ok())
    }),
    operation("readahead of two windows", 40, Some(40), |lab, arm| {
        of_a_file(lab, arm, |lab| {
            filemap::readahead(&lab.memory, &lab.current(), users(lab), place(0, 0), 40) == Ok(40)
        })
    }),
    operation("write", 1, Some(1), |lab, arm| {
        of_a_file(lab, arm, |lab| {
            filemap::write_unthrottled(&lab.memory, &lab.current(), users(lab), place(0, 70), 1).is_ok()
        })
    }),
    operation("mmap", 1, Some(1), |lab, arm| of_a_file(lab, arm, mapped_page)),
];

/// Those for a machine with pages outside the linear map.
pub const HIGH: [Operation; 2] = [
    operation("kmap", 1, None, mapped_high_page),
    operation("vmalloc in high memory", 2 + 1 + 3 + 2, None, |lab, arm| area(lab, arm, 3)),
];

/// An area whose array of pages is an area: record and slab, record and array of the array, its two pages, a table of level
/// 2 and one of level 3 for them, which lie behind the first 2 MiB, 520 pages, and the table of level 3 for those 2 MiB.
pub const LARGE_AREA: Operation =
    operation("vmalloc of many pages", 2 + 2 + 2 + 2 + 520 + 1, None, |lab, arm| area(lab, arm, 520));

const fn operation(
    name: &'static str,
    points: u32,
    pages: Option<u32>,
    run: fn(&Lab<'_>, &dyn Fn()) -> bool,
) -> Operation {
    Operation { name, points, pages, run }
}

fn kmalloc(lab: &Lab<'_>, arm: &dyn Fn(), size: u64, gfp: Gfp) -> bool {
    arm();
    let object = slab::kmalloc(&lab.memory, &lab.current(), size, gfp);
    object.is_ok_and(|object| slab::kfree(&lab.memory, &lab.current(), object).is_ok())
}

fn kmalloc_node(lab: &Lab<'_>, arm: &dyn Fn()) -> bool {
    arm();
    let object = slab::kmalloc_node(&lab.memory, &lab.current(), 100, Gfp::GFP_KERNEL, Some(NodeId(0)));
    object.is_ok_and(|object| slab::kfree(&lab.memory, &lab.current(), object).is_ok())
}

/// An object that grows twice into another slab and then into whole pages, and keeps what is in it.
fn krealloc(lab: &Lab<'_>, arm: &dyn Fn()) -> bool {
    let (memory, current) = (&lab.memory, lab.current());
    let Ok(mut object) = slab::kmalloc(memory, &current, 100, Gfp::GFP_KERNEL) else { return false };
    memory.env.linear().write_word(object, 77);
    arm();
    let went_through = [300, 3000, 30_000].into_iter().all(|size| {
        let grown = slab::krealloc(memory, &current, object, size, Gfp::GFP_KERNEL);
        object = grown.unwrap_or(object);
        grown.is_ok()
    });
    assert_eq!(memory.env.linear().read_word(object), 77);
    slab::kfree(memory, &current, object).unwrap();
    went_through
}

/// 20 objects of a cache of their own: 8 are in a slab of a page; with what debugging adds, 15 in one of two pages, or 7.
fn objects(lab: &Lab<'_>, arm: &dyn Fn(), flags: CacheFlags) -> bool {
    let (memory, current) = (&lab.memory, lab.current());
    arm();
    let cache = memory.slabs.create("family", 512, 0, flags).unwrap();
    let objects = (0..20).map_while(|_| slab::kmem_cache_alloc(memory, &current, cache, Gfp::GFP_KERNEL).ok());
    let objects: Vec<_> = objects.collect();
    objects.iter().for_each(|&object| slab::kmem_cache_free(memory, &current, cache, object).unwrap());
    slab::kmem_cache_destroy(memory, &current, cache).unwrap();
    objects.len() == 20
}

fn pool(lab: &Lab<'_>, arm: &dyn Fn(), source: Source<'_>) -> bool {
    arm();
    let pool = mempool::create(&lab.memory, &lab.current(), 4, source);
    pool.map(|pool| mempool::destroy(&lab.memory, &lab.current(), pool)).is_ok()
}

fn resized_pool(lab: &Lab<'_>, arm: &dyn Fn(), min_nr: u32) -> bool {
    let (memory, current) = (&lab.memory, lab.current());
    let Ok(pool) = mempool::create(memory, &current, 4, Source::Pages(0)) else { return false };
    arm();
    let resized = mempool::resize(memory, &current, &pool, min_nr);
    mempool::destroy(memory, &current, pool);
    resized == Ok(min_nr)
}

/// Objects of a pool, which come from those set aside when the source has none.
fn elements(lab: &Lab<'_>, arm: &dyn Fn()) -> bool {
    let (memory, current) = (&lab.memory, lab.current());
    let Ok(pool) = mempool::create(memory, &current, 4, Source::Pages(0)) else { return false };
    arm();
    let elements = (0..4).map_while(|_| mempool::alloc(memory, &current, &pool, Gfp::GFP_NOIO).ok());
    let elements: Vec<_> = elements.collect();
    elements.iter().for_each(|&element| mempool::free(memory, &current, &pool, element).unwrap());
    assert_eq!(pool.level(memory), (4, 4));
    mempool::destroy(memory, &current, pool);
    elements.len() == 4
}

fn exact_pages(lab: &Lab<'_>, arm: &dyn Fn()) -> bool {
    arm();
    let bytes = 5 * PAGE_SIZE;
    let first = page_alloc::alloc_pages_exact(&lab.memory, &lab.current(), bytes, Gfp::GFP_KERNEL);
    first.map(|first| page_alloc::free_pages_exact(&lab.memory, &lab.current(), first, bytes)).is_ok()
}

/// An area of so many pages, whose last word can be written and read.
fn area(lab: &Lab<'_>, arm: &dyn Fn(), nr_pages: u64) -> bool {
    let (memory, current) = (&lab.memory, lab.current());
    arm();
    let Ok(first) = vmalloc::vmalloc(memory, &current, nr_pages * PAGE_SIZE) else { return false };
    let last = first.add(nr_pages * PAGE_SIZE - 8);
    pgtable::write_word(memory, last, 77);
    assert_eq!(pgtable::read_word(memory, last), 77);
    assert_eq!(vmalloc::vfree(memory, &current, first), Ok(nr_pages));
    true
}

/// Twelve pieces, of which ten are in a large block, and one in a page.
fn fragments(lab: &Lab<'_>, arm: &dyn Fn()) -> bool {
    let (memory, current, mut cache) = (&lab.memory, lab.current(), PageFragCache::new());
    arm();
    let pieces = (0..12).map_while(|_| page_frag_alloc(memory, &current, &mut cache, 3000, Gfp::GFP_ATOMIC).ok());
    let pieces: Vec<_> = pieces.collect();
    pieces.iter().for_each(|&piece| _ = page_frag_free(memory, &current, piece).unwrap());
    page_frag_drain(memory, &current, &mut cache);
    pieces.len() == 12
}

fn packet(lab: &Lab<'_>, arm: &dyn Fn(), model: RxModel, gfp: Gfp, len: u32) -> bool {
    let (memory, current) = (&lab.memory, lab.current());
    let mut net = Net::new(memory).unwrap();
    net.model = model;
    arm();
    let skb = skb::netdev_alloc_skb(memory, &current, &mut net, len, gfp);
    let went_through = skb.map(|skb| skb::kfree_skb(memory, &current, &net, skb)).is_ok();
    skb::close(memory, &current, &mut net);
    went_through
}

fn packet_with_pages(lab: &Lab<'_>, arm: &dyn Fn()) -> bool {
    let (memory, current) = (&lab.memory, lab.current());
    let mut net = Net::new(memory).unwrap();
    arm();
    let skb = skb::napi_alloc_skb(memory, &current, &mut net, 100, Gfp::GFP_ATOMIC);
    let went_through = skb.is_ok_and(|skb| {
        let pages = (0..3).map_while(|_| lab.alloc(Gfp::GFP_ATOMIC, 0).ok());
        let added = pages.filter(|&pfn| skb::add_rx_frag(memory, skb, pfn, PAGE_SIZE)).count();
        skb::kfree_skb(memory, &current, &net, skb);
        added == 3
    });
    skb::close(memory, &current, &mut net);
    went_through
}

fn mapped_high_page(lab: &Lab<'_>, arm: &dyn Fn()) -> bool {
    let (memory, current) = (&lab.memory, lab.current());
    arm();
    let Ok(pfn) = lab.alloc(Gfp::GFP_HIGHUSER, 0) else { return false };
    assert!(highmem::is_high(memory, pfn));
    let at: VirtAddr = highmem::kmap(memory, &current, pfn).unwrap();
    pgtable::write_word(memory, at, 77);
    highmem::kunmap(memory, &current, pfn).unwrap();
    assert_eq!(highmem::read_word(memory, pfn.addr()), 77);
    lab.free(pfn, 0).is_ok()
}

fn anonymous_pages(lab: &Lab<'_>, arm: &dyn Fn()) -> bool {
    let (memory, current) = (&lab.memory, lab.current());
    arm();
    let populated = anon::populate(memory, &current, users(lab), 4).pages;
    assert_eq!(anon::free_all(memory, &current, users(lab), current.task), u64::from(populated));
    populated == 4
}

fn swapped_page(lab: &Lab<'_>, arm: &dyn Fn()) -> bool {
    let (memory, current) = (&lab.memory, lab.current());
    swapfile::swapon(memory, users(lab), 8).unwrap();
    let has_page = anon::populate(memory, &current, users(lab), 1).pages == 1;
    if has_page {
        swap_out(lab, 0);
        arm();
    }
    let went_through = has_page && fault::touch(memory, &current, users(lab), 0) == Ok(Fault::Major);
    anon::free_all(memory, &current, users(lab), current.task);
    swapfile::swapon(memory, users(lab), 0).unwrap();
    went_through
}

fn swap_space(lab: &Lab<'_>, arm: &dyn Fn()) -> bool {
    arm();
    let went_through = swapfile::swapon(&lab.memory, users(lab), 8).is_ok();
    went_through && swapfile::swapon(&lab.memory, users(lab), 0).is_ok()
}

fn of_a_file(lab: &Lab<'_>, arm: &dyn Fn(), act: fn(&Lab<'_>) -> bool) -> bool {
    arm();
    let went_through = act(lab);
    truncate::truncate(&lab.memory, &lab.current(), users(lab), 0).unwrap();
    went_through
}

/// A file's page in the task's memory; the mapping is there even if the page could not be read.
fn mapped_page(lab: &Lab<'_>) -> bool {
    let (memory, current, place) = (&lab.memory, lab.current(), place(0, 9));
    let mapped = mmap::map(memory, &current, users(lab), place, false);
    mmap::unmap(memory, &current, users(lab), place).unwrap();
    mapped.is_ok()
}
