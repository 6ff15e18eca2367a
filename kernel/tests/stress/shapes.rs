//! The machines that are worked on: small ones, so that memory is short and an inspection is quick.

const MIB: u64 = 1 << 20;

/// A machine to work on.
pub struct Shape {
    pub name: &'static str,
    pub args: &'static str,
    pub banks: &'static [(u64, u64, u8)],
    /// Operations of a person from one inspection to the next.
    pub inspect_every: u64,
}

/// All machines.
pub const SHAPES: [Shape; 6] = [
    Shape { name: "16 MiB", args: "", banks: &[(0x4000_0000, 16 * MIB, 0)], inspect_every: 100 },
    Shape { name: "64 MiB", args: "", banks: &[(0x4000_0000, 64 * MIB, 0)], inspect_every: 500 },
    Shape {
        name: "holes",
        args: "",
        banks: &[(0x4000_0000, 6 * MIB, 0), (0x40a0_3000, 9 * MIB, 0), (0x4200_0000, 17 * MIB + 0x7000, 0)],
        inspect_every: 250,
    },
    Shape {
        name: "two nodes",
        args: "zones=arm64-5.0:dma32=24M sysctl.vm.zone_reclaim_mode=7 sysctl.vm.min_unmapped_ratio=0",
        banks: &[(0x4000_0000, 16 * MIB, 0), (0x4100_0000, 24 * MIB, 1)],
        inspect_every: 250,
    },
    Shape {
        name: "every zone",
        args: "zones=full:dma=8M,dma32=16M,highmem=16M movablecore=8M",
        banks: &[(0x4000_0000, 64 * MIB, 0)],
        inspect_every: 500,
    },
    Shape {
        name: "a movable zone, poison and owners",
        args: "movablecore=12M page_poison=1 page_owner=on",
        banks: &[(0x4000_0000, 32 * MIB, 0)],
        inspect_every: 250,
    },
];
