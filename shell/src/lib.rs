#![no_std]
//! The allocation shell.
#![forbid(unsafe_code)]
