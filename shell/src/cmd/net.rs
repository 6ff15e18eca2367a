//! `net`: packets that come in, and the sockets that may have memory from the reserves.
//!
//! The model is the kernel's `skb`; here it gets its packets. Linux: `__netdev_alloc_skb`, `netif_receive_skb`.

use alloc::boxed::Box;
use core::fmt::Write as _;

use kernel::mm::memory::Env;
use kernel::mm::skb::{self, Dropped, MAX_SOCKS, Net, NetStats, Packet, RCVBUF_DEFAULT, RxModel, Sock, SockError};
use kernel::task::Context;

use super::kmalloc::refuse;
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::commons::CalledOff;
use crate::count::Count;
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// Protocols that have a name.
const PROTOCOLS: [(&str, u16); 6] =
    [("ip", 0x0800), ("arp", 0x0806), ("ipv6", 0x86dd), ("8021q", 0x8100), ("8021ad", 0x88a8), ("lldp", 0x88cc)];

/// `net sock N [memalloc|plain|close] [--rcvbuf SIZE]`
pub const fn sock<M: Machine>() -> Command<M> {
    Command {
        name: "net sock",
        summary: "open a socket, and say whether it makes room",
        help: "\
Pages are swapped out or written back over a socket that is memalloc: once
there is one, packets may use the reserves, and those that did are dropped if
they are for another one. --rcvbuf: what waiting packets may take.
Linux: sk_set_memalloc, sk_clear_memalloc. See study note 0.",
        args: &[
            Arg::One("N", Kind::Number),
            Arg::Maybe("memalloc|plain|close", Kind::Choice(&["memalloc", "plain", "close"])),
            Arg::Opt("--rcvbuf", "SIZE", Kind::Number),
        ],
        examples: &["net sock 0; net sock 1 memalloc; net stat"],
        run: run_sock,
    }
}

/// `net rx N LEN [COUNT] [PROTOCOL] [--napi]`
pub const fn rx<M: Machine>() -> Command<M> {
    Command {
        name: "net rx",
        summary: "let packets come in for a socket",
        help: "\
COUNT packets of LEN bytes, in a softirq: the driver allocates with GFP_ATOMIC
and PF_MEMALLOC of the interrupted task does not count. PROTOCOL is ip (as it
is if you say nothing), arp, ipv6, 8021q, 8021ad, lldp or a number.
Linux: __netdev_alloc_skb (--napi: napi_alloc_skb), netif_receive_skb. See
study note 0, whose listing is that of a newer kernel: net model seed.",
        args: &[
            Arg::One("N", Kind::Number),
            Arg::One("LEN", Kind::Number),
            Arg::Maybe("COUNT", Kind::Number),
            Arg::Maybe("PROTOCOL", Kind::Text),
            Arg::Flag("--napi"),
        ],
        examples: &["net sock 0; net rx 0 1500 18; net stat", "net sock 1 memalloc; net rx 1 100 1 arp"],
        run: run_rx,
    }
}

/// `net consume N [COUNT]`
pub const fn consume<M: Machine>() -> Command<M> {
    Command {
        name: "net consume",
        summary: "read packets of a socket and free them",
        help: "\
All of them if there is no COUNT. Each must begin with what came in.
Linux: skb_recv_datagram, consume_skb. See study note 0.",
        args: &[Arg::One("N", Kind::Number), Arg::Maybe("COUNT", Kind::Number)],
        examples: &["net sock 0; net rx 0 1500 18; net consume 0 5; net consume 0"],
        run: run_consume,
    }
}

/// `net stat [--json]`
pub const fn stat<M: Machine>() -> Command<M> {
    Command {
        name: "net stat",
        summary: "show what became of packets, and the sockets",
        help: "\
rx_nomem: no memory for the packet. pfmemalloc: in memory from the reserves;
of these PFMemallocDrop were for a socket that makes no room, proto_drop of a
protocol that no such socket speaks. rcvbuf_drop: the socket held enough.
tapped: seen by whoever listens to everything. queued: wait to be read.
Linux: /proc/net/netstat, /proc/net/softnet_stat. See study note 0.",
        args: &[Arg::Flag("--json")],
        examples: &["net stat", "net sock 0; net rx 0 1500; net stat --json"],
        run: run_stat,
    }
}

/// `net model [v50|seed]`
pub const fn model<M: Machine>() -> Command<M> {
    Command {
        name: "net model",
        summary: "choose by whose rules packets get their memory",
        help: "\
v50: that of v5.0. seed: that of the newer kernel which study note 0
lists: kmalloc for small packets, and NAPI's cache outside of hard interrupts.
Linux: __netdev_alloc_skb.",
        args: &[Arg::Maybe("v50|seed", Kind::Choice(&["v50", "seed"]))],
        examples: &["net model seed; net sock 0; net rx 0 100 3; net model v50"],
        run: run_model,
    }
}

/// `net lock N [off]`
pub const fn lock<M: Machine>() -> Command<M> {
    Command {
        name: "net lock",
        summary: "work on a socket, so that packets wait in its backlog",
        help: "\
off: done; the backlog is received now, by the task that you act as.
Linux: lock_sock, release_sock, sk_add_backlog. See study note 0.",
        args: &[Arg::One("N", Kind::Number), Arg::Maybe("off", Kind::Choice(&["off"]))],
        examples: &["net sock 0; net lock 0; net rx 0 1500 2; net lock 0 off"],
        run: run_lock,
    }
}

/// `net drain`
pub const fn drain<M: Machine>() -> Command<M> {
    Command {
        name: "net drain",
        summary: "give back the blocks that packets are cut off",
        help: "\
As when a driver is unloaded; a block is free when its last packet is.
Linux: __page_frag_cache_drain. See study note 0.",
        args: &[],
        examples: &["net sock 0; net rx 0 1500; net consume 0; net drain"],
        run: run_drain,
    }
}

/// Runs `f` with the network, which is made when it is first used; waits while another command uses it.
fn with_net<'a, M: Machine, R>(
    call: &mut Call<'_, 'a, M>,
    f: impl FnOnce(&mut Call<'_, 'a, M>, &mut Net<'static>) -> R,
) -> Result<R, Trouble<'a>> {
    let (commons, memory) = (call.shell.session.commons.clone(), call.shell.machine.memory());
    let result = commons.with_net(memory.env.sched(), |net| {
        if net.is_none() {
            let new = Net::new(memory);
            let new = new.map_err(|_| Trouble::Refused("there is no room for the cache skbuff_head_cache"))?;
            *net = Some(Box::new(new));
        }
        Ok(f(call, net.as_mut().expect("made above")))
    });
    result.map_err(|CalledOff| {
        // ^C that ended a wait is spent.
        call.shell.machine.interrupted();
        Trouble::Interrupted
    })?
}

/// The number of a socket.
fn number<'a, M: Machine>(call: &Call<'_, 'a, M>) -> Result<usize, Trouble<'a>> {
    Ok(value::number_in("the socket", call.args.must(0), 0, MAX_SOCKS as i64 - 1)? as usize)
}

/// Done, or a line that says why not.
fn done_or_refused<'a, M: Machine>(call: &mut Call<'_, 'a, M>, result: Result<(), SockError>) -> Outcome<'a> {
    result.map_or_else(|error| refuse(call, error), |()| Ok(Status::DONE))
}

fn run_sock<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let number = number(call)?;
    let rcvbuf = call.args.option("--rcvbuf").map(value::size).transpose()?;
    let what = call.args.word(1).unwrap_or("open");
    if !["open", "memalloc", "plain", "close"].contains(&what) {
        return Err(value::unknown("kind of socket", what, ["memalloc", "plain", "close"].into_iter()).into());
    }
    let result = with_net(call, |call, net| {
        if what == "close" {
            return call.kernel(|memory, current| net.close_sock(memory, current, number));
        }
        let now = net.sock(number).map(|sock| sock.memory().1);
        net.open(number, rcvbuf.or(now).unwrap_or(RCVBUF_DEFAULT))?;
        match what {
            "memalloc" => skb::sk_set_memalloc(net, number),
            "plain" => skb::sk_clear_memalloc(net, number),
            _ => Ok(()),
        }
    })?;
    done_or_refused(call, result)
}

/// A packet comes in, in a softirq that interrupts whoever acts.
fn receive<M: Machine>(call: &mut Call<'_, '_, M>, net: &mut Net<'static>, packet: Packet) -> Result<bool, Dropped> {
    let (memory, current) = (call.shell.machine.memory(), call.current());
    let mut result = Ok(false);
    call.shell.machine.in_context(Context::SoftIrq, &mut || {
        result = current.serve_softirq(|softirq| skb::rx(memory, &softirq, net, packet));
    });
    result
}

fn run_rx<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let sock = number(call)?;
    let len = value::number_in("the length", call.args.must(1), 0, 65_535)? as u32;
    let count = call.args.word(2).map_or(Ok(1), |word| value::number_in("the count", word, 1, u32::MAX.into()))?;
    let protocol = call.args.word(3).unwrap_or("ip");
    let named = PROTOCOLS.iter().find(|(name, _)| *name == protocol).map(|(_, number)| *number);
    let protocol =
        named.map_or_else(|| value::number_in("the protocol", protocol, 0, 0xffff), |n| Ok(n.into()))? as u16;
    let packet = Packet { sock, len, protocol, is_napi: call.args.flag("--napi") };
    let (mut counts, mut last) = ([0_u64; 2], None);
    with_net(call, |call, net| -> Result<(), Trouble<'static>> {
        for _ in 0..count {
            call.check_interrupt()?;
            match receive(call, net, packet) {
                Ok(is_backlog) => counts[usize::from(is_backlog)] += 1,
                Err(dropped) => last = Some(dropped),
            }
            if let Some(Dropped::NoSock(_)) = last {
                break;
            }
        }
        Ok(())
    })??;
    let [delivered, backlog] = counts;
    if let Some(error @ Dropped::NoSock(_)) = last {
        return refuse(call, error);
    }
    write!(call, "delivered {} of {count}", delivered + backlog)?;
    if backlog > 0 {
        writeln!(call, ", to the backlog")?;
    } else {
        writeln!(call)?;
    }
    match last {
        Some(dropped) => refuse(call, format_args!("dropped: {dropped}")),
        None => Ok(Status::DONE),
    }
}

fn run_consume<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let sock = number(call)?;
    let count = call.args.word(1).map_or(Ok(u64::MAX), value::number)?;
    let read =
        with_net(call, |call, net| call.kernel(|memory, current| skb::consume(memory, current, net, sock, count)))?;
    let read = match read {
        Ok(read) => read,
        Err(error) => return refuse(call, error),
    };
    writeln!(call, "read {}", Count(read.packets, "packet"))?;
    if read.damaged > 0 {
        writeln!(call, "{} of them are not what came in", read.damaged)?;
        return Ok(Status::AUDIT);
    }
    Ok(Status::DONE)
}

/// The counters with their names, those of the specification first.
fn counters(stats: NetStats, queued: u64) -> [(&'static str, u64); 9] {
    [
        ("rx", stats.rx),
        ("rx_nomem", stats.rx_nomem),
        ("pfmemalloc", stats.pfmemalloc),
        ("PFMemallocDrop", stats.pfmemalloc_drop),
        ("proto_drop", stats.proto_drop),
        ("delivered", stats.delivered),
        ("queued", queued),
        ("rcvbuf_drop", stats.rcvbuf_drop),
        ("tapped", stats.tapped),
    ]
}

fn run_stat<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    with_net(call, |call, net| {
        let queued = net.socks().flat_map(|(_, sock)| sock.queued()).sum();
        let counters = counters(net.stats(), queued);
        if call.json() {
            for (n, (name, value)) in counters.into_iter().enumerate() {
                write!(call, "{}\"{name}\":{value}", if n == 0 { "{" } else { "," })?;
            }
            writeln!(call, "}}")?;
            return Ok(Status::DONE);
        }
        counters.iter().try_for_each(|(name, value)| writeln!(call, "{name:<15} {value:>7}"))?;
        net.socks().try_for_each(|(number, sock)| show_sock(call, number, sock))?;
        Ok(Status::DONE)
    })?
}

fn show_sock<M: Machine>(call: &mut Call<'_, '_, M>, number: usize, sock: &Sock) -> Result<(), Trouble<'static>> {
    let ([queued, backlog], (bytes, rcvbuf)) = (sock.queued(), sock.memory());
    let mark = if sock.is_memalloc() { " SOCK_MEMALLOC" } else { "" };
    let owned = if sock.is_owned() { " locked" } else { "" };
    write!(call, "socket {number}: queued {queued}, backlog {backlog}, {bytes} of {rcvbuf} bytes, ")?;
    writeln!(call, "{} drops{mark}{owned}", sock.drops())?;
    Ok(())
}

fn run_model<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let wanted = call.args.word(0).map(|word| value::one_of("model", word, RxModel::ALL.into_iter())).transpose()?;
    let model = with_net(call, |_, net| {
        net.model = wanted.unwrap_or(net.model);
        net.model
    })?;
    writeln!(call, "{}", model.name())?;
    Ok(Status::DONE)
}

fn run_lock<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let number = number(call)?;
    let Some(word) = call.args.word(1) else {
        let result = with_net(call, |_, net| skb::lock_sock(net, number))?;
        return done_or_refused(call, result);
    };
    value::one_of("word", word, [("off", ())].into_iter())?;
    let released =
        with_net(call, |call, net| call.kernel(|memory, current| skb::release_sock(memory, current, net, number)))?;
    match released {
        Ok(packets) => {
            writeln!(call, "{packets} came from the backlog")?;
            Ok(Status::DONE)
        }
        Err(error) => refuse(call, error),
    }
}

fn run_drain<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    with_net(call, |call, net| call.kernel(|memory, current| skb::drain(memory, current, net)))?;
    Ok(Status::DONE)
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, run, shell};

    #[test]
    fn packets_come_are_read_and_leave_nothing_behind() {
        check(
            "net sock 0; net rx 0 1500 18; net consume 0 5; net consume 0; net drain; net stat --json; audit",
            "delivered 18 of 18\nread 5 packets\nread 13 packets\n{\"rx\":18,\"rx_nomem\":0,\"pfmemalloc\":0,[..]\n[..]",
        );
    }

    #[test]
    fn packets_of_the_reserves_are_for_those_who_make_room() {
        // The CPU has heads of packets at hand, since the first packet came.
        let mut shell = shell();
        run(
            &mut shell,
            "task pf sh +memalloc; net sock 0; net sock 1 memalloc; net rx 0 100; net consume 0; net drain",
        );
        run(&mut shell, "free to 90 DMA32");
        let output = run(&mut shell, "net rx 0 1500; echo $?; net rx 1 1500; net rx 1 1500 1 lldp; net stat");
        let expected = "delivered 0 of 1\ndropped: -ENOMEM: in memory from the reserves, and socket 0 is not SOCK_MEMALLOC\n1\n\
                        delivered 1 of 1\ndelivered 0 of 1\ndropped: in memory from the reserves, and nobody who makes room \
                        speaks protocol 0x88cc\n";
        assert!(output.starts_with(expected), "{output}");
        assert!(output.contains("PFMemallocDrop        1\nproto_drop            1\n"), "{output}");
        assert!(output.ends_with("of 212992 bytes, 0 drops SOCK_MEMALLOC\n"), "{output}");
        // Without a socket that makes room not even PF_MEMALLOC of the interrupted task helps.
        let output = run(&mut shell, "net sock 1 close; net drain; net rx 0 1500; echo $?; task list");
        assert!(output.contains("dropped: NULL: no page fragment: ") && output.contains("PF_MEMALLOC"), "{output}");
    }

    #[test]
    fn a_locked_socket_has_a_backlog() {
        check(
            "net sock 3 --rcvbuf 5000; net lock 3; net rx 3 100 2; net lock 3; echo $?; net lock 3 off; net lock 3 off",
            "delivered 2 of 2, to the backlog\nsocket 3 is locked already\n1\n2 came from the backlog\nsocket 3 is not locked",
        );
    }

    #[test]
    fn mistakes_are_named() {
        check("net rx 5 100; echo $?; net consume 5", "there is no socket 5\n1\nthere is no socket 5");
        check("net sock 16; echo $?", "net sock: the socket must be 0..15, not 16\n2");
        check("net rx 0 65536", "net rx: the length must be 0..65535, not 65536");
        check("net sock 0; net rx 0 100 1 ipx; echo $?", "net rx: `ipx` is not a number[..]\n2");
        check("net sock 0 memaloc", "net sock: no kind of socket `memaloc`; did you mean `memalloc`?");
        check("net model v51; echo $?; net model seed", "net model: no model `v51`; did you mean `v50`?\n2\nseed");
        check(
            "net stat; cache destroy skbuff_head_cache",
            "rx[..]\n[..]\n[..]\n[..]\n[..]\n[..]\n[..]\n[..]\n[..]\ncache destroy: the network takes[..]",
        );
    }
}
