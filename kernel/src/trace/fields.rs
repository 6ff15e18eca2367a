//! Fields that events of several groups have, each printed in one place.
//!
//! Key types: [`ZoneRef`] (a zone by name) and `Page` (a page as `page=` and `pfn=`). A page prints as the physical address
//! of its frame, where Linux has the address of its record.

use core::fmt;

use crate::addr::Pfn;
use crate::mmzone::{NodeId, ZoneType};

/// A zone of a node, by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ZoneRef {
    /// The node.
    pub node: NodeId,
    /// The zone's type.
    pub zone: ZoneType,
}

impl fmt::Display for ZoneRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node={} zone={:<8}", self.node, self.zone)
    }
}

/// A page as `page=` and `pfn=`.
pub(super) struct Page(pub(super) Option<Pfn>);

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(pfn) => write!(f, "page={:#x} pfn={}", pfn.addr().0, pfn.0),
            None => f.write_str("page=(null) pfn=0"),
        }
    }
}
