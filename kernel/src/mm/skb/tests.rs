//! The receive path at work on the machine of the scenarios: scenarios by id, then the rules one by one.

use super::*;
use crate::addr::{PAGE_SIZE, PhysAddr};
use crate::mm::kmem_cache::MAX_KMALLOC_SIZE;
use crate::mm::memory::LinearMap;
use crate::mm::testing::{Lab, board_m64 as board, logged};
use crate::random::Random;
use crate::task::{Context, Current, TaskFlags};

/// Two sockets: N is an ordinary one, M makes room.
const N: usize = 0;
const M: usize = 1;

/// The machine with a network of socket N, and of socket M if `memalloc`; the CPU has heads of packets at hand.
fn network<'m>(lab: &Lab<'m>, memalloc: bool) -> Net<'m> {
    let mut net = Net::new(&lab.memory).unwrap();
    net.open(N, RCVBUF_DEFAULT).unwrap();
    if memalloc {
        net.open(M, RCVBUF_DEFAULT).unwrap();
        sk_set_memalloc(&mut net, M).unwrap();
    }
    net
}

/// Makes the CPU's slab of heads, and leaves `free` pages, none of them beside another that is free.
fn leave_singles(lab: &Lab<'_>, net: &Net<'_>, free: u64) {
    let head = slab::kmem_cache_alloc(&lab.memory, &lab.current(), net.head_cache, Gfp::GFP_KERNEL).unwrap();
    slab::kmem_cache_free(&lab.memory, &lab.current(), net.head_cache, head).unwrap();
    lab.set_free(0);
    let single = (0..free).map(|n| PhysAddr(0x4100_0000 + n * 2 * PAGE_SIZE).pfn());
    single.for_each(|pfn| _ = lab.free(pfn, 0).unwrap());
}

fn come(lab: &Lab<'_>, net: &mut Net<'_>, packet: Packet) -> Result<bool, Dropped> {
    lab.current().serve_softirq(|softirq| rx(&lab.memory, &softirq, net, packet))
}

/// Packets that wait at socket `sock`.
fn queued(net: &Net<'_>, sock: usize) -> u64 {
    net.sock(sock).unwrap().queued()[0]
}

/// Gives everything back that the network and its caches have.
fn give_all_back(lab: &Lab<'_>, net: &mut Net<'_>) {
    close(&lab.memory, &lab.current(), net);
    lab.memory.slabs.iter().for_each(|cache| _ = slab::kmem_cache_shrink(&lab.memory, &lab.current(), cache));
    lab.assert_sound();
}

#[test]
fn t60_seventeen_packets_fit_a_block_and_the_next_one_needs_another() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, false);
    let rx = |net: &mut Net<'_>, count: u64| {
        (0..count).for_each(|_| assert_eq!(come(&lab, net, Packet::ipv4(N, 1500)), Ok(false)));
        net.frag_caches(0)[0].pfn()
    };
    let first = rx(&mut net, 1);
    assert_eq!((rx(&mut net, 16), lab.nr_free()), (first, 16384 - 8 - 2));
    assert_ne!(rx(&mut net, 1), first);
    assert_eq!((lab.nr_free(), queued(&net, N)), (16384 - 2 * 8 - 2, 18));
    assert_eq!(net.sock(N).unwrap().memory(), (18 * (1920 + 256), RCVBUF_DEFAULT));
    let stats = NetStats { rx: 18, tapped: 18, delivered: 18, ..NetStats::default() };
    assert_eq!(net.stats(), stats);
    let read = consume(&lab.memory, &lab.current(), &mut net, N, 100);
    assert_eq!(read, Ok(Consumed { packets: 18, damaged: 0 }));
    give_all_back(&lab, &mut net);
    assert_eq!(lab.nr_free(), 16384);
}

#[test]
fn t60_only_the_newer_kernel_has_kmalloc_for_small_packets() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, false);
    let mut head_frag = |model, len| {
        net.model = model;
        let skb = netdev_alloc_skb(&lab.memory, &lab.current(), &mut net, len, Gfp::GFP_ATOMIC).unwrap();
        let is_frag = skb.is_head_frag(&lab.memory);
        assert_eq!(skb.data(&lab.memory).0, skb.head(&lab.memory).0 + 64);
        kfree_skb(&lab.memory, &lab.current(), &net, skb);
        is_frag
    };
    use RxModel::{Seed, V50};
    assert!(head_frag(V50, 100) && !head_frag(Seed, 100));
    assert!(!head_frag(Seed, 704 - 64) && head_frag(Seed, 704 - 64 + 1));
    for model in [V50, Seed] {
        assert!(head_frag(model, 3776 - 64) && !head_frag(model, 3776 - 64 + 1));
    }
    give_all_back(&lab, &mut net);
    assert_eq!(lab.nr_free(), 16384);
}

#[test]
fn t61_without_a_socket_that_makes_room_packets_have_no_reserves() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, false);
    leave_singles(&lab, &net, 90);
    let dropped = come(&lab, &mut net, Packet::ipv4(N, 1500));
    assert!(matches!(dropped, Err(Dropped::NoMemory(NoSkb::Frag(NoFrag::NoPage(_))))), "{dropped:?}");
    assert_eq!(net.stats(), NetStats { rx: 1, rx_nomem: 1, ..NetStats::default() });
    assert_eq!(lab.nr_free(), 90);
}

#[test]
fn t62_packets_of_the_reserves_are_for_sockets_that_make_room() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, true);
    leave_singles(&lab, &net, 90);
    assert_eq!(come(&lab, &mut net, Packet::ipv4(N, 1500)), Err(Dropped::Pfmemalloc(N)));
    assert_eq!((net.stats().pfmemalloc_drop, net.sock(N).unwrap().drops(), queued(&net, N)), (1, 1, 0));
    assert_eq!(come(&lab, &mut net, Packet::ipv4(M, 1500)), Ok(false));
    // Both were cut off the same page.
    assert_eq!((queued(&net, M), lab.nr_free()), (1, 89));
    let page = net.frag_caches(0)[0].pfn().unwrap();
    assert!(lab.is_pfmemalloc(page) && net.frag_caches(0)[0].is_pfmemalloc());
    let stats = NetStats { rx: 2, pfmemalloc: 2, pfmemalloc_drop: 1, delivered: 1, ..NetStats::default() };
    assert_eq!(net.stats(), stats);
    assert_eq!(consume(&lab.memory, &lab.current(), &mut net, M, 5), Ok(Consumed { packets: 1, damaged: 0 }));
    give_all_back(&lab, &mut net);
    assert_eq!(lab.nr_free(), 91);
}

#[test]
fn t63_above_the_floor_of_atomic_requests_no_packet_is_marked() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, true);
    leave_singles(&lab, &net, 200);
    assert_eq!(come(&lab, &mut net, Packet::ipv4(N, 1500)), Ok(false));
    let page = net.frag_caches(0)[0].pfn().unwrap();
    assert!(!lab.is_pfmemalloc(page));
    assert_eq!((lab.nr_free(), queued(&net, N)), (199, 1));
    assert_eq!(net.stats(), NetStats { rx: 1, tapped: 1, delivered: 1, ..NetStats::default() });
}

#[test]
fn t64_packets_of_the_reserves_speak_a_protocol_that_makes_room() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, true);
    leave_singles(&lab, &net, 90);
    let lldp = Packet { protocol: 0x88cc, ..Packet::ipv4(M, 1500) };
    assert_eq!(come(&lab, &mut net, lldp), Err(Dropped::Protocol(0x88cc)));
    let stats = NetStats { rx: 1, pfmemalloc: 1, proto_drop: 1, ..NetStats::default() };
    assert_eq!((net.stats(), queued(&net, M)), (stats, 0));
    for protocol in [0x0800, 0x0806, 0x8100, 0x86dd, 0x88a8] {
        assert_eq!(come(&lab, &mut net, Packet { protocol, ..lldp }), Ok(false), "{protocol:#x}");
    }
    // A packet in other memory may be of any protocol.
    drain(&lab.memory, &lab.current(), &mut net);
    leave_singles(&lab, &net, 300);
    assert_eq!(come(&lab, &mut net, lldp), Ok(false));
}

#[test]
fn packets_per_block_are_what_their_sizes_allow() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    for (len, expected) in [(100, 64), (256, 51), (512, 36), (1024, 23), (1500, 17), (2048, 13)] {
        let mut net = network(&lab, false);
        come(&lab, &mut net, Packet::ipv4(N, len)).unwrap();
        let first = net.frag_caches(0)[0].pfn();
        let mut packets = 0;
        while net.frag_caches(0)[0].pfn() == first {
            packets += 1;
            come(&lab, &mut net, Packet::ipv4(N, len)).unwrap();
        }
        assert_eq!(packets, expected, "{len} bytes");
        give_all_back(&lab, &mut net);
        assert_eq!(lab.nr_free(), 16384);
    }
}

#[test]
fn who_takes_from_which_cache_depends_on_model_and_context() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let used = |model, context, is_napi| {
        let mut net = network(&lab, false);
        net.model = model;
        let current = lab.current().in_context(context);
        rx(&lab.memory, &current, &mut net, Packet { is_napi, ..Packet::ipv4(N, 1500) }).unwrap();
        let used = net.frag_caches(0).map(|cache| cache.pfn().is_some());
        close(&lab.memory, &lab.current(), &mut net);
        used
    };
    let [netdev, napi] = [[true, false], [false, true]];
    assert_eq!(used(RxModel::V50, Context::SoftIrq, false), netdev);
    assert_eq!(used(RxModel::V50, Context::HardIrq, false), netdev);
    assert_eq!(used(RxModel::Seed, Context::SoftIrq, false), napi);
    assert_eq!(used(RxModel::Seed, Context::HardIrq, false), netdev);
    assert_eq!(used(RxModel::V50, Context::SoftIrq, true), napi);
}

#[test]
fn large_packets_try_without_the_reserves_first() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, true);
    let large = |net: &mut Net<'_>, gfp| netdev_alloc_skb(&lab.memory, &lab.current(), net, 5000, gfp);
    let skb = large(&mut net, Gfp::GFP_ATOMIC).unwrap();
    assert!(!skb.is_pfmemalloc(&lab.memory) && !skb.is_head_frag(&lab.memory));
    assert_eq!(skb.truesize(&lab.memory), MAX_KMALLOC_SIZE + 256);
    kfree_skb(&lab.memory, &lab.current(), &net, skb);
    // A caller who may sleep gets objects of kmalloc, too.
    let sleeper = netdev_alloc_skb(&lab.memory, &lab.current(), &mut net, 100, Gfp::GFP_KERNEL).unwrap();
    assert!(!sleeper.is_head_frag(&lab.memory));
    kfree_skb(&lab.memory, &lab.current(), &net, sleeper);
    slab::kmem_cache_shrink(&lab.memory, &lab.current(), lab.memory.slabs.find("kmalloc-8k").unwrap());
    // What is left has blocks of order 3, but is below the floor.
    let head = slab::kmem_cache_alloc(&lab.memory, &lab.current(), net.head_cache, Gfp::GFP_KERNEL).unwrap();
    slab::kmem_cache_free(&lab.memory, &lab.current(), net.head_cache, head).unwrap();
    lab.set_free(90);
    let skb = large(&mut net, Gfp::GFP_ATOMIC).unwrap();
    assert!(skb.is_pfmemalloc(&lab.memory));
    kfree_skb(&lab.memory, &lab.current(), &net, skb);
    sk_clear_memalloc(&mut net, M).unwrap();
    drain(&lab.memory, &lab.current(), &mut net);
    assert!(matches!(large(&mut net, Gfp::GFP_ATOMIC), Err(NoSkb::Data(NoObject::NoMemory(_)))));
}

#[test]
fn without_a_head_the_bytes_are_given_back() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, true);
    lab.set_free(90);
    // M lets the bytes come from the reserves; heads never do.
    let report = logged(|| {
        let dropped = come(&lab, &mut net, Packet::ipv4(M, 1500));
        assert!(matches!(dropped, Err(Dropped::NoMemory(NoSkb::Head(_)))), "{dropped:?}");
    });
    assert!(report.contains("cache: skbuff_head_cache, object size: 232, buffer size: 256"), "{report}");
    assert_eq!(net.stats().rx_nomem, 1);
    drain(&lab.memory, &lab.current(), &mut net);
    assert_eq!(lab.nr_free(), 90);
}

#[test]
fn a_packet_of_the_reserves_is_worked_on_with_the_reserves() {
    let machine = board();
    let lab = Lab::new(&machine);
    let current = lab.current();
    let has_it = |current: &Current<'_>| current.flags().contains(TaskFlags::PF_MEMALLOC);
    assert!(deliver::entitled(&current, true, has_it) && !deliver::entitled(&current, false, has_it));
    assert!(!has_it(&current));
    current.task.change_flags(TaskFlags::PF_MEMALLOC, TaskFlags::empty());
    assert!(deliver::entitled(&current, true, has_it) && has_it(&current));
}

#[test]
fn a_page_of_the_reserves_marks_the_packet_that_gets_it() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, true);
    let skb = napi_alloc_skb(&lab.memory, &lab.current(), &mut net, 100, Gfp::GFP_ATOMIC).unwrap();
    let plain = lab.alloc(Gfp::GFP_KERNEL, 0).unwrap();
    assert!(add_rx_frag(&lab.memory, skb, plain, 1000) && !skb.is_pfmemalloc(&lab.memory));
    lab.set_free(90);
    let marked = lab.alloc(Gfp::GFP_ATOMIC | Gfp::__GFP_MEMALLOC, 0).unwrap();
    assert!(add_rx_frag(&lab.memory, skb, marked, 500) && skb.is_pfmemalloc(&lab.memory));
    assert_eq!((skb.len(&lab.memory), skb.nr_frags(&lab.memory), skb.frag(&lab.memory, 1)), (1500, 2, marked));
    for _ in 2..MAX_SKB_FRAGS {
        let page = lab.alloc(Gfp::GFP_ATOMIC | Gfp::__GFP_MEMALLOC, 0).unwrap();
        assert!(add_rx_frag(&lab.memory, skb, page, 1));
    }
    assert!(!add_rx_frag(&lab.memory, skb, plain, 1) && lab.nr_free() == 90 - 16);
    skb.set_protocol(&lab.memory, 0x0800);
    assert_eq!(netif_receive_skb(&lab.memory, &lab.current(), &mut net, N, skb), Err(Dropped::Pfmemalloc(N)));
    // The packet's pages came back: 16 of the reserves, and the plain one.
    assert_eq!(lab.nr_free(), 91);
}

#[test]
fn a_socket_takes_what_it_may_and_from_the_reserves_more() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, true);
    net.open(N, 5000).unwrap();
    net.open(M, 1).unwrap();
    let come_to = |net: &mut Net<'_>, sock| come(&lab, net, Packet::ipv4(sock, 1500));
    assert_eq!([(); 3].map(|()| come_to(&mut net, N)), [Ok(false); 3]);
    assert_eq!(come_to(&mut net, N), Err(Dropped::Rcvbuf(3 * 2176, 5000)));
    assert_eq!(come_to(&mut net, M), Ok(false));
    assert_eq!(come_to(&mut net, M), Err(Dropped::Rcvbuf(2176, 1)));
    assert_eq!((net.stats().rcvbuf_drop, net.sock(M).unwrap().drops()), (2, 1));
    drain(&lab.memory, &lab.current(), &mut net);
    leave_singles(&lab, &net, 90);
    assert_eq!([(); 3].map(|()| come_to(&mut net, M)), [Ok(false); 3]);
    assert_eq!((net.stats().pfmemalloc, queued(&net, M)), (3, 4));
}

#[test]
fn packets_wait_while_a_program_works_on_the_socket() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, true);
    lock_sock(&mut net, M).unwrap();
    assert_eq!(lock_sock(&mut net, M), Err(SockError::Owned(M)));
    leave_singles(&lab, &net, 90);
    assert_eq!(come(&lab, &mut net, Packet::ipv4(M, 1500)), Ok(true));
    assert_eq!(net.sock(M).unwrap().queued(), [0, 1]);
    // Who puts it there without the filter is refused as well, and nothing is counted.
    let skb = netdev_alloc_skb(&lab.memory, &lab.current(), &mut net, 1500, Gfp::GFP_ATOMIC).unwrap();
    assert_eq!(sk_add_backlog(&lab.memory, &mut net, N, skb), Err(Dropped::Pfmemalloc(N)));
    assert_eq!(net.stats().pfmemalloc_drop, 0);
    sk_add_backlog(&lab.memory, &mut net, M, skb).unwrap();
    assert_eq!(release_sock(&lab.memory, &lab.current(), &mut net, M), Ok(2));
    assert_eq!(net.sock(M).unwrap().queued(), [2, 0]);
    assert_eq!(release_sock(&lab.memory, &lab.current(), &mut net, M), Err(SockError::NotOwned(M)));
    give_all_back(&lab, &mut net);
    assert_eq!(lab.nr_free(), 91);
}

#[test]
fn a_socket_that_no_longer_makes_room_loses_its_backlog_of_the_reserves() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, true);
    lock_sock(&mut net, M).unwrap();
    leave_singles(&lab, &net, 90);
    come(&lab, &mut net, Packet::ipv4(M, 1500)).unwrap();
    assert!(net.sock(M).unwrap().allocation().contains(Gfp::__GFP_MEMALLOC));
    sk_clear_memalloc(&mut net, M).unwrap();
    assert_eq!(net.sock(M).unwrap().allocation(), Gfp::GFP_KERNEL);
    let report = logged(|| assert_eq!(release_sock(&lab.memory, &lab.current(), &mut net, M), Ok(0)));
    assert!(report.contains("socket 1, which is not SOCK_MEMALLOC"), "{report}");
    assert_eq!(net.sock(M).unwrap().memory().0, 0);
}

#[test]
fn mistakes_are_named_and_change_nothing() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, false);
    let absent = Err(Dropped::NoSock(SockError::NoSock(7)));
    assert_eq!((come(&lab, &mut net, Packet::ipv4(7, 100)), net.stats()), (absent, NetStats::default()));
    assert_eq!(net.open(MAX_SOCKS, 1), Err(SockError::Number(MAX_SOCKS)));
    assert_eq!(consume(&lab.memory, &lab.current(), &mut net, 7, 1), Err(SockError::NoSock(7)));
    assert_eq!(net.close_sock(&lab.memory, &lab.current(), 7), Err(SockError::NoSock(7)));
    // Somebody writes to a packet, and another one frees its page by number.
    come(&lab, &mut net, Packet::ipv4(N, 100)).unwrap();
    come(&lab, &mut net, Packet::ipv4(N, 0)).unwrap();
    let page = net.frag_caches(0)[0].pfn().unwrap();
    (0..PAGE_SIZE)
        .step_by(8)
        .for_each(|at| lab.memory.env.linear().write_word(PhysAddr(page.addr().0 + 7 * PAGE_SIZE + at), 5));
    assert_eq!(consume(&lab.memory, &lab.current(), &mut net, N, 9), Ok(Consumed { packets: 2, damaged: 1 }));
}

#[test]
fn many_packets_leave_no_page_behind() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    let mut net = network(&lab, true);
    let (steps, mut random) = (if cfg!(miri) { 150 } else { 3000 }, Random::new(1));
    for step in 0..steps {
        let sock = random.pick(&[N, M]);
        let packet = Packet { is_napi: random.one_in(2), ..Packet::ipv4(sock, random.below(9000) as u32) };
        net.model = random.pick(&[RxModel::Seed, RxModel::V50]);
        match random.below(8) {
            0 => {
                let read = consume(&lab.memory, &lab.current(), &mut net, sock, random.below(64));
                assert_eq!(read.map(|read| read.damaged), Ok(0), "step {step}");
            }
            1 => _ = lock_sock(&mut net, sock),
            2 => _ = release_sock(&lab.memory, &lab.current(), &mut net, sock),
            _ => _ = come(&lab, &mut net, packet),
        }
    }
    let NetStats { rx, delivered, rcvbuf_drop, .. } = net.stats();
    assert!(rx == delivered + rcvbuf_drop && delivered > steps / 6, "{:?}", net.stats());
    give_all_back(&lab, &mut net);
    assert_eq!(lab.nr_free(), 16384);
}

#[test]
fn for_every_request_that_fails_everything_is_given_back() {
    let machine = board();
    let lab = Lab::scenario(&machine, 16384);
    lab.set_free(5);
    let mut taken = lab.loop_until_null(&lab.current(), Gfp::GFP_ATOMIC | Gfp::__GFP_MEMALLOC, 0);
    for free in 0..=5 {
        for model in [RxModel::V50, RxModel::Seed] {
            let mut net = network(&lab, true);
            net.model = model;
            assert_eq!(lab.nr_free(), free);
            for len in [100, 1500, 3000, 9000] {
                _ = come(&lab, &mut net, Packet::ipv4(M, len));
            }
            assert!(net.stats().rx_nomem > 0);
            close(&lab.memory, &lab.current(), &mut net);
            lab.memory.slabs.iter().for_each(|cache| _ = slab::kmem_cache_shrink(&lab.memory, &lab.current(), cache));
            assert_eq!(lab.nr_free(), free, "{model:?}");
        }
        taken.pop().into_iter().for_each(|pfn| _ = lab.free(pfn, 0).unwrap());
    }
}
