//! /proc/slabinfo: what every slab cache has, the newest first.
//!
//! Key type: [`Row`]. Neighbour: [`crate::mm::slabinfo`] counts. Linux: `print_slabinfo_header`, `cache_show`.

use core::fmt;

use super::{Form, json};
use crate::mm::kmem_cache::{CacheName, KmemCache};
use crate::mm::memory::{Env, Memory};
use crate::mm::slabinfo::{SlabInfo, slabinfo};

/// What stands above the caches.
const HEADER: &str = "\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>
";

/// The line of a cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The cache's name.
    pub name: CacheName,
    /// Its figures.
    pub info: SlabInfo,
}

impl Row {
    /// The cache's line as of now.
    pub fn of<E: Env>(memory: &Memory<'_, E>, cache: &KmemCache) -> Row {
        Row { name: cache.name(), info: slabinfo(memory, cache) }
    }

    /// Objects and pages of a slab.
    pub fn per_slab(&self) -> (u16, u64) {
        let layout = &self.info.layout;
        (layout.objects(layout.order), layout.order.nr_pages())
    }

    /// Writes the line as an object.
    pub fn write_json(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        let SlabInfo { active_objs, num_objs, num_slabs, layout } = self.info;
        let (objects, pages) = self.per_slab();
        let mut row = json::Object::new(out);
        row.text("name", self.name.as_str())?.field("active_objs", active_objs)?.field("num_objs", num_objs)?;
        row.field("object_size", layout.object_size)?.field("obj_size", layout.size)?;
        row.field("obj_per_slab", objects)?.field("pages_per_slab", pages)?.field("num_slabs", num_slabs)?.end()
    }
}

/// The line without the newline. Nothing is tunable, and all slabs count as active.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SlabInfo { active_objs, num_objs, num_slabs, layout } = self.info;
        let (objects, pages) = self.per_slab();
        write!(f, "{:<17} {active_objs:>6} {num_objs:>6} {:>6} {objects:>4} {pages:>4}", self.name, layout.size)?;
        write!(f, " : tunables {:>4} {:>4} {:>4}", 0, 0, 0)?;
        write!(f, " : slabdata {num_slabs:>6} {num_slabs:>6} {:>6}", 0)
    }
}

/// Writes the table.
pub fn write<E: Env>(memory: &Memory<'_, E>, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    if form == Form::Text {
        out.write_str(HEADER)?;
    }
    for row in memory.slabs.iter().map(|cache| Row::of(memory, cache)) {
        match form {
            Form::Text => writeln!(out, "{row}")?,
            Form::Json => row.write_json(out)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gfp::Gfp;
    use crate::host::HostMachine;
    use crate::mm::slab::kmalloc;
    use crate::task::{Current, TaskTable};

    #[test]
    fn a_line_is_as_wide_as_linux_makes_it() {
        let machine = HostMachine::new("", &[(0x4000_0000, 64 << 20, 0)], &[]);
        let (memory, tasks) = (machine.memory(), TaskTable::new("sh"));
        kmalloc(&memory, &Current::new(tasks.init()), 4096, Gfp::GFP_KERNEL).unwrap();
        let mut text = String::new();
        write(&memory, Form::Text, &mut text).unwrap();
        assert_eq!(text.lines().count(), 2 + 14);
        let first = "kmalloc-rcl-8k         0      0   8192    4    8 : tunables    0    0    0 : slabdata      0      0      0";
        assert_eq!(text.lines().nth(2), Some(first));
        let used = "kmalloc-4k             8      8   4096    8    8 : tunables    0    0    0 : slabdata      1      1      0";
        assert!(text.lines().any(|line| line == used), "{text}");
        text.clear();
        write(&memory, Form::Json, &mut text).unwrap();
        let json = "{\"name\":\"kmalloc-4k\",\"active_objs\":8,\"num_objs\":8,\"object_size\":4096,\"obj_size\":4096,\
                    \"obj_per_slab\":8,\"pages_per_slab\":8,\"num_slabs\":1}";
        assert!(text.lines().any(|line| line == json), "{text}");
    }
}
