//! The lists of free pages: per-CPU lists that their CPU fills and empties, and that others drain; the zone's lock.

use kernel::addr::Pfn;
use kernel::check;
use kernel::gfp::Gfp;
use kernel::mm::freelist;
use kernel::mm::memory::Env;
use kernel::mm::page_alloc;
use kernel::sync::atomic::Ordering::Relaxed;
use kernel::sync::{Class, HostCpu, LocalIrq, PerCpu, SpinLock};
use kernel::task::Current;

use crate::schedules::{exhaust, explore};
use crate::threads::{Threads, together};
use crate::world::{CPUS, World, machine};

#[test]
fn a_spin_lock_excludes() {
    exhaust("a spin lock, two threads", || {
        let (cpus, lock) = (<[HostCpu; 2]>::default(), SpinLock::new(Class::Zone, 0));
        together(&Threads::default(), 2, |number| {
            let pin = cpus[number].pin();
            let mut guard = lock.lock(&pin);
            let before = *guard;
            shuttle::thread::yield_now();
            *guard = before + 1;
        });
        assert_eq!(*lock.lock(&cpus[0].pin()), 2);
    });
}

#[test]
fn drain_meets_refill() {
    exhaust("a drain in an interrupt against a refill", || {
        let (cpu, zone) = (HostCpu::default(), SpinLock::new(Class::Zone, 4));
        let list = PerCpu::new(Class::CpuPages, |_| (0, ()));
        together(&Threads::default(), 2, |number| {
            let pin = cpu.pin();
            let mut list = list.local(&pin);
            let mut zone = zone.lock(&pin);
            let moved = if number == 0 { -*list } else { 3 };
            *zone -= moved;
            *list += moved;
        });
        let pin = cpu.pin();
        assert_eq!(*list.local(&pin) + *zone.lock(&pin), 4);
    });
}

#[test]
fn pages_survive_drains_from_other_cpus() {
    explore("alloc, free and drain of all CPUs", 10, || {
        let machine = machine();
        let memory = World::memory(&machine);
        memory.sysctl.watermark_boost_factor.store(0, Relaxed);
        let zone = memory.populated_zones().next().unwrap();
        let total = zone.counts.free_pages() + zone.pcp_pages();
        together(memory.env.threads(), CPUS, |number| {
            let current = Current::new(memory.env.tasks().init());
            let take = || page_alloc::alloc_page(&memory, &current, Gfp::GFP_KERNEL).unwrap();
            let pages: [Pfn; 3] = core::array::from_fn(|_| take());
            if number == 0 {
                freelist::drain_all_pages(&memory, &current);
            }
            pages.iter().for_each(|&page| _ = page_alloc::free_page(&memory, &current, page).unwrap());
            if number == 1 {
                freelist::drain_all_pages(&memory, &current);
            }
        });
        assert_eq!(zone.counts.free_pages() + zone.pcp_pages(), total);
        assert_eq!(check::audit(&memory).findings().count(), 0);
    });
}
