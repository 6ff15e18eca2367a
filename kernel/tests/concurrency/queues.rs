//! Sleep against wake: whoever waits for what has happened does not wait, however the two meet.

use kernel::daemon::Daemon;
use kernel::sched::{Wait, WaitQueue};
use kernel::sync::atomic::Ordering::{Relaxed, SeqCst};
use kernel::sync::atomic::{AtomicBool, AtomicU32, fence};

use crate::schedules::{exhaust, explore};
use crate::threads::{Threads, together};

#[test]
fn a_wake_up_is_not_lost() {
    exhaust("wait against wake", || {
        let (threads, queue, happened) = <(Threads, WaitQueue, AtomicBool)>::default();
        together(&threads, 2, |number| {
            if number == 0 {
                assert_eq!(queue.wait(&threads, None, || happened.load(SeqCst)), Wait::Ready(u64::MAX));
            } else {
                happened.store(true, SeqCst);
                queue.wake_all(&threads);
            }
        });
        assert!(!queue.is_active());
    });
}

#[test]
fn a_wake_up_is_not_lost_when_nobody_seems_to_wait() {
    exhaust("wait against wake if anybody waits", || {
        let (threads, queue, happened) = <(Threads, WaitQueue, AtomicBool)>::default();
        together(&threads, 2, |number| {
            if number == 0 {
                queue.wait(&threads, None, || happened.load(SeqCst));
            } else {
                happened.store(true, Relaxed);
                fence(SeqCst);
                if queue.is_active() {
                    queue.wake_all(&threads);
                }
            }
        });
    });
}

#[test]
fn everybody_who_waits_is_woken() {
    explore("four waiters and wakers", 5, || {
        let (threads, queue, count) = <(Threads, WaitQueue, AtomicU32)>::default();
        together(&threads, 4, |number| {
            if number < 2 {
                queue.wait(&threads, None, || count.load(SeqCst) > number as u32);
            } else {
                count.fetch_add(1, SeqCst);
                queue.wake_all(&threads);
            }
        });
    });
}

/// A daemon, two who want something of it, each by a bit of its own, and somebody who waits until all of it is done.
fn daemon(name: &str, want: impl Fn(&Threads, &Daemon, &AtomicU32, u32) + Send + Sync + 'static) {
    explore(name, 5, move || {
        let (threads, daemon, wanted, idle) = <(Threads, Daemon, AtomicU32, WaitQueue)>::default();
        let [done, ended] = [const { AtomicU32::new(0) }; 2];
        together(&threads, 4, |number| match number {
            0 => {
                while daemon.wait_for_work(&threads, None) {
                    while finds_work(&daemon, &wanted) {
                        done.fetch_or(wanted.swap(0, SeqCst), SeqCst);
                    }
                    daemon.work_done(&threads);
                    idle.wake_all(&threads);
                }
            }
            1 => {
                idle.wait(&threads, None, || done.load(SeqCst) == 0b1100 && ended.load(SeqCst) == 2);
                threads.stop();
            }
            _ => {
                want(&threads, &daemon, &wanted, 1 << number);
                ended.fetch_add(1, SeqCst);
                idle.wake_all(&threads);
            }
        });
    });
}

/// As kswapd and kcompactd look for work before they sleep.
fn finds_work(daemon: &Daemon, wanted: &AtomicU32) -> bool {
    daemon.prepare_to_sleep();
    let found = wanted.load(SeqCst) != 0;
    if found {
        daemon.stay_awake();
    }
    found
}

#[test]
fn a_daemon_does_all_that_it_is_woken_for() {
    daemon("a daemon and two who wake it", |threads, daemon, wanted, bit| {
        wanted.fetch_or(bit, SeqCst);
        daemon.wake(threads);
    });
}

#[test]
fn a_daemon_has_done_what_there_was_when_it_was_run() {
    daemon("a daemon and two who run it", |threads, daemon, wanted, bit| {
        wanted.fetch_or(bit, SeqCst);
        assert!(daemon.run(threads));
        assert_eq!(wanted.load(SeqCst) & bit, 0, "the run did not begin after it was asked for");
    });
}

#[test]
fn a_daemon_that_is_woken_only_when_it_sleeps_misses_nothing() {
    daemon("a daemon and two who wake it if it sleeps", |threads, daemon, wanted, bit| {
        wanted.fetch_or(bit, SeqCst);
        if daemon.is_asleep() {
            daemon.wake(threads);
        }
    });
}
