//! The world of a machine whose pages belong to a test: [`OwnedEnv`] answers with an owner of the test's and leaves all
//! else to another world.

use crate::mm::memory::{Env, owner::PageOwner};
use crate::mm::mmu::Mmu;
use crate::task::TaskTable;

/// The world `host`, in which pages belong to `owner`.
#[derive(Default)]
pub struct OwnedEnv<H, O> {
    host: H,
    owner: O,
    hardware_name: Option<&'static str>,
}

impl<H, O> OwnedEnv<H, O> {
    pub fn new(host: H, owner: O) -> OwnedEnv<H, O> {
        OwnedEnv { host, owner, hardware_name: None }
    }

    /// The same for a machine with a device tree that calls it `name`.
    pub fn named(self, name: &'static str) -> OwnedEnv<H, O> {
        OwnedEnv { hardware_name: Some(name), ..self }
    }
}

impl<H: Env, O: PageOwner + Sync> Env for OwnedEnv<H, O> {
    type Irq = H::Irq;
    type Tracer = H::Tracer;
    type Linear = H::Linear;
    type Sched = H::Sched;
    type Owner = O;

    fn irq(&self) -> &H::Irq {
        self.host.irq()
    }

    fn on_each_cpu(&self, work: &(dyn Fn(usize) + Sync)) {
        self.host.on_each_cpu(work);
    }

    fn tracer(&self) -> &H::Tracer {
        self.host.tracer()
    }

    fn now_ns(&self) -> u64 {
        self.host.now_ns()
    }

    fn linear(&self) -> &H::Linear {
        self.host.linear()
    }

    fn mmu(&self) -> Option<&dyn Mmu> {
        self.host.mmu()
    }

    fn sched(&self) -> &H::Sched {
        self.host.sched()
    }

    fn owner(&self) -> &O {
        &self.owner
    }

    fn tasks(&self) -> &TaskTable {
        self.host.tasks()
    }

    fn hardware_name(&self) -> Option<&str> {
        self.hardware_name
    }
}
