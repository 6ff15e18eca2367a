//! The machines that the model plays with: small ones, broken ones, large ones, one of every kind.

const MIB: u64 = 1 << 20;

/// A machine to play with.
pub struct Shape {
    pub name: &'static str,
    pub args: &'static str,
    pub banks: &'static [(u64, u64, u8)],
    pub reserved: &'static [(u64, u64)],
    /// Steps from one audit to the next.
    pub audit_every: u64,
}

/// All machines.
pub const SHAPES: [Shape; 9] = [
    Shape {
        name: "16 MiB",
        args: "",
        banks: &[(0x4000_0000, 16 * MIB, 0)],
        reserved: &[(0x4000_0000, 0x83000)],
        audit_every: 1,
    },
    Shape {
        name: "little memory, not grouped by mobility",
        args: "",
        banks: &[(0x4000_0000, 10 * MIB, 0)],
        reserved: &[(0x4030_0000, 0x5000)],
        audit_every: 1,
    },
    Shape {
        name: "holes",
        args: "",
        banks: &[(0x4000_0000, 6 * MIB, 0), (0x40a0_3000, 9 * MIB, 0), (0x4200_0000, 17 * MIB + 0x7000, 0)],
        reserved: &[(0x4000_0000, 0x83000), (0x4240_1000, 0x3000)],
        audit_every: 16,
    },
    Shape {
        name: "no-map holes where pageblocks and maximal blocks start",
        args: "",
        banks: &[(0x4008_0000, 0x17_f000, 0), (0x4020_1000, 0x1f_f000, 0), (0x4040_3000, 0x7f_d000, 0)],
        reserved: &[(0x4050_0000, 0x1000)],
        audit_every: 1,
    },
    Shape {
        name: "two nodes",
        args: "zones=arm64-5.0:dma32=24M",
        banks: &[(0x4000_0000, 16 * MIB, 0), (0x4100_0000, 24 * MIB, 1)],
        reserved: &[(0x4000_0000, 0x83000)],
        audit_every: 16,
    },
    Shape {
        name: "32-bit x86 with highmem",
        args: "zones=x86-32:highmem=32M",
        banks: &[(0, 128 * MIB, 0)],
        reserved: &[(0, 0x10_0000)],
        audit_every: 64,
    },
    Shape {
        name: "every zone, and the quirks of later kernels",
        args: "zones=full:dma=16M,dma32=16M,highmem=24M movablecore=16M quirk.nofragment=5.1 quirk.classzone=highest",
        banks: &[(0x4000_0000, 104 * MIB, 0)],
        reserved: &[(0x4000_0000, 0x83000)],
        audit_every: 64,
    },
    Shape {
        name: "a movable zone",
        args: "movablecore=16M",
        banks: &[(0x4000_0000, 64 * MIB, 0)],
        reserved: &[(0x4000_0000, 0x83000)],
        audit_every: 32,
    },
    Shape {
        name: "poison and owners",
        args: "page_poison=1 page_owner=on",
        banks: &[(0x4000_0000, 16 * MIB, 0)],
        reserved: &[(0x4000_0000, 0x83000)],
        audit_every: 4,
    },
];
