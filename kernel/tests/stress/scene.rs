//! One machine with everybody who is at it: persons, daemons, and the operator.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use kernel::bootargs::BootArgs;
use kernel::check;
use kernel::host::{HostEnv, HostMachine, HostThreads};
use kernel::mm::compaction::kcompactd;
use kernel::mm::freelist;
use kernel::mm::kswapd::kswapd;
use kernel::mm::memory::{Env, Hook, Memory};
use kernel::mm::oom_kill::oom_reaper;
use kernel::mm::slab;
use kernel::mm::swapfile;
use kernel::mm::writeback::{self, flusher};
use kernel::mm::zone::Zone;
use kernel::proc::sysctl;
use kernel::sched::Scheduler;
use kernel::stress::{self, Limits, Stress};
use kernel::task::{Current, TaskKind};
use kernel::trace::Tracer;

use super::shapes::Shape;

/// Persons at the machine; the first has the thread of the program.
const PERSONS: usize = 3;
const CPUS: u64 = 3;
/// Ticks after which the operator ends what lasts too long.
const PATIENCE: u64 = 500;
/// Ticks after which it will never end. A request goes round 17 times in vain before it gives the highatomic reserve up,
/// each time through 13 priorities, and where the disk is congested sleeps a tenth of a second at each: 5525 ticks. What is
/// called off may be at its second request.
const FOR_EVER: u64 = 3 * 5525;

struct Scene<'s, 'm> {
    memory: &'s Memory<'m, HostEnv<'m>>,
    persons: [Mutex<Stress>; PERSONS],
    /// Operations that each person has begun.
    begun: [AtomicU64; PERSONS],
    /// Who is in the middle of an operation.
    busy: [AtomicBool; PERSONS],
    /// Up to which operation everybody works.
    goal: AtomicU64,
    over: AtomicBool,
    shape: &'s Shape,
    seed: u64,
}

/// Says where a failing run was.
impl Drop for Scene<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (begun, Scene { seed, shape, .. }) = (self.begun.each_ref().map(|begun| begun.load(SeqCst)), self);
            eprintln!("machine '{}', SLOWPATH_STRESS_SEED={seed}, operations {begun:?}", shape.name);
        }
    }
}

/// Does `operations` operations on a machine of this shape, inspects it every so often, and empties it in the end.
pub fn run(shape: &Shape, seed: u64, operations: u64) {
    let machine = HostMachine::new(shape.args, shape.banks, &[]);
    let memory = machine.memory();
    for (name, value) in BootArgs::parse(shape.args).sysctls() {
        let current = Current::new(memory.env.tasks().init());
        sysctl::find(name).expect("a setting").write(&memory, &current, value).expect("a value that it may have");
    }
    let limits = Limits::of(&memory, PERSONS as u64, true);
    let scene = Scene {
        memory: &memory,
        persons: std::array::from_fn(|id| Mutex::new(Stress::new(seed, id as u8, limits))),
        begun: Default::default(),
        busy: Default::default(),
        goal: AtomicU64::new(0),
        over: AtomicBool::new(false),
        shape,
        seed,
    };
    let at_start = free_pages(&memory);
    std::thread::scope(|scope| {
        let broken = memory.env.threads().break_with();
        scene.start_daemons(scope);
        for id in 1..PERSONS {
            let scene = &scene;
            scene.threads().spawn(scope, move || scene.live(id));
        }
        scene.threads().spawn(scope, || scene.operate());
        scene.direct(operations / PERSONS as u64);
        scene.give_everything_back();
        assert_eq!(free_pages(&memory), at_start, "free pages after everything came back");
        scene.over.store(true, SeqCst);
        scene.threads().stop();
        std::mem::forget(broken);
    });
}

fn free_pages(memory: &Memory<'_, HostEnv<'_>>) -> u64 {
    memory.populated_zones().map(|zone| zone.counts.free_pages()).sum()
}

impl<'s, 'm> Scene<'s, 'm> {
    fn threads(&self) -> &'s HostThreads {
        self.memory.env.threads()
    }

    fn start_daemons<'scope, 'env>(&'scope self, scope: &'scope std::thread::Scope<'scope, 'env>)
    where
        's: 'scope,
        'm: 'scope,
    {
        let memory = self.memory;
        let start = |name: &str, body: Box<dyn FnOnce(&Current<'_>) + Send + 'scope>| {
            let task = memory.env.tasks().spawn(name, TaskKind::Daemon).unwrap();
            memory.env.threads().spawn(scope, move || body(&Current::new(task)));
        };
        for node in memory.online_nodes() {
            start(&format!("kswapd{}", node.id), Box::new(move |current| kswapd(memory, current, node)));
            start(&format!("kcompactd{}", node.id), Box::new(move |current| kcompactd(memory, current, node)));
        }
        start("oom_reaper", Box::new(move |current| oom_reaper(memory, current)));
        start("flusher", Box::new(move |current| flusher(memory, current, memory.env.owner())));
        self.threads().settle();
    }

    /// One operation of a person.
    fn step(&self, id: usize) {
        let nth = self.begun[id].fetch_add(1, SeqCst) + 1;
        let cpu = (nth / 7 + id as u64) % CPUS;
        self.memory.env.cpu().set_cpu(cpu as usize);
        self.busy[id].store(true, SeqCst);
        self.persons[id].lock().unwrap().step(self.memory);
        self.busy[id].store(false, SeqCst);
        // Others come in at the next offer, in the middle of what this one does then.
        self.memory.env.advance(nth % 5 * 700_000);
        if id == 0 && self.memory.env.sched().interrupted() {
            self.threads().set_interrupted(false);
        }
    }

    /// Works until everybody is to stop.
    fn work(&self, id: usize) {
        while self.begun[id].load(SeqCst) < self.goal.load(SeqCst) {
            self.step(id);
        }
        let current = Current::new(self.memory.env.tasks().init());
        self.persons[id].lock().unwrap().let_go(self.memory, &current);
    }

    /// The life of a person but the first.
    fn live(&self, id: usize) {
        while !self.over.load(SeqCst) && !self.memory.env.sched().should_stop() {
            // Only then, for in the end others give back what this one has.
            if self.begun[id].load(SeqCst) < self.goal.load(SeqCst) {
                self.work(id);
            }
            self.nap(1);
        }
    }

    fn nap(&self, ticks: u64) {
        self.memory.env.sched().prepare_to_sleep();
        self.memory.env.sched().schedule(Some(ticks));
    }

    /// The life of the operator: thaws what is frozen, and ends what lasts for ever.
    fn operate(&self) {
        let (mut seen, mut since) = ([0; PERSONS], [0; PERSONS]);
        while !self.memory.env.sched().should_stop() {
            self.nap(15);
            stress::thaw_all(self.memory);
            let now = self.memory.env.sched().jiffies();
            for id in 0..PERSONS {
                let begun = self.begun[id].load(SeqCst);
                if begun != seen[id] || !self.busy[id].load(SeqCst) {
                    (seen[id], since[id]) = (begun, now);
                } else if now - since[id] > PATIENCE {
                    self.call_off(id);
                }
                if now - since[id] > FOR_EVER - PATIENCE {
                    self.memory.set_hook(Hook::Trace, true);
                }
                assert!(now - since[id] < FOR_EVER, "person {id} does not come to an end: {}", self.story());
            }
        }
    }

    /// What happened last, and to whom.
    fn story(&self) -> String {
        let mut story = String::new();
        for task in self.memory.env.tasks().iter() {
            let (rss, dying, victim) = (task.mm.rss(), task.is_dying(), task.is_oom_victim());
            story += &format!("\n{} {} rss {rss} dying {dying} victim {victim}", task.comm(), task.flags());
        }
        let ring = self.memory.env.ring();
        let next = ring.next_seq();
        for step in kernel::trace::walk::walk(ring, next.saturating_sub(120)..next) {
            if let kernel::trace::walk::Step::Entry(entry) = step {
                story += &format!("\n{} {}", entry.stamp.pid, entry.event);
            }
        }
        story
    }

    fn call_off(&self, id: usize) {
        if id == 0 {
            self.threads().set_interrupted(true);
        }
        // Whoever a person acts as is one of those whose names begin so.
        let prefix = format!("s{id}.");
        let tasks = self.memory.env.tasks().iter().filter(|task| task.comm().as_str().starts_with(&prefix));
        tasks.for_each(|task| task.kill());
    }

    /// The first person's work, and everybody's stops.
    fn direct(&self, operations: u64) {
        let mut goal = 0;
        while goal < operations {
            goal = (goal + self.shape.inspect_every).min(operations);
            self.goal.store(goal, SeqCst);
            self.work(0);
            self.stop_everybody();
            self.inspect();
        }
    }

    /// Waits until all persons have stopped and no daemon is in the middle of something.
    fn stop_everybody(&self) {
        let stopped = || {
            let goal = self.goal.load(SeqCst);
            (0..PERSONS).all(|id| self.begun[id].load(SeqCst) == goal && self.persons[id].try_lock().is_ok())
        };
        while !stopped() || !stress::at_rest(self.memory) {
            self.nap(1);
        }
        if self.memory.env.sched().interrupted() {
            self.threads().set_interrupted(false);
        }
    }

    fn inspect(&self) {
        let current = Current::new(self.memory.env.tasks().init());
        let inspection = stress::inspect(self.memory, &current);
        if !inspection.is_clean() {
            let audit = check::audit(self.memory);
            let findings: Vec<String> = audit.findings().map(ToString::to_string).collect();
            panic!("{inspection:?} {findings:#?}");
        }
        assert_eq!(self.memory.leaked(), 0);
        let lost = [kernel::vmstat::LabEvent::PcLost, kernel::vmstat::LabEvent::PcCorrupt];
        assert_eq!(lost.map(|event| self.memory.lab_event(event)), [0, 0], "lost and corrupt pages");
    }

    /// Everybody gives back what he has, and so does the machine.
    fn give_everything_back(&self) {
        let (memory, users) = (self.memory, self.memory.env.owner());
        let current = Current::new(memory.env.tasks().init());
        memory.set_hook(Hook::Trace, false);
        stress::thaw_all(memory);
        self.persons.iter().for_each(|person| person.lock().unwrap().give_back(memory));
        writeback::sync(memory, &current, users).unwrap();
        assert!(stress::give_back_files(memory, &current));
        swapfile::swapon(memory, users, 0).unwrap();
        self.stop_everybody();
        for cpu in 0..CPUS {
            memory.env.cpu().set_cpu(cpu as usize);
            memory.slabs.iter().for_each(|cache| _ = slab::kmem_cache_shrink(memory, &current, cache));
            freelist::drain_local_pages(memory, &current, None);
        }
        self.inspect();
        assert_eq!(check::audit(memory).totals.allocated, 0);
        assert_eq!(memory.populated_zones().map(Zone::pcp_pages).sum::<u64>(), 0);
    }
}
