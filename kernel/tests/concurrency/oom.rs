//! The OOM killer: who runs out at once kills once, and whoever is killed is seen to, by the reaper or by its own exit.

use kernel::check;
use kernel::mm::anon;
use kernel::mm::memory::{Env, Memory};
use kernel::mm::oom_kill::{self, OomControl};
use kernel::mm::sleep;
use kernel::sync::atomic::{AtomicU32, Ordering::SeqCst};
use kernel::task::{Current, MmFlags, Task, TaskKind};
use kernel::vmstat::VmEvent;

use crate::schedules::explore;
use crate::threads::together;
use crate::world::{World, machine};

/// Two tasks of 3 pages and of 1.
fn candidates<'m>(memory: &'m Memory<'_, World<'_>>) -> [&'m Task; 2] {
    [("big", 3), ("small", 1)].map(|(name, pages)| {
        let task = memory.env.tasks().spawn(name, TaskKind::User).unwrap();
        let populated = anon::populate(memory, &Current::new(task), memory.env.owner(), pages);
        assert_eq!(populated.pages, pages);
        task
    })
}

/// Somebody runs out and calls for a victim, unless somebody else does just now; whether that came to pass.
fn run_out(memory: &Memory<'_, World<'_>>, task: &Task) -> bool {
    let current = Current::new(task);
    let Some(lock) = memory.oom.try_lock() else {
        sleep::schedule_timeout(memory, &current, 1);
        return false;
    };
    let mut fault = OomControl::PAGE_FAULT;
    assert!(oom_kill::out_of_memory(memory, &current, &mut fault));
    let awaited = |task: &&Task| task.is_oom_victim() && !task.mm.has(MmFlags::OOM_SKIP);
    assert!(memory.env.tasks().iter().filter(awaited).count() <= 1, "two victims at a time");
    drop(lock);
    true
}

#[test]
fn who_run_out_at_once_kill_once() {
    explore("three run out", 10, || {
        let machine = machine();
        let memory = World::memory(&machine);
        let [big, _] = candidates(&memory);
        together(memory.env.threads(), 3, |_| {
            (0..2).for_each(|_| _ = run_out(&memory, memory.env.tasks().init()));
        });
        assert_eq!((memory.event(VmEvent::OomKill), memory.oom.victims()), (1, 1));
        assert!(big.is_oom_victim());
    });
}

#[test]
fn every_victim_is_seen_to() {
    explore("two run out, a victim and the reaper", 10, || {
        let machine = machine();
        let memory = World::memory(&machine);
        let tasks = memory.env.tasks();
        let (victims, free) = (candidates(&memory), memory.populated_zones().map(|zone| zone.counts.free_pages()));
        let free: u64 = free.sum();
        let gone = AtomicU32::new(0);
        together(memory.env.threads(), 4, |number| match number {
            0 => oom_kill::oom_reaper(&memory, &Current::new(tasks.init())),
            1 => {
                let current = Current::new(victims[0]);
                while !victims[0].is_dying() && !victims[0].mm.has(MmFlags::OOM_SKIP) {
                    sleep::schedule_timeout(&memory, &current, 1);
                }
                oom_kill::exit_task(&memory, &current, victims[0]);
                end(&memory, &gone);
            }
            _ => {
                while !run_out(&memory, tasks.init()) {}
                end(&memory, &gone);
            }
        });
        for victim in victims.iter().filter(|task| task.is_dying()) {
            assert_eq!(
                (victim.mm.rss(), victim.mm.has(MmFlags::OOM_SKIP)),
                (0, true),
                "{} was not seen to",
                victim.comm()
            );
            assert!(!victim.oom.is_pinned(), "{} is still on the reaper's list", victim.comm());
        }
        let spared = victims.iter().filter(|task| !task.is_dying()).count() as u32;
        let exited = victims.iter().filter(|task| task.is_dying() && task.mm.is_gone()).count() as u32;
        assert_eq!(memory.oom.victims(), 2 - spared - exited);
        assert!(memory.populated_zones().map(|zone| zone.counts.free_pages()).sum::<u64>() >= free);
        assert_eq!(check::audit(&memory).findings().count(), 0);
    });
}

/// One of three is done; the last one ends the reaper, which has something to do as long as there is a list.
fn end(memory: &Memory<'_, World<'_>>, gone: &AtomicU32) {
    if gone.fetch_add(1, SeqCst) == 2 {
        memory.oom.reaper.run(memory.env.sched());
        memory.env.threads().stop();
    }
}

#[test]
fn who_exits_by_itself_while_it_is_chosen_is_not_awaited_for_ever() {
    explore("one runs out, another one exits", 5, || {
        let machine = machine();
        let memory = World::memory(&machine);
        let [big, _] = candidates(&memory);
        together(memory.env.threads(), 2, |number| match number {
            0 => assert!(run_out(&memory, memory.env.tasks().init())),
            _ => oom_kill::exit_task(&memory, &Current::new(big), big),
        });
        while oom_kill::reap_one(&memory, &Current::new(memory.env.tasks().init())) {}
        assert!(memory.oom.victims() == 0 || !big.is_oom_victim(), "an exited task is awaited");
    });
}
