//! The receive path of the network as far as it is about memory: packets, the sockets that they are for, and who of
//! these may have memory from the reserves.
//!
//! A packet that comes in has to be put somewhere before anybody knows whose it is. A socket over which pages are
//! swapped out or written back ([`Sock`] with `SOCK_MEMALLOC`) must get its packets even when no memory is left, or none
//! ever will be; so once there is such a socket every packet may use the reserves, and those that did are dropped when
//! they turn out to be for anybody else.
//!
//! ```text
//!   rx                                       here: what a driver does in its softirq
//!     netdev_alloc_skb, napi_alloc_skb       memory    page_frag, or kmalloc; marks the packet that used the reserves
//!     netif_receive_skb                      deliver   PF_MEMALLOC for a marked packet; only known protocols
//!       sk_filter                            sock      marked, and not SOCK_MEMALLOC: PFMemallocDrop
//!       sock_queue_rcv_skb, sk_add_backlog   sock
//!   consume                                  here: what a program does that reads
//! ```
//!
//! Key types: [`Net`], the state of a machine's network, which whoever made it owns; [`SkBuff`], a packet, all of which
//! lies in memory of [`super::page_frag`] and [`super::slab`] as it does in Linux. Linux: `net/core/skbuff.c`,
//! `net/core/dev.c`, `net/core/sock.c`, `net/core/filter.c`.
//!
//! Linux does more: everything that is not about memory, and a cache of packet heads for each CPU.

use core::fmt;

use super::kmem_cache::{CacheError, CacheFlags, KmemCache};
use super::memory::{Env, Memory};
use super::page_frag::{self, NoFrag, PageFragCache};
use super::slab::{self, NoObject};
use crate::gfp::Gfp;
use crate::mmzone::NR_CPUS;
use crate::task::Current;

mod buff;
mod deliver;
mod memory;
mod sock;

pub use buff::{MAX_SKB_FRAGS, SHARED_INFO, SkBuff};
pub use deliver::{is_pfmemalloc_protocol, netif_receive_skb};
pub use memory::{add_rx_frag, alloc_skb, kfree_skb, napi_alloc_skb, netdev_alloc_skb};
pub use sock::{
    MAX_SOCKS, RCVBUF_DEFAULT, Sock, SockError, lock_sock, release_sock, sk_add_backlog, sk_clear_memalloc,
    sk_set_memalloc,
};

/// Name of the cache that the heads of packets come from.
const HEAD_CACHE: &str = "skbuff_head_cache";

/// Which kernel's rules say where the bytes of a packet come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RxModel {
    /// v5.0: fragments of pages, and one cache of these for whoever is not a NAPI driver.
    #[default]
    V50,
    /// The newer kernel of the study notes: `kmalloc` for small packets, and the cache of NAPI outside of hard
    /// interrupts.
    Seed,
}

impl RxModel {
    /// Every model, with its name in the shell.
    pub const ALL: [(&'static str, RxModel); 2] = [("v50", RxModel::V50), ("seed", RxModel::Seed)];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// What happened to packets so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NetStats {
    /// Packets that came in.
    pub rx: u64,
    /// Those for which there was no memory.
    pub rx_nomem: u64,
    /// Those in memory from the reserves.
    pub pfmemalloc: u64,
    /// Those of these that the filter dropped, for their socket makes no room. Linux: `LINUX_MIB_PFMEMALLOCDROP`.
    pub pfmemalloc_drop: u64,
    /// Those of these that no socket could be for, by their protocol. Linux: `rx_dropped` of the device.
    pub proto_drop: u64,
    /// Packets dropped because their socket holds enough. Linux: `sk_drops`.
    pub rcvbuf_drop: u64,
    /// Packets that whoever listens to all of them saw. Linux: `ptype_all`.
    pub tapped: u64,
    /// Packets that came to a socket, or to its backlog.
    pub delivered: u64,
}

/// Why a packet came to nobody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dropped {
    /// There is no memory for it.
    NoMemory(NoSkb),
    /// It is in memory from the reserves, and its socket makes no room. Linux: `-ENOMEM`.
    Pfmemalloc(usize),
    /// It is in memory from the reserves, and of a protocol that no socket that makes room speaks.
    Protocol(u16),
    /// The socket holds so many bytes, and may hold so many. Linux: `-ENOMEM`, or `-ENOBUFS` for the backlog.
    Rcvbuf(u64, u64),
    /// There is no such socket.
    NoSock(SockError),
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dropped::NoMemory(error) => write!(f, "NULL: {error}"),
            Dropped::Pfmemalloc(sock) => {
                write!(f, "-ENOMEM: in memory from the reserves, and socket {sock} is not SOCK_MEMALLOC")
            }
            Dropped::Protocol(protocol) => {
                write!(f, "in memory from the reserves, and nobody who makes room speaks protocol {protocol:#06x}")
            }
            Dropped::Rcvbuf(has, may) => write!(f, "the socket holds {has} bytes of at most {may}"),
            Dropped::NoSock(error) => error.fmt(f),
        }
    }
}

/// Why there is no memory for a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoSkb {
    /// None for its bytes, by the fragment.
    Frag(NoFrag),
    /// None for its bytes, by `kmalloc`.
    Data(NoObject),
    /// None for its head.
    Head(NoObject),
}

impl fmt::Display for NoSkb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoSkb::Frag(error) => write!(f, "no page fragment: {error}"),
            NoSkb::Data(error) => write!(f, "no data: {error}"),
            NoSkb::Head(error) => write!(f, "no sk_buff: {error}"),
        }
    }
}

/// The caches of a CPU, one for drivers that disable interrupts and one for those that do not.
#[derive(Clone, Copy, Default)]
struct FragCaches {
    /// Linux: `netdev_alloc_cache`.
    netdev: PageFragCache,
    /// Linux: `napi_alloc_cache`.
    napi: PageFragCache,
}

/// The network of a machine: its caches, its sockets, and what it counted.
///
/// Whoever has it has it alone, which stands in for the disabled interrupts under which Linux uses a CPU's caches.
pub struct Net<'m> {
    head_cache: &'m KmemCache,
    caches: [FragCaches; NR_CPUS],
    socks: [Option<Sock>; MAX_SOCKS],
    /// Where the bytes of packets come from.
    pub model: RxModel,
    stats: NetStats,
}

/// What became of the packets that a program read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Consumed {
    /// How many there were.
    pub packets: u64,
    /// Those whose bytes are not what came in.
    pub damaged: u64,
}

impl<'m> Net<'m> {
    /// A network without a socket, whose heads of packets come from a cache of the machine's. Linux: `skb_init`.
    ///
    /// # Errors
    ///
    /// When there is no room for the cache.
    pub fn new<E: Env>(memory: &Memory<'m, E>) -> Result<Net<'m>, CacheError> {
        let head_cache = match memory.slabs.find(HEAD_CACHE) {
            Some(cache) => cache,
            None => memory.slabs.create(HEAD_CACHE, buff::HEAD_BYTES, 0, CacheFlags::HWCACHE_ALIGN)?,
        };
        Ok(Net {
            head_cache,
            caches: [FragCaches::default(); NR_CPUS],
            socks: [const { None }; MAX_SOCKS],
            model: RxModel::V50,
            stats: NetStats::default(),
        })
    }

    /// What happened so far.
    pub fn stats(&self) -> NetStats {
        self.stats
    }

    /// The socket with this number.
    pub fn sock(&self, number: usize) -> Option<&Sock> {
        self.socks.get(number)?.as_ref()
    }

    /// The sockets, with their numbers.
    pub fn socks(&self) -> impl Iterator<Item = (usize, &Sock)> {
        self.socks.iter().enumerate().filter_map(|(number, sock)| Some((number, sock.as_ref()?)))
    }

    /// Whether any socket makes room, so that packets may use the reserves. Linux: `sk_memalloc_socks`.
    pub fn memalloc_socks(&self) -> bool {
        self.socks().any(|(_, sock)| sock.is_memalloc())
    }

    /// The block that packets of CPU `cpu` are cut off now: of drivers, and of NAPI drivers.
    pub fn frag_caches(&self, cpu: usize) -> [&PageFragCache; 2] {
        let caches = &self.caches[cpu % NR_CPUS];
        [&caches.netdev, &caches.napi]
    }
}

/// A packet that is about to come in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Packet {
    /// The socket that it is for.
    pub sock: usize,
    /// Its bytes.
    pub len: u32,
    /// The protocol that its Ethernet header names.
    pub protocol: u16,
    /// Whether the driver is a NAPI driver.
    pub is_napi: bool,
}

impl Packet {
    /// A packet of IPv4 that comes by an ordinary driver.
    pub const fn ipv4(sock: usize, len: u32) -> Packet {
        Packet { sock, len, protocol: 0x0800, is_napi: false }
    }
}

/// A packet comes in: what a driver does in its softirq. Whether the packet went to the backlog.
///
/// # Errors
///
/// When it is dropped: it was counted, and its memory is free again.
pub fn rx<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    net: &mut Net<'_>,
    packet: Packet,
) -> Result<bool, Dropped> {
    let Packet { sock, len, protocol, is_napi } = packet;
    net.sock(sock).ok_or(Dropped::NoSock(SockError::NoSock(sock)))?;
    net.stats.rx += 1;
    let alloc = if is_napi { napi_alloc_skb } else { netdev_alloc_skb };
    let skb = alloc(memory, current, net, len, Gfp::GFP_ATOMIC).map_err(|error| {
        net.stats.rx_nomem += 1;
        Dropped::NoMemory(error)
    })?;
    skb.put(memory, len, net.stats.rx);
    skb.set_protocol(memory, protocol);
    net.stats.pfmemalloc += u64::from(skb.is_pfmemalloc(memory));
    netif_receive_skb(memory, current, net, sock, skb)
}

/// Reads up to `count` packets of socket `sock`, as a program does, and frees them.
///
/// # Errors
///
/// When there is no such socket.
pub fn consume<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    net: &mut Net<'_>,
    sock: usize,
    count: u64,
) -> Result<Consumed, SockError> {
    net.sock(sock).ok_or(SockError::NoSock(sock))?;
    let mut consumed = Consumed::default();
    while consumed.packets < count
        && let Some(skb) = sock::dequeue(memory, net, sock)
    {
        consumed.packets += 1;
        consumed.damaged += u64::from(!skb.is_intact(memory));
        kfree_skb(memory, current, net, skb);
    }
    Ok(consumed)
}

/// Lets go of the blocks that packets are cut off, as a driver does that is unloaded; each is free when its last packet
/// is. Linux: `__page_frag_cache_drain`.
pub fn drain<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, net: &mut Net<'_>) {
    for caches in &mut net.caches {
        page_frag::page_frag_drain(memory, current, &mut caches.netdev);
        page_frag::page_frag_drain(memory, current, &mut caches.napi);
    }
}

/// Closes every socket and gives all memory back, but for what the cache of heads keeps for others.
pub fn close<E: Env>(memory: &Memory<'_, E>, current: &Current<'_>, net: &mut Net<'_>) {
    for number in 0..MAX_SOCKS {
        // Without a socket there is nothing to close.
        let _ = net.close_sock(memory, current, number);
    }
    drain(memory, current, net);
    slab::kmem_cache_shrink(memory, current, net.head_cache);
}

#[cfg(test)]
mod tests;
