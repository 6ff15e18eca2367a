//! The exception vectors: save everything, call [`super::exception::dispatch`], restore.
//!
//! Threads run on SP_EL0, so their exceptions come through the first four vectors and find a good stack in SP_EL1.
//! Exceptions of exception handlers come through the next four; a synchronous one there may be an overflow of the
//! interrupt stack, so it moves to the emergency stack. The frame on the stack is a [`TrapFrame`], and its last two
//! words are a frame record, so that backtraces run through exceptions. FP registers are saved because Rust uses them
//! anywhere. Linux: `arch/arm64/kernel/entry.S`.
//!
//! Linux does more: it saves FP registers lazily, and has vectors for user space.

use super::cpu::Cpu;
use super::exception::{Registers, TrapFrame, dispatch};
use super::stack::EMERGENCY_STACK_BYTES;
use core::arch::global_asm;
use core::mem::{offset_of, size_of};

unsafe extern "C" {
    /// The table for VBAR_EL1.
    pub safe static exception_vectors: u8;
}

global_asm!(
    r#"
    .section .text.vectors, "ax"

    // A vector on a good stack: make room, note the vector's number, go on.
    .macro vector number
    .balign 128
    sub     sp, sp, {frame_bytes}
    stp     x0, x1, [sp, {x0}]
    add     x0, sp, {frame_bytes}
    mov     x1, \number
    b       save_and_dispatch
    .endm

    // A vector whose stack may be the trouble. TPIDR_EL0 is free to keep x0: there is no EL0.
    .macro emergency_vector number
    .balign 128
    msr     TPIDR_EL0, x0
    mov     x0, sp
    msr     TPIDRRO_EL0, x0
    mrs     x0, TPIDR_EL1
    ldr     x0, [x0, {emergency_stack}]
    add     x0, x0, {emergency_stack_bytes}
    sub     x0, x0, {frame_bytes}
    mov     sp, x0
    mrs     x0, TPIDR_EL0
    stp     x0, x1, [sp, {x0}]
    mrs     x0, TPIDRRO_EL0
    mov     x1, \number
    b       save_and_dispatch
    .endm

    .balign 2048
    .global exception_vectors
    exception_vectors:
    vector 0                        // from a thread: synchronous, IRQ, FIQ, SError
    vector 1
    vector 2
    vector 3
    emergency_vector 4              // from a handler: the same
    vector 5
    vector 6
    emergency_vector 7
    vector 8                        // from EL0, 64 and 32 bits wide: cannot happen
    vector 9
    vector 10
    vector 11
    vector 12
    vector 13
    vector 14
    vector 15

    // x0: SP_EL1 before the exception; x1: the vector; x0 and x1 themselves are in the frame.
    .balign 128
    save_and_dispatch:
    stp     x2, x3, [sp, {x0} + 16 * 1]
    stp     x4, x5, [sp, {x0} + 16 * 2]
    stp     x6, x7, [sp, {x0} + 16 * 3]
    stp     x8, x9, [sp, {x0} + 16 * 4]
    stp     x10, x11, [sp, {x0} + 16 * 5]
    stp     x12, x13, [sp, {x0} + 16 * 6]
    stp     x14, x15, [sp, {x0} + 16 * 7]
    stp     x16, x17, [sp, {x0} + 16 * 8]
    stp     x18, x19, [sp, {x0} + 16 * 9]
    stp     x20, x21, [sp, {x0} + 16 * 10]
    stp     x22, x23, [sp, {x0} + 16 * 11]
    stp     x24, x25, [sp, {x0} + 16 * 12]
    stp     x26, x27, [sp, {x0} + 16 * 13]
    stp     x28, x29, [sp, {x0} + 16 * 14]
    str     x30, [sp, {x0} + 16 * 15]
    mrs     x2, SP_EL0
    cmp     x1, #4
    csel    x2, x2, x0, lo          // a thread's stack pointer, or the handler's
    mrs     x3, ELR_EL1
    mrs     x4, SPSR_EL1
    mrs     x5, ESR_EL1
    mrs     x6, FAR_EL1
    str     x2, [sp, {sp}]
    stp     x3, x4, [sp, {pc}]
    stp     x5, x6, [sp, {esr}]
    stp     x29, x3, [sp, {record}]
    add     x29, sp, {record}
    add     x9, sp, {q0}
    stp     q0, q1, [x9, #32 * 0]
    stp     q2, q3, [x9, #32 * 1]
    stp     q4, q5, [x9, #32 * 2]
    stp     q6, q7, [x9, #32 * 3]
    stp     q8, q9, [x9, #32 * 4]
    stp     q10, q11, [x9, #32 * 5]
    stp     q12, q13, [x9, #32 * 6]
    stp     q14, q15, [x9, #32 * 7]
    stp     q16, q17, [x9, #32 * 8]
    stp     q18, q19, [x9, #32 * 9]
    stp     q20, q21, [x9, #32 * 10]
    stp     q22, q23, [x9, #32 * 11]
    stp     q24, q25, [x9, #32 * 12]
    stp     q26, q27, [x9, #32 * 13]
    stp     q28, q29, [x9, #32 * 14]
    stp     q30, q31, [x9, #32 * 15]
    mrs     x3, FPSR
    mrs     x4, FPCR
    stp     x3, x4, [sp, {fpsr}]

    mov     x0, sp
    bl      {dispatch}

    add     x9, sp, {q0}
    ldp     q0, q1, [x9, #32 * 0]
    ldp     q2, q3, [x9, #32 * 1]
    ldp     q4, q5, [x9, #32 * 2]
    ldp     q6, q7, [x9, #32 * 3]
    ldp     q8, q9, [x9, #32 * 4]
    ldp     q10, q11, [x9, #32 * 5]
    ldp     q12, q13, [x9, #32 * 6]
    ldp     q14, q15, [x9, #32 * 7]
    ldp     q16, q17, [x9, #32 * 8]
    ldp     q18, q19, [x9, #32 * 9]
    ldp     q20, q21, [x9, #32 * 10]
    ldp     q22, q23, [x9, #32 * 11]
    ldp     q24, q25, [x9, #32 * 12]
    ldp     q26, q27, [x9, #32 * 13]
    ldp     q28, q29, [x9, #32 * 14]
    ldp     q30, q31, [x9, #32 * 15]
    ldp     x3, x4, [sp, {fpsr}]
    msr     FPSR, x3
    msr     FPCR, x4
    ldp     x3, x4, [sp, {pc}]
    msr     ELR_EL1, x3
    msr     SPSR_EL1, x4
    ldp     x2, x3, [sp, {x0} + 16 * 1]
    ldp     x4, x5, [sp, {x0} + 16 * 2]
    ldp     x6, x7, [sp, {x0} + 16 * 3]
    ldp     x8, x9, [sp, {x0} + 16 * 4]
    ldp     x10, x11, [sp, {x0} + 16 * 5]
    ldp     x12, x13, [sp, {x0} + 16 * 6]
    ldp     x14, x15, [sp, {x0} + 16 * 7]
    ldp     x16, x17, [sp, {x0} + 16 * 8]
    ldp     x18, x19, [sp, {x0} + 16 * 9]
    ldp     x20, x21, [sp, {x0} + 16 * 10]
    ldp     x22, x23, [sp, {x0} + 16 * 11]
    ldp     x24, x25, [sp, {x0} + 16 * 12]
    ldp     x26, x27, [sp, {x0} + 16 * 13]
    ldp     x28, x29, [sp, {x0} + 16 * 14]
    ldr     x30, [sp, {x0} + 16 * 15]
    ldp     x0, x1, [sp, {x0}]
    add     sp, sp, {frame_bytes}
    eret
    .text
    "#,
    frame_bytes = const size_of::<TrapFrame>(),
    x0 = const offset_of!(TrapFrame, registers) + offset_of!(Registers, x),
    sp = const offset_of!(TrapFrame, registers) + offset_of!(Registers, sp),
    pc = const offset_of!(TrapFrame, registers) + offset_of!(Registers, pc),
    esr = const offset_of!(TrapFrame, esr),
    q0 = const offset_of!(TrapFrame, q),
    fpsr = const offset_of!(TrapFrame, fpsr),
    record = const offset_of!(TrapFrame, record),
    emergency_stack = const Cpu::EMERGENCY_STACK,
    emergency_stack_bytes = const EMERGENCY_STACK_BYTES,
    dispatch = sym dispatch,
);
