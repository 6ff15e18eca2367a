//! `gfp`: what a mask means.

use core::fmt::Write as _;

use kernel::gfp::{Gfp, NAMES, ParsedGfp, ZoneTable};

use crate::arg::{Arg, Kind};
use crate::command::{Call, Command};
use crate::machine::Machine;
use crate::status::{Outcome, Status, Trouble};
use crate::value;

/// `gfp MASK`
pub const fn gfp<M: Machine>() -> Command<M> {
    Command {
        name: "gfp",
        summary: "decode or encode an allocation mask",
        help: "\
Names are joined by | and taken away by - or &~; upper or lower case, with or
without GFP_ or __GFP_. Numbers are v5.0's; gfp26:0xd0 is one of Linux 2.6.
Names of older kernels are taken, with a note of what became of them.
GFP_KERNEL may sleep and do all kinds of reclaim; GFP_ATOMIC may not sleep and
may dig deeper into the reserves; GFP_NOWAIT may neither. GFP_DMA32 and its
kin choose zones, __GFP_MOVABLE and __GFP_RECLAIMABLE the kind of pageblock.",
        args: &[Arg::One("MASK", Kind::Gfp), Arg::Flag("--json")],
        examples: &["gfp GFP_ATOMIC", "gfp 0x6200ca", "gfp kernel|zero-fs", "gfp gfp26:0xd0"],
        run,
    }
}

fn run<'a, M: Machine>(call: &mut Call<'_, 'a, M>) -> Outcome<'a> {
    let parsed = value::gfp(call.args.must(0))?;
    if call.json() {
        json(call, parsed.mask)?;
    } else {
        explain(call, &parsed)?;
    }
    Ok(Status::DONE)
}

/// The name of the highest zone that the mask allows.
fn zone<M: Machine>(call: &Call<'_, '_, M>, mask: Gfp) -> &'static str {
    let types = call.shell.machine.memory().zone_types();
    types[ZoneTable::new(types).zone(mask)].name()
}

fn explain<M: Machine>(call: &mut Call<'_, '_, M>, parsed: &ParsedGfp) -> Result<(), Trouble<'static>> {
    let mask = parsed.mask;
    writeln!(call, "{}", mask.mode())?;
    for bit in (0..u32::BITS).map(|bit| Gfp::from_bits_retain(1 << bit)).filter(|&bit| mask.contains(bit)) {
        // Composites of one bit, such as GFP_NOWAIT, have no underscores.
        if let Some(row) = NAMES.iter().find(|row| row.mask == bit && row.name.starts_with("__") && !row.is_old()) {
            writeln!(call, "  {:>#8x}  {:<22} {}", bit.bits(), row.name, row.about)?;
        }
    }
    let migratetype = mask.migratetype().map_or("no migratetype", |migratetype| migratetype.name());
    let sleep = if mask.may_sleep() { "may sleep" } else { "may not sleep" };
    writeln!(call, "zone {} and below, {migratetype}, {sleep}", zone(call, mask))?;
    parsed.notes().try_for_each(|note| writeln!(call, "{note}"))?;
    mask.warnings().try_for_each(|warning| writeln!(call, "{warning}"))?;
    Ok(())
}

fn json<M: Machine>(call: &mut Call<'_, '_, M>, mask: Gfp) -> Result<(), Trouble<'static>> {
    let migratetype = mask.migratetype().map_or("", |migratetype| migratetype.name());
    let (zone, sleep) = (zone(call, mask), mask.may_sleep());
    write!(call, r#"{{"mask":{},"names":"{mask}","zone":"{zone}","#, mask.bits())?;
    writeln!(call, r#""migratetype":"{migratetype}","may_sleep":{sleep}}}"#)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::check;

    #[test]
    fn a_mask_is_taken_apart() {
        let atomic = "0x480020(GFP_ATOMIC)\n      0x20  __GFP_HIGH             [..]\n   0x80000  __GFP_ATOMIC           [..]\n  \
                      0x400000  __GFP_KSWAPD_RECLAIM   [..]\nzone Normal and below, Unmovable, may not sleep";
        check("gfp GFP_ATOMIC", atomic);
        check("gfp 0", "0x0()\nzone Normal and below, Unmovable, may not sleep");
    }

    #[test]
    fn old_names_and_odd_masks_get_a_line() {
        let output =
            "0x0()\nzone Normal and below, Unmovable, may not sleep\nnote: __GFP_COLD ignored (removed in 4.15)";
        check("gfp __GFP_COLD", output);
        check(
            "gfp 0x18",
            "0x18[..]\n[..]MOVABLE[..]\n[..]RECLAIMABLE[..]\nzone [..], no migratetype, [..]\nWARN: gfp MOVABLE[..]",
        );
    }

    #[test]
    fn json_is_one_object() {
        let object =
            r#"{"mask":4718624,"names":"GFP_ATOMIC","zone":"Normal","migratetype":"Unmovable","may_sleep":false}"#;
        check("gfp GFP_ATOMIC --json", object);
    }
}
