//! Sockets: the queues that packets wait in, how much of them, and whether the socket makes room.
//!
//! A queue's packets are linked through their heads. Linux: `net/core/sock.c`, `sk_filter_trim_cap` of
//! `net/core/filter.c`.
//! Linux does more: memory limits for a protocol as a whole, filters that look at the packet, and everything else that a
//! socket is.

use core::fmt;

use super::buff::SkBuff;
use super::deliver::entitled;
use super::{Dropped, Net, kfree_skb};
use crate::gfp::Gfp;
use crate::mm::memory::{Env, Memory};
use crate::task::Current;

/// Sockets at most; their numbers start at 0.
pub const MAX_SOCKS: usize = 16;
/// Bytes that the packets of a socket may take. Linux: `sysctl_rmem_default`.
pub const RCVBUF_DEFAULT: u64 = 212_992;

/// Why something cannot be done to a socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SockError {
    /// Numbers are below [`MAX_SOCKS`].
    Number(usize),
    /// There is none with this number.
    NoSock(usize),
    /// A program has it locked already.
    Owned(usize),
    /// No program has it locked.
    NotOwned(usize),
}

impl fmt::Display for SockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SockError::Number(number) => write!(f, "sockets are 0 to {}, not {number}", MAX_SOCKS - 1),
            SockError::NoSock(number) => write!(f, "there is no socket {number}"),
            SockError::Owned(number) => write!(f, "socket {number} is locked already"),
            SockError::NotOwned(number) => write!(f, "socket {number} is not locked"),
        }
    }
}

/// Packets one behind the other. Linux: `struct sk_buff_head`.
#[derive(Debug)]
struct Queue {
    ends: Option<(SkBuff, SkBuff)>,
    len: u64,
    /// Bytes that its packets take.
    bytes: u64,
}

impl Queue {
    const EMPTY: Queue = Queue { ends: None, len: 0, bytes: 0 };

    fn push<E: Env>(&mut self, memory: &Memory<'_, E>, skb: SkBuff) {
        skb.set_next(memory, None);
        let first = self.ends.map_or(skb, |(first, last)| {
            last.set_next(memory, Some(skb));
            first
        });
        self.ends = Some((first, skb));
        self.len += 1;
        self.bytes += skb.truesize(memory);
    }

    fn pop<E: Env>(&mut self, memory: &Memory<'_, E>) -> Option<SkBuff> {
        let (first, last) = self.ends?;
        self.ends = first.next(memory).map(|next| (next, last));
        self.len -= 1;
        self.bytes -= first.truesize(memory);
        Some(first)
    }
}

/// A socket. Linux: `struct sock`.
#[derive(Debug)]
pub struct Sock {
    receive: Queue,
    backlog: Queue,
    /// Bytes that the packets may take.
    rcvbuf: u64,
    is_memalloc: bool,
    is_owned: bool,
    /// The mask of what is allocated on the socket's behalf.
    allocation: Gfp,
    drops: u64,
}

impl Sock {
    const fn new(rcvbuf: u64) -> Sock {
        Sock {
            receive: Queue::EMPTY,
            backlog: Queue::EMPTY,
            rcvbuf,
            is_memalloc: false,
            is_owned: false,
            allocation: Gfp::GFP_KERNEL,
            drops: 0,
        }
    }

    /// Whether the socket makes room: packets for it may stay in memory from the reserves. Linux: `SOCK_MEMALLOC`.
    pub fn is_memalloc(&self) -> bool {
        self.is_memalloc
    }

    /// Whether a program works on it, so that packets wait in the backlog. Linux: `sock_owned_by_user`.
    pub fn is_owned(&self) -> bool {
        self.is_owned
    }

    /// Packets that wait to be read, and those in the backlog.
    pub fn queued(&self) -> [u64; 2] {
        [self.receive.len, self.backlog.len]
    }

    /// Bytes of these, and how many they may be. Linux: `sk_rmem_alloc`, `sk_rcvbuf`.
    pub fn memory(&self) -> (u64, u64) {
        (self.receive.bytes + self.backlog.bytes, self.rcvbuf)
    }

    /// The mask of what is allocated on the socket's behalf. Linux: `sk_allocation`.
    pub fn allocation(&self) -> Gfp {
        self.allocation
    }

    /// Packets for the socket that were dropped. Linux: `sk_drops`.
    pub fn drops(&self) -> u64 {
        self.drops
    }
}

impl Net<'_> {
    fn sock_mut(&mut self, number: usize) -> Result<&mut Sock, SockError> {
        self.socks.get_mut(number).and_then(Option::as_mut).ok_or(SockError::NoSock(number))
    }

    /// Opens socket `number`, whose packets may take `rcvbuf` bytes; one that is open gets the new limit.
    ///
    /// # Errors
    ///
    /// When the number is too high.
    pub fn open(&mut self, number: usize, rcvbuf: u64) -> Result<(), SockError> {
        let place = self.socks.get_mut(number).ok_or(SockError::Number(number))?;
        place.get_or_insert(Sock::new(rcvbuf)).rcvbuf = rcvbuf;
        Ok(())
    }

    /// Closes socket `number` and frees its packets.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn close_sock<E: Env>(
        &mut self,
        memory: &Memory<'_, E>,
        current: &Current<'_>,
        number: usize,
    ) -> Result<(), SockError> {
        let mut sock = self.socks.get_mut(number).and_then(Option::take).ok_or(SockError::NoSock(number))?;
        while let Some(skb) = sock.receive.pop(memory).or_else(|| sock.backlog.pop(memory)) {
            kfree_skb(memory, current, self, skb);
        }
        Ok(())
    }
}

/// Makes a socket one that makes room. Linux: `sk_set_memalloc`.
///
/// # Errors
///
/// When there is none.
pub fn sk_set_memalloc(net: &mut Net<'_>, number: usize) -> Result<(), SockError> {
    let sock = net.sock_mut(number)?;
    sock.is_memalloc = true;
    sock.allocation |= Gfp::__GFP_MEMALLOC;
    Ok(())
}

/// Makes a socket one that does not. Linux: `sk_clear_memalloc`.
///
/// # Errors
///
/// When there is none.
pub fn sk_clear_memalloc(net: &mut Net<'_>, number: usize) -> Result<(), SockError> {
    let sock = net.sock_mut(number)?;
    sock.is_memalloc = false;
    sock.allocation -= Gfp::__GFP_MEMALLOC;
    Ok(())
}

/// Whether the socket takes the packet, by what is known of its memory. Linux: the first test of `sk_filter_trim_cap`.
pub fn sk_filter<E: Env>(memory: &Memory<'_, E>, net: &mut Net<'_>, number: usize, skb: SkBuff) -> Result<(), Dropped> {
    let sock = net.sock_mut(number).map_err(Dropped::NoSock)?;
    if skb.is_pfmemalloc(memory) && !sock.is_memalloc {
        sock.drops += 1;
        net.stats.pfmemalloc_drop += 1;
        return Err(Dropped::Pfmemalloc(number));
    }
    Ok(())
}

/// Puts a packet where a program will read it. Linux: `__sock_queue_rcv_skb`.
pub fn sock_queue_rcv_skb<E: Env>(
    memory: &Memory<'_, E>,
    net: &mut Net<'_>,
    number: usize,
    skb: SkBuff,
) -> Result<(), Dropped> {
    let sock = net.sock_mut(number).map_err(Dropped::NoSock)?;
    // One of the reserves is never too much, for it will soon be read and freed. Linux asks twice, and makes the exception
    // only for what is kept for the protocol as a whole.
    if sock.receive.bytes >= sock.rcvbuf && !skb.is_pfmemalloc(memory) {
        return Err(full(net, number));
    }
    sock.receive.push(memory, skb);
    Ok(())
}

/// Puts a packet where it waits until the program that works on the socket is done. Linux: `sk_add_backlog`.
///
/// # Errors
///
/// When the socket holds enough, or the packet is one of the reserves and the socket does not make room; the packet is
/// the caller's then.
pub fn sk_add_backlog<E: Env>(
    memory: &Memory<'_, E>,
    net: &mut Net<'_>,
    number: usize,
    skb: SkBuff,
) -> Result<(), Dropped> {
    let sock = net.sock_mut(number).map_err(Dropped::NoSock)?;
    if sock.receive.bytes + sock.backlog.bytes > sock.rcvbuf {
        return Err(full(net, number));
    }
    if skb.is_pfmemalloc(memory) && !sock.is_memalloc {
        return Err(Dropped::Pfmemalloc(number));
    }
    sock.backlog.push(memory, skb);
    Ok(())
}

/// Counts a packet that the socket has no room for.
fn full(net: &mut Net<'_>, number: usize) -> Dropped {
    net.stats.rcvbuf_drop += 1;
    let Ok(sock) = net.sock_mut(number) else { return Dropped::NoSock(SockError::NoSock(number)) };
    sock.drops += 1;
    let (has, may) = sock.memory();
    Dropped::Rcvbuf(has, may)
}

/// The first packet that waits to be read. Linux: `skb_recv_datagram`.
pub fn dequeue<E: Env>(memory: &Memory<'_, E>, net: &mut Net<'_>, number: usize) -> Option<SkBuff> {
    net.sock_mut(number).ok()?.receive.pop(memory)
}

/// A program begins to work on the socket. Linux: `lock_sock`.
///
/// # Errors
///
/// When there is none, or another one does; Linux waits then.
pub fn lock_sock(net: &mut Net<'_>, number: usize) -> Result<(), SockError> {
    let sock = net.sock_mut(number)?;
    if core::mem::replace(&mut sock.is_owned, true) { Err(SockError::Owned(number)) } else { Ok(()) }
}

/// The program is done: what waits in the backlog is received now, by the program's task; how many packets that are.
/// Linux: `release_sock`, `__sk_backlog_rcv`.
///
/// # Errors
///
/// When there is no such socket, or nobody works on it.
pub fn release_sock<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    net: &mut Net<'_>,
    number: usize,
) -> Result<u64, SockError> {
    let sock = net.sock_mut(number)?;
    if !core::mem::replace(&mut sock.is_owned, false) {
        return Err(SockError::NotOwned(number));
    }
    let mut received = 0;
    while let Some(skb) = net.sock_mut(number)?.backlog.pop(memory) {
        let of_reserves = skb.is_pfmemalloc(memory);
        if of_reserves && !net.sock_mut(number)?.is_memalloc {
            // Linux stops the machine here (BUG_ON): the socket made room when the packet came.
            log::error!("__sk_backlog_rcv: a packet of the reserves for socket {number}, which is not SOCK_MEMALLOC");
            kfree_skb(memory, current, net, skb);
            continue;
        }
        match entitled(current, of_reserves, |_| sock_queue_rcv_skb(memory, net, number, skb)) {
            Ok(()) => received += 1,
            Err(_) => kfree_skb(memory, current, net, skb),
        }
    }
    Ok(received)
}
