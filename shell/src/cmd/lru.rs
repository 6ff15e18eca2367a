//! `lru`: the lists that reclaim works on, their lengths, and the pages at their ends.

use core::fmt::{self, Write as _};

use kernel::mm::lru::{node_stat, zone_stat};
use kernel::mm::lru_view;
use kernel::mm::node::Node;
use kernel::mm::sparse::Place;
use kernel::mm::zone::Zone;
use kernel::mmzone::NodeId;
use kernel::reclaim_types::LruList;

use super::pc::list::Marks;
use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// Pages shown of an end, at most.
const ENDS_MAX: usize = 32;
/// Pages shown of an end when nothing is said.
const ENDS: usize = 4;

/// `lru [LIST] [-n N]`
pub const fn lru<M: Machine>() -> Command<M> {
    Command {
        name: "lru",
        summary: "show the LRU lists: how long they are, or who is at the ends",
        help: "\
Without LIST the pages on each list, by node and zone. With LIST the first N
pages of each node's list (4 if N is left out, 32 at most) and the last ones,
in the list's order: pages come in at the head, reclaim takes the tail. A page
is told by its file and index, or its task and virtual page number.",
        args: &[
            Arg::Maybe(
                "LIST",
                Kind::Choice(&["inactive_anon", "active_anon", "inactive_file", "active_file", "unevictable"]),
            ),
            Arg::Opt("-n", "N", Kind::Number),
            Arg::Flag("--json"),
        ],
        examples: &["pc ra 0 0 100; lru; lru inactive_file -n 2", "lru --json"],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let nr = call.args.option("-n").map_or(Ok(ENDS as i64), |word| value::number_in("N", word, 1, ENDS_MAX as i64))?;
    let Some(word) = call.args.word(0) else {
        show_lengths(call)?;
        return Ok(Status::DONE);
    };
    let lru = value::one_of("LRU list", word, LruList::ALL.into_iter().map(|lru| (lru.name(), lru)))?;
    for node in call.shell.machine.memory().online_nodes() {
        show_ends(call, node, lru, nr as usize)?;
    }
    Ok(Status::DONE)
}

fn show_lengths<M: Machine>(call: &mut Call<'_, '_, M>) -> fmt::Result {
    for node in call.shell.machine.memory().online_nodes() {
        if call.json() { node_objects(call, node)? } else { node_table(call, node)? }
    }
    Ok(())
}

/// The zones of a node that have memory.
fn zones<M: Machine>(call: &Call<'_, '_, M>, node: &Node) -> impl Iterator<Item = &'static Zone> + use<M> {
    call.shell.machine.memory().zones_of(node.id).iter().filter(|zone| zone.is_populated())
}

/// The lists of a node, line by line; a column for each zone.
fn node_table<M: Machine>(call: &mut Call<'_, '_, M>, node: &Node) -> fmt::Result {
    write!(call, "Node {:<9} {:>9}", node.id, "all")?;
    zones(call, node).try_for_each(|zone| write!(call, " {:>9}", zone.zone_type.name()))?;
    writeln!(call)?;
    for lru in LruList::ALL {
        write!(call, "{lru:<14} {:>9}", node.stat(node_stat(lru)))?;
        zones(call, node).try_for_each(|zone| write!(call, " {:>9}", zone.stat(zone_stat(lru))))?;
        writeln!(call)?;
    }
    Ok(())
}

/// An object for each list.
fn node_objects<M: Machine>(call: &mut Call<'_, '_, M>, node: &Node) -> fmt::Result {
    for lru in LruList::ALL {
        write!(call, r#"{{"node":{},"list":"{lru}","all":{}"#, node.id, node.stat(node_stat(lru)))?;
        zones(call, node)
            .try_for_each(|zone| write!(call, r#","{}":{}"#, zone.zone_type.name(), zone.stat(zone_stat(lru))))?;
        writeln!(call, "}}")?;
    }
    Ok(())
}

fn show_ends<M: Machine>(
    call: &mut Call<'_, '_, M>,
    node: &Node,
    lru: LruList,
    nr: usize,
) -> Result<(), Trouble<'static>> {
    let (mut head, mut tail) = ([0; ENDS_MAX], [0; ENDS_MAX]);
    let [first, last] = lru_view::ends(call.shell.machine.memory(), node, lru, &mut head[..nr], &mut tail[..nr]);
    let length = node.stat(node_stat(lru));
    if !call.json() {
        writeln!(call, "Node {}, {lru}: {length} pages", node.id)?;
    }
    for (nth, &index) in (0..).zip(&head[..first]) {
        show_page(call, node.id, nth, index)?;
    }
    // What the head has shown already is not shown again.
    let rest = (length as usize).saturating_sub(first).min(last);
    if (length as usize) > first + rest && !call.json() {
        writeln!(call, "     ...")?;
    }
    for (nth, &index) in (length - rest as u64..).zip(tail[..rest].iter().rev()) {
        show_page(call, node.id, nth, index)?;
    }
    Ok(())
}

/// Whose a page is.
struct User(Option<Place>, Option<(u16, u32)>);

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            (Some(Place { object, index }), _) => write!(f, "file {object} page {index}"),
            (None, Some((pid, vpn))) => write!(f, "task {pid} page {vpn}"),
            (None, None) => f.write_str("nobody"),
        }
    }
}

fn show_page<M: Machine>(call: &mut Call<'_, '_, M>, node: NodeId, nth: u64, index: u32) -> fmt::Result {
    let (memory, users) = (call.shell.machine.memory(), call.users());
    let user = User(users.file_of(index), users.anon_of(index));
    let (pfn, marks) = (memory.pages.pfn(index), Marks(memory.pages.at(index).flags()));
    if call.json() {
        write!(call, r#"{{"node":{node},"position":{nth},"pfn":{},"user":"{user}","#, pfn.0)?;
        return writeln!(call, r#""flags":"{marks}"}}"#);
    }
    writeln!(call, "{nth:>8} pfn {pfn} {user} {marks}")
}

#[cfg(test)]
mod tests {
    use crate::testing::{check, run, shell};

    #[test]
    fn lists_have_lengths() {
        let mut shell = shell();
        run(&mut shell, "pc ra 0 0 100; anon 7");
        let output = "Node 0               all     DMA32\n\
                      inactive_anon          0         0\n\
                      active_anon            7         7\n\
                      inactive_file        100       100\n\
                      active_file            0         0\n\
                      unevictable            0         0\n";
        assert_eq!(run(&mut shell, "lru"), output);
        let objects = run(&mut shell, "lru --json");
        assert!(objects.contains("{\"node\":0,\"list\":\"inactive_file\",\"all\":100,\"DMA32\":100}\n"), "{objects}");
    }

    #[test]
    fn the_ends_of_a_list_are_shown() {
        let script = "pc ra 3 0 5; pc read 3 4 2; lru inactive_file -n 2; anon 1; lru active_anon";
        let output = "read ahead 5 of 5 pages\nread 2 pages: 1 cached, 1 from the store\n\
                      Node 0, inactive_file: 6 pages\n\
                      \x20      0 pfn 0x[..] file 3 page 5 lru,referenced,uptodate\n\
                      \x20      1 pfn 0x[..] file 3 page 4 lru,referenced,uptodate\n\
                      \x20    ...\n\
                      \x20      4 pfn 0x[..] file 3 page 1 lru,uptodate\n\
                      \x20      5 pfn 0x[..] file 3 page 0 lru,uptodate\n\
                      sh has 1 page more: 0..0\nNode 0, active_anon: 1 pages\n\
                      \x20      0 pfn 0x[..] task 1 page 0 lru,active,swapbacked,uptodate";
        check(script, output);
        let mut shell = shell();
        run(&mut shell, "pc ra 0 0 5");
        let objects = run(&mut shell, "lru inactive_file -n 1 --json");
        assert!(objects.starts_with(r#"{"node":0,"position":0,"pfn":"#) && objects.lines().count() == 2, "{objects}");
    }

    #[test]
    fn no_page_is_shown_twice() {
        let mut shell = shell();
        run(&mut shell, "pc ra 0 0 5");
        let shown = run(&mut shell, "lru inactive_file");
        assert_eq!(shown.lines().count(), 6, "{shown}");
        assert!(!shown.contains("..."));
    }

    #[test]
    fn bad_words() {
        check("lru inactive; echo $?", "lru: no LRU list `inactive`\n2");
        check("lru active_file -n 33", "lru: N must be 1..32, not 33");
    }
}
