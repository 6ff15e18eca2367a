//! What is counted since boot: events of Linux and our own, per CPU, and their sums.
//!
//! Each CPU counts for itself with interrupts masked; a sum over all CPUs may miss what is counted meanwhile. How many
//! pages are in which state is counted elsewhere, per zone and node. Linux: `mm/vmstat.c`, `vm_event_states`.

use super::{Env, Memory};
use crate::mm::zone::Zone;
use crate::vmstat::{EventCounters, LabEvent, VmEvent, ZoneEvent};

impl<E: Env> Memory<'_, E> {
    /// Counts `n` more of `event`. Linux: `count_vm_events`.
    pub fn count(&self, event: VmEvent, n: u64) {
        let pin = self.pin();
        self.events[pin.cpu()].add(event, n);
    }

    /// Counts `n` more of `event` for the zones of `index`. Linux: `__count_zid_vm_events`.
    pub fn count_zone(&self, event: ZoneEvent, index: usize, n: u64) {
        let pin = self.pin();
        self.events[pin.cpu()].add_zone(event, index, n);
    }

    /// Counts an event that Linux does not count.
    pub fn count_lab(&self, event: LabEvent) {
        self.count_labs([event]);
    }

    /// Counts events that Linux does not count.
    #[inline(always)]
    pub fn count_labs<const N: usize>(&self, events: [LabEvent; N]) {
        let pin = self.pin();
        events.iter().for_each(|event| self.events[pin.cpu()].add_lab(*event, 1));
    }

    /// Sum over all CPUs of an event that Linux does not count.
    pub fn lab_event(&self, event: LabEvent) -> u64 {
        self.events.iter().map(|cpu| cpu.get_lab(event)).sum()
    }

    /// What CPU `cpu` counted.
    #[inline(always)]
    pub fn events(&self, cpu: usize) -> &EventCounters {
        &self.events[cpu]
    }

    /// Sum over all CPUs of `event`. Linux: `all_vm_events`.
    pub fn event(&self, event: VmEvent) -> u64 {
        match event {
            VmEvent::Pgfree => self.zones.iter().map(Zone::pgfree).sum(),
            _ => self.events.iter().map(|cpu| cpu.get(event)).sum(),
        }
    }

    /// Sum over all CPUs of `event` in the zones of `index`.
    pub fn zone_event(&self, event: ZoneEvent, index: usize) -> u64 {
        match event {
            ZoneEvent::Pgalloc => self.zones.iter().filter(|zone| zone.index == index).map(Zone::pgalloc).sum(),
            _ => self.events.iter().map(|cpu| cpu.get_zone(event, index)).sum(),
        }
    }
}
