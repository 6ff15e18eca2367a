//! What lies where in the physical address space, for /proc/iomem.
//!
//! Drivers add their registers as they map them; [`list`] joins these with what memblock knows of RAM, and the image's
//! sections in it. Neighbour: [`kernel::proc::iomem`], which prints.
//!
//! Linux does more: resources are a tree that drivers take from and give back to.

use crate::arch::cpu;
use crate::arch::entry::{data_start, image_base};
use crate::lock::Lock;
use alloc::vec::Vec;
use core::ops::Range;
use kernel::addr::PhysAddr;
use kernel::memblock::{AddrRange, Memblock, Resource};
use kernel::proc::iomem;
use kernel::sync::Class;

/// Register blocks that can be noted; more are mapped but not shown.
const NR_DEVICES: usize = 16;

static DEVICES: Lock<[Option<Resource>; NR_DEVICES]> = Lock::new(Class::Machine, [None; NR_DEVICES]);

/// Notes the registers of the device `name`.
pub fn add_device(registers: &Range<u64>, name: &'static str) {
    let range = AddrRange::new(PhysAddr(registers.start), PhysAddr(registers.end));
    let resource = Some(Resource { level: 0, range, name });
    cpu::masked(|| {
        let mut devices = DEVICES.lock();
        if let Some(slot) = devices.iter_mut().find(|slot| slot.is_none() || **slot == resource) {
            *slot = resource;
        }
    });
}

/// Everything, by address. `data_end` is the end of the image's data, tables included.
pub fn list(memblock: &Memblock, data_end: PhysAddr) -> Vec<Resource> {
    let (code, data) = (PhysAddr(image_base()), PhysAddr(data_start()));
    let section = |start, end, name| Resource { level: 1, range: AddrRange::new(start, end), name };
    let image = [section(code, data, "Kernel code"), section(data, data_end, "Kernel data")];
    let mut all: Vec<_> = cpu::masked(|| *DEVICES.lock()).into_iter().flatten().collect();
    all.extend(iomem::ram(memblock, &image));
    all.sort_by_key(|resource| (resource.range.start, resource.level));
    all
}
