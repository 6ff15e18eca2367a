//! What must be true: of a page that was given, of a refusal, and of the whole machine.

use kernel::addr::{Order, Pfn, PfnRange};
use kernel::check;
use kernel::gfp::Gfp;
use kernel::mm::census;
use kernel::mm::highmem;
use kernel::mm::zone::{AllocFlags, Zone};
use kernel::mmzone::MigrateType;
use kernel::quirks::Quirk;

use crate::model::Model;
use crate::request::{Request, context_of, highest_index};

impl Model<'_> {
    /// The page is where the request wants it, nobody else's, and as it must be.
    pub fn check_page(&self, request: &Request, pfn: Pfn) {
        let Request { gfp, order, node, nodes, .. } = *request;
        let (order, state) = (Order::new(order).unwrap(), self.memory.pages.at(self.memory.pages.index(pfn)).state());
        self.check_range(pfn, order.nr_pages());
        assert!(pfn.is_aligned(order));
        assert_eq!((state.order(), state.count(), state.owner()), (order, 1, 1));
        let zone = self.memory.zone(state.zone());
        assert!(zone.span.contains(pfn) && zone.span.contains(pfn.add(order.nr_pages() - 1)));
        assert!(zone.index <= highest_index(&self.memory, gfp), "{gfp} got {}", zone.zone_type);
        if nodes.is_some_and(|nodes| !nodes.contains(zone.node)) {
            self.check_other_node(request);
        }
        assert!(!gfp.contains(Gfp::__GFP_THISNODE) || zone.node == node);
        if gfp.contains(Gfp::__GFP_ZERO) {
            assert_eq!(highmem::first_other(&self.memory, pfn, order.nr_pages(), 0), None);
        }
    }

    /// A request may have a page of a node that is not in its mask: the slow path forgets the mask of those that cannot
    /// wait or may use the reserves, when its nodes have nothing.
    fn check_other_node(&self, request: &Request) {
        let Request { gfp, flags, .. } = *request;
        let entitled = gfp.contains(Gfp::__GFP_MEMALLOC) && !gfp.contains(Gfp::__GFP_NOMEMALLOC);
        assert!(flags.is_none() && (gfp.contains(Gfp::__GFP_ATOMIC) || entitled), "{gfp} left its nodes");
        self.check_refused(request);
    }

    /// The pages are RAM, not reserved, and in nobody's use.
    pub fn check_range(&self, pfn: Pfn, nr_pages: u64) {
        let pages = PfnRange::new(pfn, pfn.add(nr_pages));
        let inside = |region: &kernel::memblock::Region| region.range.pages_inside().intersect(pages) == pages;
        assert!(self.machine.memblock().free_ranges().any(|region| inside(&region)), "{pfn:?} is not free RAM");
        let below = self.used.range(..pages.end.0).next_back();
        let end = below.map_or(0, |(start, block)| start + (1 << block.order));
        assert!(end <= pfn.0, "{pfn:?} overlaps {below:?}");
    }

    /// No zone that the request may use would have given the block.
    pub fn check_refused(&self, request: &Request) {
        let Some(ac) = context_of(&self.memory, request) else { return };
        let flags = request.flags.unwrap_or(AllocFlags::WMARK_LOW);
        for zoneref in ac.zonelist.eligible(ac.highest, ac.nodemask) {
            let zone = self.memory.zone(usize::from(zoneref.zone));
            let own = MigrateType::ALL[..3].iter().any(|own| zone.counts.orders(*own) >> request.order != 0);
            let classzone = if self.memory.quirks.switched(Quirk::Classzone) && request.flags.is_none() {
                ac.highest
            } else {
                ac.classzone
            };
            let mark = zone.watermark(flags.watermark());
            let passes =
                flags.contains(AllocFlags::NO_WATERMARKS) || zone.watermark_ok(ac.order, mark, classzone, flags);
            assert!(!(own && passes), "{} could have given the block", zone.zone_type);
        }
    }

    /// Every page is free, on a per-CPU list, or in use.
    pub fn check_conservation(&self) {
        let sum = |count: fn(&Zone) -> u64| self.memory.populated_zones().map(count).sum::<u64>();
        let (free, waiting) = (sum(|zone| zone.counts.free_pages()), sum(Zone::pcp_pages));
        assert_eq!(free + waiting + self.used_pages, self.memory.totalram(), "pages are lost");
        assert_eq!(self.memory.leaked(), 0);
    }

    pub fn check_audit(&self) {
        let audit = check::audit(&self.memory);
        let findings: Vec<String> = audit.findings().filter(|f| !f.is_warning).map(ToString::to_string).collect();
        assert!(findings.is_empty(), "{findings:#?}");
        assert_eq!(audit.totals.allocated, self.used_pages);
    }

    /// Page and order of every free block.
    pub fn free_blocks(&self) -> Vec<(u64, u32)> {
        let mut blocks = Vec::new();
        for zone in self.memory.populated_zones() {
            let visit = |block: &census::FreeBlock| blocks.push((block.pfn.0, block.order.get()));
            census::for_each_free(&self.memory, zone, visit, |broken| panic!("{broken:?}"));
        }
        blocks.sort_unstable();
        blocks
    }
}
