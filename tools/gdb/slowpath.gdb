# Commands for gdb in a stopped slowpath; `cargo xtask debug` reads this file.
#
# The image is built for it with all debug information. Where Memory is, the handover to the shell tells: a breakpoint
# there keeps it in $memory and goes on.

set confirm off
set pagination off
set print pretty on
set print asm-demangle on
set language rust

hbreak slowpath::session::run
commands
  silent
  set $memory = handover.memory
  continue
end

# Prints one zone by its number, unless it has no pages.
define zone
  if $memory.zones[$arg0].present != 0
    set $zone = &$memory.zones[$arg0]
    printf "zone %d: ", $arg0
    output $zone.zone_type
    printf " of node %d\n", $arg0 / 5
    printf "  span    pfn 0x%lx-0x%lx\n", $zone.span.start.__0, $zone.span.end.__0
    printf "  pages   present %lu, managed %lu, ", $zone.present, $zone.managed.v.value
    printf "free %lu\n", $zone.counts.free.v.value
    set $min = $zone.watermark[0].v.value
    set $low = $zone.watermark[1].v.value
    set $high = $zone.watermark[2].v.value
    printf "  marks   min %lu, low %lu, high %lu, boost %lu\n", $min, $low, $high, $zone.boost.v.value
    printf "  per CPU high %u, batch %u\n", $zone.pcp_high.v.value, $zone.pcp_batch.v.value
  end
end
document zone
Print one zone by its number: five times the node, plus the zone's position.
end

define zones
  if $_isvoid($memory)
    echo There are no zones yet; let the machine run to its prompt first.\n
  else
    set $number = 0
    while $number < 20
      zone $number
      set $number = $number + 1
    end
  end
end
document zones
Print every zone that has pages: size, watermarks, per-CPU limits.
end

define panics
  hbreak rust_begin_unwind
end
document panics
Stop when the kernel panics.
end

echo slowpath is stopped at its first instruction; 'continue' starts it, 'help user-defined' lists its commands\n
