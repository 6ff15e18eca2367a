//! The machines that the family works on.

const MIB: u64 = 1 << 20;

/// A machine to work on.
pub struct Shape {
    pub name: &'static str,
    pub args: &'static str,
    pub banks: &'static [(u64, u64, u8)],
    /// Steps from one audit to the next.
    pub audit_every: u64,
}

/// All machines.
pub const SHAPES: [Shape; 6] = [
    Shape { name: "64 MiB", args: "", banks: &[(0x4000_0000, 64 * MIB, 0)], audit_every: 64 },
    Shape { name: "little memory", args: "", banks: &[(0x4000_0000, 10 * MIB, 0)], audit_every: 16 },
    Shape {
        name: "small sizes, debugging",
        args: "kmalloc=generic slub_debug=FZP",
        banks: &[(0x4000_0000, 32 * MIB, 0)],
        audit_every: 64,
    },
    Shape {
        name: "two nodes",
        args: "zones=arm64-5.0:dma32=24M",
        banks: &[(0x4000_0000, 16 * MIB, 0), (0x4100_0000, 24 * MIB, 1)],
        audit_every: 64,
    },
    Shape {
        name: "high memory",
        args: "zones=full:dma=16M,dma32=32M highmem=64M",
        banks: &[(0x4000_0000, 192 * MIB, 0)],
        audit_every: 128,
    },
    Shape {
        name: "poison and owners",
        args: "page_poison=1 page_owner=on",
        banks: &[(0x4000_0000, 16 * MIB, 0)],
        audit_every: 32,
    },
];
