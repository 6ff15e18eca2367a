#![no_std]
#![no_main]
//! image
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
