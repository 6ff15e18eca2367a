//! Entry: from the loader's jump to [`crate::kernel_main`], with the MMU and the caches on.
//!
//! The loader follows the arm64 boot protocol (Linux: `Documentation/arm64/booting.txt`): MMU off, image cleaned to
//! memory, x0 = the device tree's address. The image may stand anywhere on a 4 KiB boundary. Nothing before
//! [`mmu::enable`] may use an exclusive or an atomic read-modify-write: on real cores these work on cacheable memory
//! only. Linux: `arch/arm64/kernel/head.S`.
//!
//! Linux does more: it enters through EFI as well, and stays at EL2 where the CPU has VHE.

use super::cpu::CPUS;
use super::stack::{BOOT_STACK_BYTES, INTERRUPT_STACK_BYTES};
use super::{mmu, stack, vectors};
use core::arch::naked_asm;
use kernel::show_mem::ImageSizes;

/// Address of the image's first byte.
pub fn image_base() -> u64 {
    &raw const IMAGE_START as u64
}

/// Address of the image's first byte that may be written: text and constants end there.
pub fn data_start() -> u64 {
    &raw const DATA_START as u64
}

/// Bytes of the image, part by part. Nothing of it is thrown away after boot.
pub fn image_sizes() -> ImageSizes {
    let between = |start: *const u8, end: *const u8| end as u64 - start as u64;
    ImageSizes {
        code: between(&raw const IMAGE_START, &raw const RODATA_START),
        rwdata: between(&raw const DATA_START, &raw const BSS_START),
        rodata: between(&raw const RODATA_START, &raw const DATA_START),
        init: 0,
        bss: between(&raw const BSS_START, &raw const BSS_END),
    }
}

unsafe extern "C" {
    #[link_name = "__image_start"]
    static IMAGE_START: u8;
    #[link_name = "__rodata_start"]
    static RODATA_START: u8;
    #[link_name = "__data_start"]
    static DATA_START: u8;
    #[link_name = "__bss_start"]
    static BSS_START: u8;
    #[link_name = "__bss_end"]
    static BSS_END: u8;
}

/// The arm64 Image header and, behind its branch, the way up to [`crate::kernel_main`].
///
/// x19 holds the device tree's address, x20 the exception level that the loader chose, x21 the ticks at entry.
///
/// # Safety
///
/// For the loader only, once, as the boot protocol says.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".head")]
unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        // The Image header, 64 bytes.
        "b     2f",
        ".long 0",
        ".quad 0x80000",            // text_offset: where loaders before Linux v3.17 put the image above the RAM's base
        ".quad __image_size",       // all that we occupy, stacks included
        ".quad 0xa",                // flags: little endian, 4 KiB pages, anywhere in memory
        ".quad 0, 0, 0",
        ".ascii \"ARM\\x64\"",
        ".long 0",

        // Keep what the loader told us.
        "2:",
        "msr   DAIFSet, #0xf",
        "mov   x19, x0",
        "mrs   x20, CurrentEL",
        "lsr   x20, x20, #2",
        "mrs   x21, CNTVCT_EL0",
        "bl    {drop_to_el1}",

        // Threads run on SP_EL0, exceptions on SP_EL1: an overflow of the one is reported on the other.
        "adrp  x1, {interrupt_stack}",
        "add   x1, x1, :lo12:{interrupt_stack}",
        "mov   x2, {interrupt_stack_bytes}",
        "add   x1, x1, x2",
        "msr   SPSel, #1",
        "mov   sp, x1",
        "adrp  x1, {boot_stack}",
        "add   x1, x1, :lo12:{boot_stack}",
        "mov   x2, {boot_stack_bytes}",
        "add   x1, x1, x2",
        "msr   SPSel, #0",
        "mov   sp, x1",

        // From here on a fault is reported.
        "adrp  x1, {vectors}",
        "add   x1, x1, :lo12:{vectors}",
        "msr   VBAR_EL1, x1",
        "adrp  x1, {cpu}",
        "add   x1, x1, :lo12:{cpu}",
        "msr   TPIDR_EL1, x1",
        "isb",

        // No dirty cache line of the firmware's may fall onto what we write uncached.
        "adrp  x0, __bss_start",
        "add   x0, x0, :lo12:__bss_start",
        "adrp  x1, __written_end",
        "bl    {invalidate}",

        "bl    {zero_bss}",
        "bl    {relocate}",

        // MMU and caches on, then Rust for good. The zero frame ends backtraces.
        "mov   x29, xzr",
        "mov   x30, xzr",
        "mov   x0, x19",
        "bl    {map_and_enable}",
        "mov   x0, x19",
        "mov   x1, x20",
        "mov   x2, x21",
        "bl    {kernel_main}",
        "brk   #1",
        drop_to_el1 = sym drop_to_el1,
        interrupt_stack = sym stack::INTERRUPT_STACK,
        interrupt_stack_bytes = const INTERRUPT_STACK_BYTES,
        boot_stack = sym stack::BOOT_STACK,
        boot_stack_bytes = const BOOT_STACK_BYTES,
        vectors = sym vectors::exception_vectors,
        cpu = sym CPUS,
        invalidate = sym invalidate_data_cache,
        zero_bss = sym zero_bss,
        relocate = sym relocate,
        map_and_enable = sym mmu::map_image_and_enable,
        kernel_main = sym crate::kernel_main,
    )
}

/// Zeroes the bss, 16 bytes at a time. Clobbers x1, x2; uses no stack.
///
/// # Safety
///
/// For entry code only: no static has a value before this.
#[unsafe(naked)]
unsafe extern "C" fn zero_bss() {
    naked_asm!(
        "adrp  x1, __bss_start",
        "add   x1, x1, :lo12:__bss_start",
        "adrp  x2, __bss_end",
        "add   x2, x2, :lo12:__bss_end",
        "2:",
        "stp   xzr, xzr, [x1], #16",
        "cmp   x1, x2",
        "b.lo  2b",
        "ret",
    )
}

/// Applies the relative relocations (type 0x403): word at base + offset = base + addend. Clobbers x0 to x5; uses no
/// stack.
///
/// # Safety
///
/// For entry code only: no pointer in a static is right before this, and none would be after a second time.
#[unsafe(naked)]
unsafe extern "C" fn relocate() {
    naked_asm!(
        "adrp  x0, __image_start",
        "adrp  x1, __rela_start",
        "add   x1, x1, :lo12:__rela_start",
        "adrp  x2, __rela_end",
        "add   x2, x2, :lo12:__rela_end",
        "2:",
        "cmp   x1, x2",
        "b.hs  3f",
        "ldp   x3, x4, [x1], #16",
        "ldr   x5, [x1], #8",
        "cmp   w4, #0x403",
        "b.ne  2b",
        "add   x5, x5, x0",
        "str   x5, [x0, x3]",
        "b     2b",
        "3:",
        "ret",
    )
}

/// Leaves EL3 and EL2 for EL1, wherever the loader started us; returns to its caller at EL1 with the MMU off and the FP
/// and SIMD registers free to use. Clobbers x1, x2; uses no stack.
///
/// # Safety
///
/// For entry code only: it resets the control registers of the exception levels that it leaves.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn drop_to_el1() {
    naked_asm!(
        "mov   x2, x30",
        "mrs   x1, CurrentEL",
        "cmp   x1, #(3 << 2)",
        "b.ne  2f",
        "bl    {leave_el3}",
        "2:",
        "mrs   x1, CurrentEL",
        "cmp   x1, #(2 << 2)",
        "b.ne  3f",
        "bl    {leave_el2}",
        "3:",
        "mov   x1, #0x0800",            // SCTLR_EL1: MMU and caches off, its reserved bits 1
        "movk  x1, #0x30d0, lsl #16",
        "msr   SCTLR_EL1, x1",
        "mov   x1, #(3 << 20)",         // CPACR_EL1.FPEN: no trap
        "msr   CPACR_EL1, x1",
        "isb",
        "mov   x30, x2",
        "ret",
        leave_el3 = sym leave_el3,
        leave_el2 = sym leave_el2,
    )
}

/// Returns to its caller at EL2, or at EL1 on a CPU without an EL2. Non-secure, 64 bits below, hypervisor calls
/// allowed, no traps; no firmware to call, so secure monitor calls are undefined.
///
/// # Safety
///
/// At EL3 only, for entry code.
#[unsafe(naked)]
unsafe extern "C" fn leave_el3() {
    naked_asm!(
        "mov   x1, #0x5b1",
        "msr   SCR_EL3, x1",
        "msr   CPTR_EL3, xzr",
        "mrs   x1, ID_AA64PFR0_EL1",
        "ubfx  x1, x1, #24, #4", // system registers of a GICv3?
        "cbz   x1, 2f",
        "mov   x1, #0xf",
        "msr   S3_6_C12_C12_5, x1", // ICC_SRE_EL3: enable, also for the levels below
        "isb",
        "2:",
        "mrs   x1, ID_AA64PFR0_EL1",
        "ubfx  x1, x1, #8, #4", // is there an EL2?
        "cbz   x1, 3f",
        "mov   x1, #0x3c9", // EL2, SP_EL2, all masked
        "b     4f",
        "3:",
        "mov   x1, #0x0800", // SCTLR_EL1: as in `drop_to_el1`, before the MMU could matter
        "movk  x1, #0x30d0, lsl #16",
        "msr   SCTLR_EL1, x1",
        "mov   x1, #0x3c4", // EL1, SP_EL0, all masked
        "4:",
        "msr   SPSR_EL3, x1",
        "msr   ELR_EL3, x30",
        "eret",
    )
}

/// Returns to its caller at EL1, which is 64 bits wide and sees the timers, the FP unit, the PMU and the GIC without a
/// trap.
///
/// # Safety
///
/// At EL2 only, for entry code.
#[unsafe(naked)]
unsafe extern "C" fn leave_el2() {
    naked_asm!(
        "mov   x1, #(1 << 31)", // HCR_EL2.RW
        "msr   HCR_EL2, x1",
        "mov   x1, #3", // CNTHCTL_EL2: EL1 may read the physical counter and set its timer
        "msr   CNTHCTL_EL2, x1",
        "msr   CNTVOFF_EL2, xzr",
        "mov   x1, #0x33ff", // CPTR_EL2: reserved bits 1, no FP trap
        "msr   CPTR_EL2, x1",
        "msr   HSTR_EL2, xzr",
        "mrs   x1, MIDR_EL1",
        "msr   VPIDR_EL2, x1",
        "mrs   x1, MPIDR_EL1",
        "msr   VMPIDR_EL2, x1",
        "mrs   x1, ID_AA64DFR0_EL1",
        "ubfx  x1, x1, #8, #4", // PMUVer: 0 and 0xf mean none of the architecture's
        "cbz   x1, 2f",
        "cmp   x1, #0xf",
        "b.eq  2f",
        "mrs   x1, PMCR_EL0",
        "ubfx  x1, x1, #11, #5", // MDCR_EL2.HPMN: all event counters belong to EL1
        "msr   MDCR_EL2, x1",
        "2:",
        "mrs   x1, ID_AA64PFR0_EL1",
        "ubfx  x1, x1, #24, #4", // system registers of a GICv3?
        "cbz   x1, 3f",
        "mov   x1, #0xf",
        "msr   S3_4_C12_C9_5, x1", // ICC_SRE_EL2: enable, also for EL1
        "isb",
        "msr   S3_4_C12_C11_0, xzr", // ICH_HCR_EL2: no virtual interrupts
        "3:",
        "mov   x1, #0x0800", // SCTLR_EL1: as in `drop_to_el1`, before the MMU could matter
        "movk  x1, #0x30d0, lsl #16",
        "msr   SCTLR_EL1, x1",
        "mov   x1, #0x3c4", // EL1, SP_EL0, all masked
        "msr   SPSR_EL2, x1",
        "msr   ELR_EL2, x30",
        "eret",
    )
}

/// Does `dc $operation` to each line of `[x0, x1)`. Uses no stack.
macro_rules! for_each_cache_line {
    ($operation:literal) => {
        naked_asm!(
            "mrs   x2, CTR_EL0",
            "ubfx  x2, x2, #16, #4", // log2 of the smallest line, in words
            "mov   x3, #4",
            "lsl   x2, x3, x2",
            "sub   x3, x2, #1",
            "bic   x0, x0, x3",
            "2:",
            concat!("dc    ", $operation, ", x0"),
            "add   x0, x0, x2",
            "cmp   x0, x1",
            "b.lo  2b",
            "dsb   sy",
            "ret",
        )
    };
}

/// Throws the lines of `[x0, x1)` out of the data cache without writing them back. Uses no stack.
///
/// # Safety
///
/// Only while the caches are off, and only for memory whose cached content is stale by the boot protocol.
#[unsafe(naked)]
pub unsafe extern "C" fn invalidate_data_cache(start: u64, end: u64) {
    for_each_cache_line!("ivac")
}

/// Writes the lines of `[x0, x1)` from the data caches back to memory, where who has no caches sees them. Uses no stack.
///
/// # Safety
///
/// The range must be mapped.
#[unsafe(naked)]
pub unsafe extern "C" fn clean_data_cache(start: u64, end: u64) {
    for_each_cache_line!("cvac")
}
