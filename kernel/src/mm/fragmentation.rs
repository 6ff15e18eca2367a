//! How far a zone's free memory is from serving a request: two indices, made of the free blocks alone.
//!
//! Both are functions of [`NrFree`], the free blocks by order, and answer in thousandths. `proc::extfrag` prints them;
//! compaction decides by the second one. Linux: `mm/vmstat.c`, `fill_contig_page_info` and what uses it.

use crate::addr::{MAX_ORDER, Order};

/// Free blocks by order.
pub type NrFree = [u64; MAX_ORDER as usize];

/// Free pages in all blocks.
fn free_pages(nr_free: &NrFree) -> u64 {
    nr_free.iter().enumerate().map(|(order, blocks)| blocks << order).sum()
}

/// Blocks of `order` that could be cut out of the free ones.
fn suitable(nr_free: &NrFree, order: Order) -> u64 {
    nr_free.iter().skip(order.index()).enumerate().map(|(above, blocks)| blocks << above).sum()
}

/// Which part of the free memory cannot serve `order`, because its blocks are smaller: 0 to 1000.
///
/// Linux: `unusable_free_index`.
pub fn unusable_index(nr_free: &NrFree, order: Order) -> i64 {
    match free_pages(nr_free) {
        0 => 1000,
        free => (1000 * (free - (suitable(nr_free, order) << order.get())) / free) as i64,
    }
}

/// Whether a request of `order` would fail for want of memory (towards 0) or because it lies in pieces (towards 1000);
/// -1000 when it would not fail. One piece that is nearly large enough makes it negative, too.
#[doc(alias = "fragmentation_index")]
pub fn extfrag_index(nr_free: &NrFree, order: Order) -> i64 {
    let blocks: u64 = nr_free.iter().sum();
    if blocks == 0 {
        return 0;
    }
    if suitable(nr_free, order) > 0 {
        return -1000;
    }
    1000 - ((1000 + free_pages(nr_free) * 1000 / order.nr_pages()) / blocks) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(free: &[u64], order: u32, unusable: i64, extfrag: i64) {
        let mut nr_free = NrFree::default();
        nr_free[..free.len()].copy_from_slice(free);
        let order = Order::new(order).unwrap();
        assert_eq!((unusable_index(&nr_free, order), extfrag_index(&nr_free, order)), (unusable, extfrag), "{free:?}");
    }

    #[test]
    fn no_memory_is_all_unusable_and_not_fragmented() {
        check(&[], 0, 1000, 0);
        check(&[], 10, 1000, 0);
    }

    #[test]
    fn a_large_block_serves_every_order() {
        check(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 0, 0, -1000);
        check(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 10, 0, -1000);
    }

    #[test]
    fn pieces_make_the_index_rise() {
        // 1024 single pages for an order of 10: enough memory, all of it in pieces.
        check(&[1024], 10, 1000, 1000 - 2000 / 1024);
        // Two pages in all: it is memory that lacks.
        check(&[2], 10, 1000, 1000 - 1001 / 2);
        // 8 pages of 24 are in blocks too small for order 2.
        check(&[4, 2, 0, 2], 2, 333, -1000);
        check(&[4, 2, 0, 2], 4, 1000, 1000 - 2500 / 8);
    }

    #[test]
    fn t56_the_index_tells_lack_of_memory_from_lack_of_order() {
        let blocks = |count, order: usize| {
            let mut nr_free = NrFree::default();
            nr_free[order] = count;
            nr_free
        };
        let index = |count, order, wanted| extfrag_index(&blocks(count, order), Order::new(wanted).unwrap());
        assert_eq!([index(4096, 0, 4), index(100, 0, 4), index(2, 3, 4)], [938, 928, 0]);
        assert_eq!([index(12, 8, 9), index(64, 6, 9), index(0, 0, 4), index(1, 9, 4)], [417, 860, 0, -1000]);
    }

    #[test]
    fn one_block_that_is_nearly_large_enough_is_below_zero() {
        check(&[1], 1, 1000, -500);
    }
}
