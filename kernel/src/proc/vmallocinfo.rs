//! /proc/vmallocinfo: the areas of vmalloc by address, one a line.
//!
//! Where Linux names the function that asked, this names the task: there is no symbol to show for a person. Neighbour:
//! [`crate::mm::vmalloc`]. Linux: `s_show`, `show_numa_info` of `mm/vmalloc.c`.
//!
//! Linux does more: mappings of devices and of users' pages.

use core::fmt;

use super::{Form, json};
use crate::mm::memory::{Env, Memory};
use crate::mm::mmu::VMALLOC_START;
use crate::mm::vmalloc::{self, AreaInfo};

/// Writes the table.
pub fn write<E: Env>(memory: &Memory<'_, E>, form: Form, out: &mut dyn fmt::Write) -> fmt::Result {
    let mut from = VMALLOC_START;
    while let Some(info) = vmalloc::next_area(memory, from) {
        from = info.area.end();
        match form {
            Form::Text => writeln!(out, "{}", Row(&info))?,
            Form::Json => write_json(&info, out)?,
        }
    }
    Ok(())
}

/// The line of an area, without the newline.
struct Row<'a>(&'a AreaInfo);

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AreaInfo { area, node_pages, has_large_array } = self.0;
        write!(f, "{}-{} {:>7} {}", area.start, area.end(), area.bytes, area.comm)?;
        if area.nr_pages > 0 {
            write!(f, " pages={}", area.nr_pages)?;
        }
        f.write_str(" vmalloc")?;
        if *has_large_array {
            f.write_str(" vpages")?;
        }
        let nodes = node_pages.iter().enumerate().filter(|(_, pages)| **pages > 0);
        nodes.into_iter().try_for_each(|(node, pages)| write!(f, " N{node}={pages}"))
    }
}

fn write_json(info: &AreaInfo, out: &mut dyn fmt::Write) -> fmt::Result {
    let area = &info.area;
    let mut row = json::Object::new(out);
    row.field("start", area.start.0)?.field("end", area.end().0)?.field("bytes", area.bytes)?;
    row.text("caller", area.comm.as_str())?.field("pages", area.nr_pages)?.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mm::testing::{Lab, board_2_nodes};

    #[test]
    fn a_line_is_linuxs() {
        let machine = board_2_nodes("");
        let lab = Lab::new(&machine);
        let text = |form| {
            let mut text = String::new();
            write(&lab.memory, form, &mut text).unwrap();
            text
        };
        assert_eq!(text(Form::Text), "");
        let small = vmalloc::vmalloc(&lab.memory, &lab.current(), 1).unwrap();
        vmalloc::vmalloc(&lab.memory, &lab.current(), 600 * 4096).unwrap();
        let expected = "0x0000f00000000000-0x0000f00000002000    8192 sh pages=1 vmalloc N0=1\n\
                        0x0000f00000002000-0x0000f0000025b000 2461696 sh pages=600 vmalloc vpages N0=600\n\
                        0x0000f0000025b000-0x0000f0000025e000   12288 sh pages=2 vmalloc N0=2\n";
        assert_eq!(text(Form::Text), expected);
        vmalloc::vfree(&lab.memory, &lab.current(), small).unwrap();
        let json =
            "{\"start\":263882790674432,\"end\":263882793136128,\"bytes\":2461696,\"caller\":\"sh\",\"pages\":600}";
        assert_eq!(text(Form::Json).lines().next(), Some(json));
    }
}
