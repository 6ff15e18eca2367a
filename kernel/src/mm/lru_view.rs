//! A look at an LRU list from outside: its first and last pages.
//!
//! Linux shows the lists' lengths only; who wants to see which page goes next needs a debugger there.

use super::memory::{Env, Memory};
use super::node::Node;
use crate::reclaim_types::LruList;

/// Copies the record indices of the first pages of a list to `head` and of the last ones, the last one first, to `tail`;
/// how many of each. A page may be among both.
///
/// The list is locked meanwhile, so that neither should be long.
pub fn ends<E: Env>(
    memory: &Memory<'_, E>,
    node: &Node,
    lru: LruList,
    head: &mut [u32],
    tail: &mut [u32],
) -> [usize; 2] {
    let pin = memory.pin();
    let lruvec = node.lru.lock(&pin);
    let list = lruvec.list(lru);
    let copy = |to: &mut [u32], from: &mut dyn Iterator<Item = u32>| -> usize {
        to.iter_mut().zip(from).map(|(place, index)| *place = index).count()
    };
    [copy(head, &mut list.iter(&memory.pages)), copy(tail, &mut list.iter_rev(&memory.pages))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gfp::Gfp;
    use crate::mm::swap;
    use crate::mm::testing::{Lab, board_m64};
    use crate::mmzone::NodeId;

    #[test]
    fn a_list_is_seen_from_both_ends() {
        let machine = board_m64();
        let lab = Lab::new(&machine);
        let look = |len: usize| {
            let (mut head, mut tail) = ([0; 8], [0; 8]);
            let node = lab.memory.node(NodeId(0));
            let [first, last] = ends(&lab.memory, node, LruList::InactiveFile, &mut head[..len], &mut tail[..len]);
            (head[..first].to_vec(), tail[..last].to_vec())
        };
        assert_eq!(look(8), (vec![], vec![]));
        let pages: Vec<u32> =
            (0..5).map(|_| lab.memory.pages.index(lab.alloc(Gfp::GFP_HIGHUSER_MOVABLE, 0).unwrap())).collect();
        pages.iter().for_each(|&page| swap::lru_cache_add(&lab.memory, &lab.current(), page));
        assert_eq!(look(2), (vec![pages[4], pages[3]], vec![pages[0], pages[1]]));
        assert_eq!(look(8).1, pages);
    }
}
