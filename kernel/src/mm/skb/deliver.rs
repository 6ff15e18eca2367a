//! A packet on its way to its socket, in the softirq of the driver.
//!
//! Linux: `netif_receive_skb`, `__netif_receive_skb_core`, `skb_pfmemalloc_protocol`, `__sk_receive_skb`.
//! Linux does more: it finds the socket by the packet's headers, and may pass the packet to another CPU first.

use super::buff::SkBuff;
use super::sock::{self, sk_add_backlog};
use super::{Dropped, Net, kfree_skb};
use crate::mm::memory::{Env, Memory};
use crate::task::{Current, TaskFlags};

/// What sockets that make room speak: IPv4, ARP, 802.1Q, IPv6, 802.1AD.
const PFMEMALLOC_PROTOCOLS: [u16; 5] = [0x0800, 0x0806, 0x8100, 0x86dd, 0x88a8];

/// Whether a packet of this protocol may be for a socket that makes room. Linux: `skb_pfmemalloc_protocol`.
pub fn is_pfmemalloc_protocol(protocol: u16) -> bool {
    PFMEMALLOC_PROTOCOLS.contains(&protocol)
}

/// Delivers a packet to socket `sock`; whether it went to the backlog. Linux: `__netif_receive_skb`.
///
/// # Errors
///
/// When it is dropped; it was freed then.
pub fn netif_receive_skb<E: Env>(
    memory: &Memory<'_, E>,
    current: &Current<'_>,
    net: &mut Net<'_>,
    sock: usize,
    skb: SkBuff,
) -> Result<bool, Dropped> {
    let of_reserves = net.memalloc_socks() && skb.is_pfmemalloc(memory);
    let received = entitled(current, of_reserves, |_| receive_core(memory, net, sock, skb, of_reserves));
    match received {
        Ok(_) => net.stats.delivered += 1,
        Err(_) => kfree_skb(memory, current, net, skb),
    }
    received
}

/// Runs `process` with `PF_MEMALLOC` if the packet is one of the reserves: what it needs may come from there, too, for
/// it helps to make room. Linux: `memalloc_noreclaim_save`, `memalloc_noreclaim_restore`.
pub fn entitled<R>(current: &Current<'_>, of_reserves: bool, process: impl FnOnce(&Current<'_>) -> R) -> R {
    process(&if of_reserves { current.with(TaskFlags::PF_MEMALLOC) } else { *current })
}

/// Linux: `__netif_receive_skb_core`, and the protocols as far as they are about memory.
fn receive_core<E: Env>(
    memory: &Memory<'_, E>,
    net: &mut Net<'_>,
    sock: usize,
    skb: SkBuff,
    of_reserves: bool,
) -> Result<bool, Dropped> {
    let protocol = skb.protocol(memory);
    if of_reserves && !is_pfmemalloc_protocol(protocol) {
        net.stats.proto_drop += 1;
        return Err(Dropped::Protocol(protocol));
    }
    // Whoever listens to everything would keep the packet from being freed soon.
    net.stats.tapped += u64::from(!of_reserves);
    sk_receive_skb(memory, net, sock, skb)
}

/// Linux: `__sk_receive_skb`.
fn sk_receive_skb<E: Env>(
    memory: &Memory<'_, E>,
    net: &mut Net<'_>,
    sock: usize,
    skb: SkBuff,
) -> Result<bool, Dropped> {
    sock::sk_filter(memory, net, sock, skb)?;
    let is_owned = net.sock(sock).is_some_and(sock::Sock::is_owned);
    if is_owned {
        sk_add_backlog(memory, net, sock, skb)?;
    } else {
        sock::sock_queue_rcv_skb(memory, net, sock, skb)?;
    }
    Ok(is_owned)
}
