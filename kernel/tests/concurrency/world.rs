//! [`World`]: the machine whose CPUs explored threads run on, and small boards to build it in for every schedule.
//!
//! It is a [`HostEnv`] with several CPUs, whose threads are those that shuttle runs.

use kernel::host::{HostEnv, HostMachine, RING_EVENTS};
use kernel::mm::memory::{Env, Memory};
use kernel::mm::users::Users;
use kernel::sync::{HostCpu, LocalIrq};
use kernel::task::TaskTable;
use kernel::trace::Ring;

use crate::threads::Threads;

/// CPUs of a machine.
pub const CPUS: usize = 3;

/// A board with 4 MiB, one maximal block: small enough to build a machine in it for every schedule.
pub fn machine() -> HostMachine {
    small_machine(0)
}

/// The same, of which `reserved` bytes are in use.
pub fn small_machine(reserved: u64) -> HostMachine {
    HostMachine::new("", &[(0x4000_0000, 4 << 20, 0)], &[(0x4000_0000, reserved)])
}

/// A machine in which every explored thread runs on a CPU of [`CPUS`].
pub struct World<'m> {
    host: HostEnv<'m>,
    cpus: [HostCpu; CPUS],
    threads: Threads,
    /// One calls the other CPUs at a time.
    caller: shuttle::sync::Mutex<()>,
}

impl<'m> World<'m> {
    /// The machine, booted, with nobody to decide but the caller.
    pub fn memory(machine: &'m HostMachine) -> Memory<'m, World<'m>> {
        let cpus: [HostCpu; CPUS] = Default::default();
        cpus.iter().enumerate().for_each(|(number, cpu)| cpu.set_cpu(number));
        let caller = shuttle::sync::Mutex::new(());
        let host = HostEnv::new(machine.users());
        machine.memory_with(World { host, cpus, threads: Threads::default(), caller })
    }

    /// The threads.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }
}

impl<'m> Env for World<'m> {
    type Irq = HostCpu;
    type Tracer = Ring<RING_EVENTS>;
    type Linear = HostEnv<'m>;
    type Sched = Threads;
    type Owner = Users<'m>;

    fn irq(&self) -> &HostCpu {
        &self.cpus[self.threads.cpu()]
    }

    /// On another CPU an interrupt comes whenever it has none masked: that is a thread which masks them.
    fn on_each_cpu(&self, work: &(dyn Fn(usize) + Sync)) {
        let here = self.threads.cpu();
        let interrupt = |cpu| {
            self.threads.enter(cpu);
            let _pin = self.irq().pin();
            work(cpu);
        };
        let _caller = self.caller.lock().unwrap();
        shuttle::thread::scope(|scope| {
            for cpu in (0..CPUS).filter(|cpu| *cpu != here) {
                scope.spawn(move || interrupt(cpu));
            }
            let _pin = self.irq().pin();
            work(here);
        });
    }

    fn tracer(&self) -> &Ring<RING_EVENTS> {
        self.host.tracer()
    }

    fn now_ns(&self) -> u64 {
        self.host.now_ns()
    }

    fn linear(&self) -> &HostEnv<'m> {
        self.host.linear()
    }

    fn sched(&self) -> &Threads {
        &self.threads
    }

    fn owner(&self) -> &Users<'m> {
        self.host.owner()
    }

    fn tasks(&self) -> &TaskTable {
        self.host.tasks()
    }
}
