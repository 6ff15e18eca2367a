//! What the shell and its jobs have in common, because a machine has it once: memory pools and the network.
//!
//! A pool is found by its name and lent as an [`Arc`], so that several may use it at once and one may wait in it while
//! another gives an object back. The network has no locks of its own: whoever uses it takes it away ([`Commons::with_net`]),
//! and who comes next waits. The locks in here are held for a moment, by threads alone.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kernel::mm::kmem_cache::{CacheName, KmemCache};
use kernel::mm::mempool::{Mempool, Source};
use kernel::mm::skb::Net;
use kernel::sched::{Scheduler, Wait, WaitQueue};
use spin::Mutex;

use crate::handles::NoRoom;
use crate::value::{self, ValueError};

/// A pool with a name.
pub struct Pool {
    name: CacheName,
    mempool: Mempool<'static>,
    /// Objects of it that somebody has.
    used: AtomicU64,
}

impl Pool {
    /// Its name.
    pub fn name(&self) -> CacheName {
        self.name
    }

    /// The kernel's side of it.
    pub fn mempool(&self) -> &Mempool<'static> {
        &self.mempool
    }

    /// Objects of it that somebody has.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Notes that somebody has an object more.
    pub fn count_taken(&self) {
        self.used.fetch_add(1, Relaxed);
    }

    /// Notes that an object came back.
    pub fn count_given(&self) {
        self.used.fetch_sub(1, Relaxed);
    }
}

/// Why a pool is not given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolInUse {
    /// Objects of it are not back yet.
    Objects,
    /// Another command works with it, or waits in it.
    Command,
}

/// Pools and network; clones are the same.
#[derive(Clone, Default)]
pub struct Commons(Arc<Shared>);

#[derive(Default)]
struct Shared {
    pools: Mutex<Vec<Arc<Pool>>>,
    net: Mutex<Network>,
    /// Where those wait who want the network.
    net_is_back: WaitQueue,
}

/// Where the network is.
#[derive(Default)]
enum Network {
    /// Nobody has used it yet.
    #[default]
    Unmade,
    /// Somebody uses it.
    Taken,
    /// Nobody uses it now.
    Idle(Box<Net<'static>>),
}

/// The wait for the network was called off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CalledOff;

impl Commons {
    /// The pool called `name`.
    pub fn pool<'a>(&self, name: &'a str) -> Result<Arc<Pool>, ValueError<'a>> {
        let pools = self.0.pools.lock();
        let found = pools.iter().find(|pool| pool.name.as_str() == name);
        found.cloned().ok_or_else(|| value::unknown("pool", name, pools.iter().map(|pool| pool.name.as_str())))
    }

    /// The pool at this place of the list.
    pub fn nth_pool(&self, place: usize) -> Option<Arc<Pool>> {
        self.0.pools.lock().get(place).cloned()
    }

    /// Adds a pool; gives it back if there is one of that name, or no room in the heap.
    pub fn add_pool(
        &self,
        name: CacheName,
        mempool: Mempool<'static>,
    ) -> Result<(), (Mempool<'static>, Option<NoRoom>)> {
        let mut pools = self.0.pools.lock();
        if pools.iter().any(|pool| pool.name == name) {
            return Err((mempool, None));
        }
        // What is shared below has no way to say that the heap is empty.
        if pools.try_reserve(1).is_err() || Vec::<Pool>::new().try_reserve_exact(2).is_err() {
            return Err((mempool, Some(NoRoom)));
        }
        pools.push(Arc::new(Pool { name, mempool, used: AtomicU64::new(0) }));
        Ok(())
    }

    /// Takes a pool off the list that nobody else uses.
    pub fn remove_pool(&self, pool: Arc<Pool>) -> Result<Mempool<'static>, PoolInUse> {
        let mut pools = self.0.pools.lock();
        if pool.used() > 0 {
            return Err(PoolInUse::Objects);
        }
        // The list has one, the caller the other, and nobody gets a third while the list is locked.
        if Arc::strong_count(&pool) > 2 {
            return Err(PoolInUse::Command);
        }
        pools.retain(|listed| !Arc::ptr_eq(listed, &pool));
        drop(pools);
        Arc::into_inner(pool).map(|pool| pool.mempool).ok_or(PoolInUse::Command)
    }

    /// Whether a pool takes from `cache`.
    pub fn takes_from(&self, cache: &KmemCache) -> bool {
        let takes =
            |pool: &Arc<Pool>| matches!(pool.mempool.source(), Source::Cache(has) if has.number() == cache.number());
        self.0.pools.lock().iter().any(takes)
    }

    /// Whether there is a network.
    pub fn has_net(&self) -> bool {
        !matches!(*self.0.net.lock(), Network::Unmade)
    }

    /// Runs `f` with the network, or with none if nobody has made it yet; `f` may. While another command uses it this
    /// one sleeps.
    pub fn with_net<R>(
        &self,
        sched: &impl Scheduler,
        f: impl FnOnce(&mut Option<Box<Net<'static>>>) -> R,
    ) -> Result<R, CalledOff> {
        let mut net = None;
        let take = || match core::mem::replace(&mut *self.0.net.lock(), Network::Taken) {
            Network::Taken => false,
            Network::Unmade => true,
            Network::Idle(idle) => {
                net = Some(idle);
                true
            }
        };
        if self.0.net_is_back.wait(sched, None, take) == Wait::Interrupted {
            return Err(CalledOff);
        }
        let result = f(&mut net);
        *self.0.net.lock() = net.map_or(Network::Unmade, Network::Idle);
        self.0.net_is_back.wake_all(sched);
        Ok(result)
    }
}
