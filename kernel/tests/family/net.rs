//! Pieces of pages, packets, and the sockets that these are for.

use kernel::addr::{PAGE_SIZE, PhysAddr};
use kernel::gfp::Gfp;
use kernel::host::HostEnv;
use kernel::mm::memory::Memory;
use kernel::mm::page_alloc;
use kernel::mm::page_frag::{PageFragCache, page_frag_alloc, page_frag_drain, page_frag_free};
use kernel::mm::skb::{self, Net, Packet, RCVBUF_DEFAULT, RxModel, SkBuff};

use crate::shadow::{Held, Region};
use crate::world::World;

/// Packets at a time, and pieces.
const PACKETS: usize = 200;
const PIECES: usize = 300;
/// Bytes that a packet's head counts as.
const HEAD_BYTES: u64 = 256;

/// A network, and a driver that has pieces of pages of its own.
pub struct Network<'m> {
    net: Net<'m>,
    /// Bytes of a head that may be used.
    head_bytes: u64,
    packets: Vec<(SkBuff, Held)>,
    cache: PageFragCache,
    pieces: Vec<(PhysAddr, Held)>,
}

impl<'m> Network<'m> {
    pub fn new(memory: &Memory<'m, HostEnv<'m>>) -> Network<'m> {
        let mut net = Net::new(memory).expect("a place for its cache");
        open(&mut net);
        let heads = memory.slabs.find("skbuff_head_cache").expect("the cache of heads");
        let head_bytes = heads.layout().usable().into();
        Network { net, head_bytes, packets: Vec::new(), cache: PageFragCache::new(), pieces: Vec::new() }
    }
}

/// Socket 0 is any, and socket 1 makes room.
fn open(net: &mut Net<'_>) {
    (0..2).for_each(|number| net.open(number, RCVBUF_DEFAULT).expect("a socket"));
    skb::sk_set_memalloc(net, 1).expect("the socket");
}

impl World<'_, '_> {
    pub fn work_on_pieces(&mut self) {
        let (memory, current) = (self.memory, self.current());
        if self.random.one_in(40) {
            page_frag_drain(memory, &current, &mut self.network.cache);
        }
        if let Some(number) = self.any(self.network.pieces.len())
            && (self.network.pieces.len() == PIECES || !self.takes())
        {
            return self.free_piece(number);
        }
        let longest = if self.random.one_in(10) { 4000 } else { 300 };
        let (bytes, gfp) = (8 * (1 + self.random.below(longest)), self.gfp());
        let piece = page_frag_alloc(memory, &current, &mut self.network.cache, bytes, gfp);
        let Ok(addr) = piece else { return };
        let held = self.shadow.hold_at(memory, addr, bytes);
        self.network.pieces.push((addr, held));
    }

    fn free_piece(&mut self, number: usize) {
        let (addr, held) = self.network.pieces.swap_remove(number);
        self.shadow.release(self.memory, &held);
        page_frag_free(self.memory, &self.current(), addr).expect("a piece in use");
    }

    pub fn work_on_packets(&mut self) {
        match self.any(self.network.packets.len()) {
            Some(number) if self.network.packets.len() == PACKETS || !self.takes() => self.free_packet(number),
            _ => self.take_packet(),
        }
    }

    fn take_packet(&mut self) {
        let (memory, current, net) = (self.memory, self.current(), &mut self.network.net);
        let len = if self.random.one_in(8) { 8000 } else { 1500 };
        let len = self.random.below(len) as u32;
        net.model = self.random.pick(&[RxModel::V50, RxModel::Seed]);
        let patient = Gfp::GFP_KERNEL | Gfp::__GFP_NORETRY;
        let gfp = self.random.pick(&[Gfp::GFP_ATOMIC, Gfp::GFP_ATOMIC, patient]) | Gfp::__GFP_NOWARN;
        let packet = match self.random.one_in(2) {
            true => skb::napi_alloc_skb(memory, &current, net, len, gfp),
            false => skb::netdev_alloc_skb(memory, &current, net, len, gfp),
        };
        let Ok(packet) = packet else { return };
        let (head, data) = (packet.head(memory), packet.data(memory));
        let bytes = packet.truesize(memory) - HEAD_BYTES;
        assert!(data.0 + u64::from(len) + skb::SHARED_INFO <= head.0 + bytes, "no room for {len} bytes");
        packet.put(memory, len, 0);
        let mut ranges = vec![packet.0.0..packet.0.0 + self.network.head_bytes, head.0..head.0 + bytes];
        let mut regions = vec![Region::phys(data, len.into())];
        for _ in 0..self.random.below(12).saturating_sub(8) {
            let Ok(pfn) = page_alloc::alloc_page(memory, &current, gfp) else { break };
            assert!(skb::add_rx_frag(memory, packet, pfn, PAGE_SIZE));
            ranges.push(pfn.addr().0..pfn.addr().0 + PAGE_SIZE);
            regions.push(Region::phys(pfn.addr(), PAGE_SIZE));
        }
        let held = self.shadow.hold(memory, ranges, regions);
        self.network.packets.push((packet, held));
    }

    fn free_packet(&mut self, number: usize) {
        let (packet, held) = self.network.packets.swap_remove(number);
        self.shadow.release(self.memory, &held);
        skb::kfree_skb(self.memory, &self.current(), &self.network.net, packet);
    }

    pub fn work_on_sockets(&mut self) {
        let (memory, current) = (self.memory, self.current());
        let sock = self.random.below(2) as usize;
        if self.takes() {
            let is_napi = self.random.one_in(2);
            let packet = Packet { is_napi, ..Packet::ipv4(sock, self.random.below(3000) as u32) };
            let net = &mut self.network.net;
            // Dropped or not: that is told by the network's own tests.
            _ = current.serve_softirq(|softirq| skb::rx(memory, &softirq, net, packet));
            return;
        }
        let consumed = skb::consume(memory, &current, &mut self.network.net, sock, self.random.below(20));
        assert_eq!(consumed.expect("a socket").damaged, 0);
    }

    pub fn give_back_network(&mut self) {
        while let Some(number) = self.any(self.network.packets.len()) {
            self.free_packet(number);
        }
        while let Some(number) = self.any(self.network.pieces.len()) {
            self.free_piece(number);
        }
        let (memory, current) = (self.memory, self.current());
        page_frag_drain(memory, &current, &mut self.network.cache);
        skb::close(memory, &current, &mut self.network.net);
        open(&mut self.network.net);
    }
}
