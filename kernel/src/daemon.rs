//! Daemons: loops that sleep until somebody wakes them, and the switch by which a person freezes one, or makes it work.
//!
//! A frozen daemon is asked and woken as ever, but does not start to work until it is thawed. [`Daemon::run`] makes it
//! work once, frozen or not, and waits until it is done. Without any thread behind it a [`Daemon`] is one that sleeps.
//!
//! Linux: `kthread`, the freezer, and the wait queues `kswapd_wait`, `kcompactd_wait` and so on; the switch is ours.

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use crate::sched::{Scheduler, Wait, WaitQueue};

/// The state of one daemon.
#[derive(Debug, Default)]
pub struct Daemon {
    wait: WaitQueue,
    /// Somebody woke it, and it did not notice yet.
    woken: AtomicBool,
    /// It is past its sleep.
    working: AtomicBool,
    frozen: AtomicBool,
    /// How often persons asked for a run.
    asked: AtomicU32,
    /// So many of these are served by the run that began last.
    taken: AtomicU32,
    /// So many of these are served.
    served: AtomicU32,
    /// Runs since the machine started.
    done: AtomicU32,
    /// Where those wait who asked.
    idle: WaitQueue,
}

impl Daemon {
    /// A daemon that sleeps.
    pub const fn new() -> Daemon {
        Daemon {
            wait: WaitQueue::new(),
            woken: AtomicBool::new(false),
            working: AtomicBool::new(false),
            frozen: AtomicBool::new(false),
            asked: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            served: AtomicU32::new(0),
            done: AtomicU32::new(0),
            idle: WaitQueue::new(),
        }
    }

    /// Whether it sleeps and nobody has woken it: whether waking it means anything. Linux: `waitqueue_active`.
    #[inline(always)]
    pub fn is_asleep(&self) -> bool {
        !self.working.load(SeqCst) && !self.woken.load(SeqCst)
    }

    /// Whether it is between two pieces of work, or takes a nap in one: it holds nothing then that others could miss.
    pub fn is_idle(&self) -> bool {
        !self.working.load(SeqCst)
    }

    /// Wakes it. Linux: `wake_up_interruptible`.
    pub fn wake(&self, sched: &impl Scheduler) {
        self.woken.store(true, SeqCst);
        self.wait.wake_all(sched);
    }

    /// Whether it does not work unless a person makes it.
    pub fn is_frozen(&self) -> bool {
        self.frozen.load(SeqCst)
    }

    /// How often it has worked since the machine started.
    pub fn runs(&self) -> u32 {
        self.done.load(SeqCst)
    }

    /// Keeps it from starting to work.
    pub fn freeze(&self) {
        self.frozen.store(true, SeqCst);
    }

    /// Lets it work again, on what it was woken for meanwhile.
    pub fn thaw(&self, sched: &impl Scheduler) {
        self.frozen.store(false, SeqCst);
        self.wait.wake_all(sched);
    }

    /// Makes it work once, from now on, and waits until it is done; `false` when the caller's work was called off before.
    pub fn run(&self, sched: &impl Scheduler) -> bool {
        let ticket = self.asked.fetch_add(1, SeqCst).wrapping_add(1);
        self.wait.wake_all(sched);
        let served = || self.served.load(SeqCst).wrapping_sub(ticket) as i32 >= 0;
        matches!(self.idle.wait(sched, None, served), Wait::Ready(_))
    }

    /// The daemon's own call before it works: sleeps until it is woken, for at most `timeout` ticks; `false` when it
    /// should end. With `timeout` it works when the time is over, too, unless it is frozen.
    pub fn wait_for_work(&self, sched: &impl Scheduler, timeout: Option<u64>) -> bool {
        self.working.store(false, SeqCst);
        let is_asked = || self.asked.load(SeqCst) != self.taken.load(SeqCst);
        let due = || is_asked() || (self.woken.load(SeqCst) && !self.is_frozen());
        let wait = self.wait.wait(sched, timeout, || sched.should_stop() || due());
        if wait == Wait::TimedOut && self.is_frozen() {
            self.wait.wait(sched, None, || sched.should_stop() || !self.is_frozen() || due());
        }
        self.working.store(true, SeqCst);
        if due() {
            self.woken.store(false, SeqCst);
        }
        self.taken.store(self.asked.load(SeqCst), SeqCst);
        !sched.should_stop()
    }

    /// The daemon's own call before it looks for work a last time: who finds work for it after that look finds it asleep,
    /// and wakes it. Linux: `prepare_to_wait`, at which `waitqueue_active` begins to hold.
    pub fn prepare_to_sleep(&self) {
        self.working.store(false, SeqCst);
    }

    /// The daemon's own call when that look found work. Linux: `finish_wait`.
    pub fn stay_awake(&self) {
        self.working.store(true, SeqCst);
        self.woken.store(false, SeqCst);
    }

    /// The daemon's own call for a short sleep between two pieces of work; how many of the `ticks` were left when
    /// somebody woke it.
    pub fn nap(&self, sched: &impl Scheduler, ticks: u64) -> u64 {
        self.working.store(false, SeqCst);
        let wait = self.wait.wait(sched, Some(ticks), || sched.should_stop() || self.woken.load(SeqCst));
        self.stay_awake();
        if let Wait::Ready(left) = wait { left } else { 0 }
    }

    /// The daemon's own call when it has worked.
    pub fn work_done(&self, sched: &impl Scheduler) {
        self.done.fetch_add(1, SeqCst);
        self.served.store(self.taken.load(SeqCst), SeqCst);
        self.idle.wake_all(sched);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostThreads;
    use crate::sched::HZ;

    /// Runs `person` beside a daemon that counts how often it worked.
    fn with_daemon(timeout: Option<u64>, person: impl FnOnce(&HostThreads, &Daemon, &dyn Fn() -> u32)) {
        let (threads, daemon, count) = <(HostThreads, Daemon, AtomicU32)>::default();
        std::thread::scope(|scope| {
            threads.spawn(scope, || {
                while daemon.wait_for_work(&threads, timeout) {
                    count.fetch_add(1, SeqCst);
                    daemon.work_done(&threads);
                }
            });
            threads.settle();
            person(&threads, &daemon, &|| {
                threads.settle();
                count.load(SeqCst)
            });
            threads.stop();
        });
    }

    #[test]
    fn it_works_when_it_is_woken() {
        with_daemon(None, |threads, daemon, count| {
            assert_eq!((count(), daemon.is_asleep()), (0, true));
            daemon.wake(threads);
            assert!(!daemon.is_asleep());
            assert_eq!((count(), daemon.is_asleep()), (1, true));
        });
    }

    #[test]
    fn frozen_it_only_does_what_a_person_makes_it_do() {
        with_daemon(None, |threads, daemon, count| {
            daemon.freeze();
            daemon.wake(threads);
            assert_eq!((count(), daemon.is_asleep()), (0, false));
            assert!(daemon.run(threads));
            assert_eq!((count(), daemon.is_asleep()), (1, true));
            daemon.wake(threads);
            daemon.thaw(threads);
            assert_eq!(count(), 2);
        });
    }

    #[test]
    fn it_works_every_so_often_if_it_likes() {
        with_daemon(Some(HZ), |threads, daemon, count| {
            let wait = |ticks| WaitQueue::new().wait(threads, Some(ticks), || false);
            wait(3 * HZ + 1);
            assert_eq!(count(), 3);
            daemon.freeze();
            wait(3 * HZ);
            assert_eq!(count(), 3);
        });
    }

    #[test]
    fn without_a_thread_it_sleeps_until_it_is_woken() {
        let (threads, daemon) = <(HostThreads, Daemon)>::default();
        assert!(daemon.is_asleep());
        daemon.wake(&threads);
        assert!(!daemon.is_asleep());
    }
}
