//! Random work from a seed, on everything that uses memory: what finds the mistakes that nobody thought of.
//!
//! A [`Stress`] is one person at the machine. Each [`Stress::step`] is one thing that a person could do: to raw pages and
//! objects ([`pages`]), to files ([`cache`]), to tasks and their memory ([`people`]), to the switches of the machine
//! ([`knobs`]). It holds what it got in bags of fixed size, so it needs no heap, and writes a mark into whatever it holds
//! that nobody else may touch. Several persons may share a machine, each on a thread of its own.
//!
//! [`inspect`] asks afterwards whether anything was lost: the audit, the ledger of the page cache, every task's memory,
//! every handle. [`Stress::give_back`] returns everything. Two promises keep the work from ending the machine: what
//! neither reclaim nor the death of a task can free stays below [`Limits::held`], and there are always tasks to kill.
//!
//! Linux does more: `stress-ng`, `trinity`, `syzkaller`.

use crate::check;
use crate::daemon::Daemon;
use crate::gfp::Gfp;
use crate::mm::anon;
use crate::mm::handles;
use crate::mm::memory::{Env, Memory};
use crate::mm::pagecache;
use crate::mm::sparse::Place;
use crate::mm::truncate;
use crate::mm::users::{MAX_FILES, Users};
use crate::mm::verify;
use crate::mm::zone::Zone;
use crate::random::Random;
use crate::task::{Current, Task};

mod bag;
mod cache;
mod knobs;
mod pages;
mod people;

use bag::Bag;
pub use knobs::{Settings, thaw_all};
use pages::{Block, Object};

/// Files that are used: the last ones, so that a person's own are left alone.
const FILES: u32 = 8;
const FIRST_FILE: u32 = MAX_FILES - FILES;

/// What a machine's size allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Pages that may be held at a time in ways that nothing can undo but whoever holds them.
    pub held: u64,
    /// Pages of a file that are used.
    pub file_pages: u32,
    /// Pages of the machine.
    pub ram: u64,
    /// Somebody else is there who ends what would last for ever: who thaws what is frozen, and calls off requests.
    pub guarded: bool,
}

impl Limits {
    /// For one of `persons` at the machine.
    pub fn of<E: Env>(memory: &Memory<'_, E>, persons: u64, guarded: bool) -> Limits {
        // Requests of the kernel itself must find room in the zones that they may use.
        let usable = memory.populated_zones().filter(|zone| !zone.is_highmem).map(Zone::managed).sum::<u64>();
        let ram = memory.totalram();
        Limits { held: usable / 3 / persons, file_pages: (ram / 5).clamp(64, 1 << 20) as u32, ram, guarded }
    }
}

/// A person who does random things.
pub struct Stress {
    random: Random,
    /// Which of the persons.
    id: u8,
    limits: Limits,
    blocks: Bag<Block, 512>,
    objects: Bag<Object, 256>,
    handles: Bag<u32, 256>,
    pins: Bag<Place, 16>,
    locks: Bag<Place, 4>,
    mlocks: Bag<(u16, Place), 16>,
    /// Numbers of the tasks that it acts as, and may have killed.
    tasks: Bag<u16, 8>,
    /// Tasks made so far.
    spawned: u32,
    /// Pages that it holds for good.
    held: u64,
    /// Of 100 steps that take or give, how many take.
    eagerness: u64,
    /// What it did last.
    pub last: &'static str,
}

/// What an inspection found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Inspection {
    /// Broken properties of the machine, but for those that v5.0 may break itself.
    pub findings: u64,
    /// Pages of files that are not what was written last.
    pub lost_files: u64,
    /// Pages of tasks that are not what was written last.
    pub lost_anon: u64,
    /// Handles whose page holds something else.
    pub lost_handles: u64,
}

impl Inspection {
    /// Whether nothing was lost and nothing is wrong.
    pub fn is_clean(&self) -> bool {
        *self == Inspection::default()
    }
}

/// Ends the files of all persons; whether nobody holds a page of theirs any more.
pub fn give_back_files<'u, E: Env<Owner = Users<'u>>>(memory: &Memory<'_, E>, current: &Current<'_>) -> bool {
    let users = memory.env.owner();
    (FIRST_FILE..MAX_FILES).all(|file| {
        let reset = pagecache::set_file_gfp(memory, users, file, Gfp::GFP_HIGHUSER_MOVABLE);
        reset.is_ok() && truncate::truncate(memory, current, users, file).is_ok()
    })
}

/// Looks at everything. The machine must be at rest ([`at_rest`]), and nobody may have called off the work.
pub fn inspect<'u, E: Env<Owner = Users<'u>>>(memory: &Memory<'_, E>, current: &Current<'_>) -> Inspection {
    let users = memory.env.owner();
    let audit = check::audit(memory);
    Inspection {
        findings: audit.findings().filter(|finding| !finding.is_warning).count() as u64,
        lost_files: verify::verify(memory, current, users).map_or(0, |verified| verified.lost),
        lost_anon: memory.env.tasks().iter().map(|task| anon::check(memory, current, users, task).lost).sum(),
        lost_handles: handles::check_all(memory, current, users).lost,
    }
}

/// Whether no daemon is in the middle of something, so that the machine's numbers must agree.
pub fn at_rest<'u, E: Env<Owner = Users<'u>>>(memory: &Memory<'_, E>) -> bool {
    knobs::daemons(memory).all(Daemon::is_idle)
}

/// What a person may do, how often of 1000 times, and with which name.
type Row<'u, E> = (u32, &'static str, Locks, fn(&mut Stress, &Memory<'_, E>, &Current<'_>));

/// Whether what a person does waits for the locks of pages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Locks {
    /// It never does.
    Leaves,
    /// It may: whoever holds one lets go of it first, or two persons could wait for each other for ever.
    Waits,
}

impl Stress {
    /// Person `id` of those at the machine, whose random numbers start at `seed`.
    pub fn new(seed: u64, id: u8, limits: Limits) -> Stress {
        Stress {
            random: Random::new(seed.wrapping_add(u64::from(id) << 56)),
            id,
            limits,
            blocks: Bag::new(Block::NONE),
            objects: Bag::new(Object::NONE),
            handles: Bag::new(0),
            pins: Bag::new(Place::new(0, 0)),
            locks: Bag::new(Place::new(0, 0)),
            mlocks: Bag::new((0, Place::new(0, 0))),
            tasks: Bag::new(0),
            spawned: 0,
            held: 0,
            eagerness: 50,
            last: "",
        }
    }

    /// What a person may do, and how often of 1000 times.
    const fn table<'u, E: Env<Owner = Users<'u>>>() -> [Row<'u, E>; 22] {
        use Locks::{Leaves, Waits};
        [
            (200, "blocks", Leaves, Stress::work_on_blocks),
            (120, "objects", Leaves, Stress::work_on_objects),
            (60, "handles", Leaves, Stress::work_on_handles),
            (150, "read", Waits, Stress::read),
            (20, "readahead", Waits, Stress::readahead),
            (100, "write", Waits, Stress::write),
            (90, "map", Waits, Stress::map),
            (30, "mlock", Waits, Stress::mlock),
            (20, "pin", Leaves, Stress::pin),
            (10, "lock", Leaves, Stress::lock),
            (2, "truncate", Waits, Stress::truncate),
            (2, "drop", Waits, Stress::drop_caches),
            (2, "sync", Waits, Stress::sync),
            (40, "populate", Leaves, Stress::populate),
            (100, "touch", Leaves, Stress::touch_anon),
            (20, "free anon", Leaves, Stress::free_anon),
            (3, "kill", Leaves, Stress::kill),
            (8, "flags", Leaves, Stress::change_flags),
            (3, "swapon", Leaves, Stress::swapon),
            (5, "sysctl", Leaves, Stress::write_sysctl),
            (3, "compact", Waits, Stress::compact),
            (12, "daemons", Leaves, Stress::play_with_daemons),
        ]
    }

    /// Does one random thing.
    pub fn step<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>) {
        self.bury(memory);
        if self.random.one_in(500) {
            self.eagerness = self.random.pick(&[20, 40, 48, 60, 75]);
        }
        let task = self.choose_task(memory);
        let current = Current::new(task);
        let table = Stress::table::<E>();
        let mut drawn = self.random.below(1000) as u32;
        for (weight, name, locks, act) in table {
            if drawn < weight {
                self.last = name;
                if locks == Locks::Waits {
                    self.unlock_all(memory);
                }
                act(self, memory, &current);
                return;
            }
            drawn -= weight;
        }
    }

    /// Returns everything that it holds; its tasks are gone then.
    pub fn give_back<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>) {
        self.last = "give back";
        let current = Current::new(memory.env.tasks().init());
        self.let_go(memory, &current);
        while !self.blocks.is_empty() {
            self.free_block(memory, &current);
        }
        while !self.objects.is_empty() {
            self.free_object(memory, &current);
        }
        while !self.handles.is_empty() {
            self.free_handle(memory, &current);
        }
        while let Some(pid) = self.tasks.pop() {
            if let Some(task) = memory.env.tasks().by_pid(pid) {
                people::exit(memory, task);
            }
        }
    }

    /// Lets go of what others would wait for.
    pub fn let_go<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>, current: &Current<'_>) {
        self.unlock_all(memory);
        while let Some(place) = self.pins.pop() {
            self.unpin(memory, current, place);
        }
    }

    fn unlock_all<'u, E: Env<Owner = Users<'u>>>(&mut self, memory: &Memory<'_, E>) {
        while let Some(place) = self.locks.pop() {
            self.unlock(memory, place);
        }
    }

    /// Whether the next step takes something, rather than give it back.
    fn takes(&mut self) -> bool {
        self.random.below(100) < self.eagerness
    }

    /// Whether `pages` more may be held for good.
    fn may_hold(&self, pages: u64) -> bool {
        self.held + pages <= self.limits.held
    }

    /// Some page of some file; most often one of few.
    fn place(&mut self) -> Place {
        let file = FIRST_FILE + self.random.below(u64::from(FILES)) as u32;
        let pages = if self.random.one_in(3) { self.limits.file_pages / 16 } else { self.limits.file_pages };
        Place::new(file, self.random.below(u64::from(pages)) as u32)
    }
}

/// Whether a task has memory that it may use.
fn may_map(task: &Task) -> bool {
    task.has_mm() && !task.is_init() && !task.is_dying()
}
