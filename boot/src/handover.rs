//! The hand-over: from a device tree to a page allocator that has all of RAM.
//!
//! ```text
//! tree -> memblock -> map RAM -> heap -> page records -> Memory -> every free page in the buddy lists
//! ```
//!
//! The policy is the kernel crate's (`early`, `numa`, `zone_sizes`, `mm_init`); this is the one place that makes slices
//! out of RAM. Linux: `setup_arch`, `paging_init`, `mm_init`.
//!
//! Linux does more: ACPI, EFI memory maps, page records on their own node, crash kernels.

use crate::arch::entry::{image_base, image_sizes};
use crate::arch::mmu::{self, Kind};
use crate::arch::window;
use crate::boot_error::BootError;
use crate::machine::{self, Machine};
use crate::tree::Tree;
use crate::{daemons, heap, iomem, smp, stacks};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;
use core::slice;
use core::sync::atomic::{AtomicU8, AtomicU32};
use kernel::addr::{PAGE_SIZE, Pfn, PhysAddr};
use kernel::bootargs::BootArgs;
use kernel::early::{self, Early, Loaded};
use kernel::memblock::{AddrRange, Memblock, Region, RegionFlags, Resource};
use kernel::mm::kmem_cache::{KmemCache, MAX_CACHES, SlabCaches, SlabConfig};
use kernel::mm::memory::Memory;
use kernel::mm::mm_init::{self, MetadataSize};
use kernel::mm::page::{Page, Pages};
use kernel::mm::page_owner::{OwnerRecord, PageOwners};
use kernel::mm::pageblock::Pageblocks;
use kernel::mm::sparse::Chunk;
use kernel::mm::tables::{AnonPage, FilePage, Handle, Mapping, Request, SwapSlot, UsersSize, UsersTables};
use kernel::mm::users::Users;
use kernel::mm::zone_sizes::ZoneLayout;
use kernel::mmzone::ZoneType;
use kernel::numa::{self, Numa};
use kernel::proc::sysctl;
use kernel::show_mem::MemInit;
use kernel::task::Current;

/// Bytes of the image's heap on a machine with RAM enough, besides what handles take.
const HEAP_BYTES: u64 = 1 << 20;
/// Handles of the shell for every page of RAM take one part in so many: 8 bytes each.
const HANDLES_SHARE: u64 = PAGE_SIZE / 8;
/// Stacks for threads that are started while the machine runs.
const SPARE_STACKS: u32 = 2 + shell::jobs::MAX_JOBS as u32;
/// Smaller machines give one part in so many to the heap, and have fewer handles.
const HEAP_SHARE: u64 = 32;

/// What the hand-over leaves besides the memory.
pub struct Handover {
    /// All memory.
    pub memory: &'static Memory<'static, Machine>,
    /// What lies where in the physical address space.
    pub resources: &'static [Resource],
    /// The machine's name, as the device tree has it.
    pub model: &'static str,
    /// The boot arguments, as they were given.
    pub cmdline: &'static str,
    /// The shell's first lines: the initial RAM disk, if the boot arguments say `script=initrd`.
    pub script: Option<&'static str>,
}

/// Finds RAM, maps it, and builds the allocator in it. Once.
pub fn run(tree: &Tree, args: &BootArgs<'static>) -> Result<Handover, BootError> {
    let mut memblock = Memblock::new();
    let image = AddrRange::new(PhysAddr(image_base()), tree.copy_end);
    let early = early::init(&mut memblock, &tree.tree, args, Loaded { image, tree: tree.blob })?;
    let numa = numa::init(&mut memblock, &tree.tree, args.numa_off)?;
    let layout = ZoneLayout::new(&memblock, numa.online, args);
    let linear_end = layout.limits().highmem_start().map_or(AddrRange::ALL.end, Pfn::addr);
    memblock.set_current_limit(linear_end);
    take_stacks(&mut memblock, numa.online.0.count_ones(), smp::possible(&tree.tree, args).count())?;
    map_ram(&memblock, linear_end)?;
    window::init()?;
    let tables = mmu::give_back_tables();
    memblock.free(AddrRange::new(PhysAddr(tables.start), PhysAddr(tables.end)))?;
    give_heap(&mut memblock)?;

    layout.report(&memblock, |line| log::info!("{line}"));
    let records = take_records(&mut memblock, args)?;
    machine::set_model(tree.tree.model());
    machine::set_users(Users::new(records.pages, records.users));
    let mut memory = Box::new(Memory::new(Machine, records.pages, records.blocks, layout.types(), args.quirks));
    memory.page_owners = records.owners;
    memory.slabs = slab_caches(args, layout.types(), smp::possible(&tree.tree, args).count());
    memory.set_nodes_of_cpus(smp::possible(&tree.tree, args).map(|cpu| numa.node_of_cpu(cpu.node)));
    build(&mut memory, &layout, &memblock, &numa);
    log::info!("{}", MemInit { memory: &memory, image: image_sizes(), cma_pages: cma_pages(&early) });
    mm_init::init_late(&memory);
    set_sysctls(&memory, args);
    if args.page_poison {
        mm_init::poison_free(&memory, &memblock);
    }

    let initrd = early.initrd.and(tree.tree.initrd());
    Ok(Handover {
        memory: Box::leak(memory),
        model: tree.tree.model(),
        resources: iomem::list(&memblock, PhysAddr(tables.start)).leak(),
        cmdline: args.line(),
        script: args.script.and_then(|name| script(name, initrd)),
    })
}

/// The text of the script `name`.
fn script(name: &str, initrd: Option<Range<PhysAddr>>) -> Option<&'static str> {
    if name != "initrd" {
        log::warn!("script={name}: only script=initrd is known");
        return None;
    }
    let Some(initrd) = initrd else {
        log::warn!("script=initrd: there is no initial RAM disk");
        return None;
    };
    // SAFETY: mapped with the rest of RAM, reserved since `early::init`, and written by nobody.
    let bytes = unsafe { slice::from_raw_parts(initrd.start.0 as *const u8, (initrd.end.0 - initrd.start.0) as usize) };
    let text = str::from_utf8(bytes);
    if let Err(error) = text {
        log::warn!("script=initrd: not text: {error}");
    }
    text.ok()
}

/// Maps every region of RAM but `no-map` ones, up to `end`; the image and the tree in it keep their own mapping. Above
/// `end`, which is high memory, only what the loader left there is mapped.
fn map_ram(memblock: &Memblock, end: PhysAddr) -> Result<(), BootError> {
    let usable = || memblock.memory().iter().filter(|region| !region.flags.contains(RegionFlags::NOMAP));
    let linear = usable().map(|region| region.range.intersect(AddrRange::new(PhysAddr(0), end)));
    let above = |region: &Region| region.range.intersect(AddrRange::new(end, AddrRange::ALL.end));
    let left =
        usable().flat_map(|region| memblock.reserved().iter().map(move |taken| taken.range.intersect(above(region))));
    for range in linear.chain(left).filter(|range| !range.is_empty()) {
        // SAFETY: the device tree says that this is RAM.
        unsafe { mmu::map(range.start.0..range.end.0, Kind::Ram)? };
    }
    Ok(())
}

/// Takes RAM for `what` from memblock. It holds whatever was there.
fn take(memblock: &mut Memblock, what: &'static str, bytes: u64) -> Result<AddrRange, BootError> {
    let free = memblock.free_ranges().map(|region| region.range.size()).sum();
    let taken = memblock.alloc(bytes.next_multiple_of(PAGE_SIZE), PAGE_SIZE, AddrRange::ALL, None);
    taken.map_err(|error| BootError::no_room(what, error, free))
}

/// Takes RAM for the stacks of threads, those that a machine with so many nodes starts and some more, and of the other
/// CPUs.
fn take_stacks(memblock: &mut Memblock, nodes: u32, cpus: usize) -> Result<(), BootError> {
    let threads = daemons::threads(nodes) + SPARE_STACKS;
    let units = u64::from(threads) + cpus as u64 - 1;
    let range = take(memblock, "the stacks of threads and CPUs", units * stacks::UNIT)?;
    Ok(stacks::reserve(&(range.start.0..range.end.0), threads)?)
}

fn give_heap(memblock: &mut Memblock) -> Result<(), BootError> {
    let ram = memblock.memory_size();
    let bytes = (HEAP_BYTES + ram / HANDLES_SHARE).min(ram / HEAP_SHARE);
    let range = take(memblock, "the heap", bytes)?;
    // SAFETY: RAM, mapped by `map_ram`, and memblock gives it to nobody else.
    unsafe { heap::init(range.start.0..range.end.0) };
    Ok(())
}

/// The arrays that the allocator borrows.
struct Records {
    pages: Pages<'static>,
    blocks: Pageblocks<'static>,
    owners: PageOwners<'static>,
    users: UsersTables<'static>,
}

/// Takes RAM for the arrays. They are not cleared: the allocator reads no record that it has not written.
fn take_records(memblock: &mut Memblock, args: &BootArgs<'_>) -> Result<Records, BootError> {
    let span = memblock.dram().pages_touched();
    let size = MetadataSize::for_span(span);
    let pages = take_array::<Page>(memblock, "the array of page records", size.records)?;
    let blocks = take_array::<AtomicU8>(memblock, "the map of pageblocks", size.pageblock_bytes)?;
    let owners = if args.page_owner { size.records } else { 0 };
    let owners = take_array::<OwnerRecord>(memblock, "the array of page owners", owners)?;
    let users = take_users_tables(memblock, UsersSize::for_records(size.records))?;
    let (pages, blocks) = (Pages::new(pages, span), Pageblocks::new(blocks));
    Ok(Records { pages, blocks, owners: PageOwners::new(owners), users })
}

/// Takes RAM for the tables of those who use reclaimable memory. They are not cleared either.
fn take_users_tables(memblock: &mut Memblock, size: UsersSize) -> Result<UsersTables<'static>, BootError> {
    Ok(UsersTables {
        owners: take_array(memblock, "the users of pages", size.records)?,
        file_chunks: take_array(memblock, "the chunks of file pages", size.chunks)?,
        files: take_array(memblock, "the table of file pages", size.pages())?,
        ledger: take_array(memblock, "the ledger of file pages", size.pages())?,
        anon_chunks: take_array(memblock, "the chunks of anonymous pages", size.chunks)?,
        anons: take_array(memblock, "the table of anonymous pages", size.pages())?,
        mappings: take_array(memblock, "the table of mappings", size.mappings)?,
        slots: take_array(memblock, "the table of swap slots", size.slots)?,
        requests: take_array(memblock, "the queue of the store", size.requests)?,
        handles: take_array(memblock, "the table of handles", size.handles)?,
    })
}

/// What any bytes are a value of: plain integers, atomic or not.
///
/// # Safety
///
/// Every pattern of bits must be a value of the type.
unsafe trait AnyBits {}

// SAFETY: made of atomic integers only.
unsafe impl AnyBits for Page {}
// SAFETY: made of atomic integers only.
unsafe impl AnyBits for OwnerRecord {}
// SAFETY: an atomic integer.
unsafe impl AnyBits for AtomicU8 {}
// SAFETY: an atomic integer.
unsafe impl AnyBits for AtomicU32 {}
// SAFETY: made of atomic integers only.
unsafe impl AnyBits for Chunk {}
// SAFETY: made of atomic integers only.
unsafe impl AnyBits for FilePage {}
// SAFETY: made of atomic integers only.
unsafe impl AnyBits for AnonPage {}
// SAFETY: made of atomic integers only.
unsafe impl AnyBits for Mapping {}
// SAFETY: made of atomic integers only.
unsafe impl AnyBits for SwapSlot {}
// SAFETY: made of atomic integers only.
unsafe impl AnyBits for Request {}
// SAFETY: made of atomic integers only.
unsafe impl AnyBits for Handle {}

fn take_array<T: AnyBits>(memblock: &mut Memblock, what: &'static str, len: usize) -> Result<&'static [T], BootError> {
    if len == 0 {
        return Ok(&[]);
    }
    let range = take(memblock, what, (len * size_of::<T>()) as u64)?;
    // SAFETY: RAM, mapped, page-aligned, large enough, ours for good; and any bytes are values of `T`.
    Ok(unsafe { slice::from_raw_parts(range.start.0 as *const T, len) })
}

/// Slab caches, in places from the heap.
fn slab_caches(args: &BootArgs<'static>, zones: &[ZoneType], nr_cpus: usize) -> SlabCaches<'static> {
    let places: Vec<KmemCache> = (0..MAX_CACHES).map(KmemCache::new).collect();
    SlabCaches::new(places.leak(), SlabConfig::new(args, nr_cpus as u32, zones.contains(&ZoneType::Dma)))
}

/// Lets the zones come into being, and gives them all that memblock has free.
fn build(memory: &mut Memory<'static, Machine>, layout: &ZoneLayout, memblock: &Memblock, numa: &Numa) {
    let orders = numa::build_node_orders(numa, layout.with_memory());
    mm_init::free_area_init(memory, layout, memblock, numa.distances(), |node| orders[node.index()]);
    layout.report_zonelists(|line| log::info!("{line}"));
    mm_init::free_all(memory, memblock);
}

/// Pages set aside for contiguous allocations, by the device tree or the boot arguments.
fn cma_pages(early: &Early<'_>) -> u64 {
    let ours = early.cma.filter(|_| early.reserved.default_cma().is_none());
    let theirs = early.reserved.regions().filter(|region| region.cma).map(|region| region.range);
    theirs.chain(ours).map(|range| range.size() / PAGE_SIZE).sum()
}

/// Writes the settings of the boot arguments; what cannot be written is logged.
fn set_sysctls(memory: &Memory<'_, Machine>, args: &BootArgs<'_>) {
    let current = Current::new(machine::tasks().init());
    for (name, value) in args.sysctls() {
        match sysctl::find(name).map(|sysctl| sysctl.write(memory, &current, value)) {
            Some(Ok(())) => {}
            Some(Err(error)) => log::warn!("boot argument sysctl.vm.{name}={value}: {error}"),
            None => log::warn!("boot argument sysctl.vm.{name}={value}: there is no setting vm.{name}, ignored"),
        }
    }
}
