//! /proc/iomem: what lies where in the physical address space.
//!
//! [`ram`] gives the lines for memory: what memblock knows, with the sections of the kernel image in their places; the
//! machine adds its devices. Neighbour: [`crate::memblock::Resource`]. Linux: `r_show`, `request_standard_resources`,
//! `reserve_memblock_reserved_regions`.
//!
//! Linux does more: drivers request and release resources while the machine runs.

use core::fmt;

use super::{Form, json};
use crate::memblock::{AddrRange, Memblock, Resource};

/// The lines for memory, by address; `image` are the sections of the kernel image, by address, each in whole pages.
pub fn ram<'a>(memblock: &'a Memblock, image: &'a [Resource]) -> impl Iterator<Item = Resource> + 'a {
    memblock.resources().flat_map(move |resource| split(resource, if resource.level == 0 { &[] } else { image }))
}

/// `outer`, or when sections lie in it, the sections and what is left of it around them.
fn split(outer: Resource, sections: &[Resource]) -> impl Iterator<Item = Resource> + '_ {
    let mut at = outer.range.start;
    core::iter::from_fn(move || {
        if at >= outer.range.end {
            return None;
        }
        let next = sections.iter().find(|section| section.range.end > at && outer.range.covers(section.range));
        let line = match next {
            Some(section) if section.range.start <= at => Resource { level: outer.level, ..*section },
            Some(section) => Resource { range: AddrRange::new(at, section.range.start), ..outer },
            None => Resource { range: AddrRange::new(at, outer.range.end), ..outer },
        };
        at = line.range.end;
        Some(line)
    })
}

/// Writes the table of `resources`.
pub fn write(resources: &[Resource], form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    for Resource { level, range, name } in resources {
        let (start, last) = (range.start.0, range.end.0.wrapping_sub(1));
        match form {
            Form::Text => {
                let indent = 2 * usize::from(*level);
                writeln!(out, "{:indent$}{start:08x}-{last:08x} : {name}", "")?;
            }
            Form::Json => {
                let mut row = json::Object::new(out);
                row.field("level", level)?.field("start", start)?.field("last", last)?.word("name", name)?.end()?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::PhysAddr;

    fn section(start: u64, end: u64, name: &'static str) -> Resource {
        Resource { level: 1, range: AddrRange::new(PhysAddr(start), PhysAddr(end)), name }
    }

    fn table(form: Form) -> String {
        let mut memblock = Memblock::new();
        for (base, size) in [(0x4000_0000, 0x4000_0000), (0x1_0000_0000, 0x4000_0000)] {
            memblock.add(AddrRange::sized(PhysAddr(base), size)).unwrap();
        }
        for (base, size) in [(0x4020_0000, 0x20_0000), (0x7c00_0000, 0x400_0000)] {
            memblock.reserve(AddrRange::sized(PhysAddr(base), size)).unwrap();
        }
        let image =
            [section(0x4020_0000, 0x4028_0000, "Kernel code"), section(0x402c_0000, 0x4030_0000, "Kernel data")];
        let resources: Vec<Resource> = ram(&memblock, &image).collect();
        let mut text = String::new();
        write(&resources, form, &mut text).unwrap();
        text
    }

    #[test]
    fn the_image_stands_in_what_is_reserved() {
        assert_eq!(
            table(Form::Text),
            "40000000-7fffffff : System RAM\n  40200000-4027ffff : Kernel code\n  40280000-402bffff : reserved\n  \
             402c0000-402fffff : Kernel data\n  40300000-403fffff : reserved\n  7c000000-7fffffff : reserved\n\
             100000000-13fffffff : System RAM\n"
        );
    }

    #[test]
    fn a_resource_as_json() {
        let text = table(Form::Json);
        let line = "{\"level\":1,\"start\":1075838976,\"last\":1076363263,\"name\":\"Kernel code\"}";
        assert_eq!(text.lines().nth(1), Some(line));
    }
}
