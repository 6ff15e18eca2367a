//! Tests of `kernel::devicetree` through its public face.
//!
//! `answers` asks small trees written as source, and the trees in `fixtures/`, and compares text; `refusals` breaks
//! them and compares the error; `fuzz` mutates them at random; `boards` compares with a second parser, on real
//! boards too. They share `dts` (source to blob) and `describe` (tree to text, by asking everything that can be asked).

mod answers;
mod boards;
mod describe;
mod dts;
mod fuzz;
mod refusals;

/// The trees in `fixtures/`: name, blob, and what [`describe::describe`] says of it.
///
/// `virt*` are QEMU 10's (`-M virt,dumpdtb=`, packed with dtc), `raspi4b` is compiled from the source beside it, and
/// `raspi4b-qemu` is the same as QEMU hands it over: with memory, boot arguments, an initrd, and NOPs.
const FIXTURES: [(&str, &[u8], &str); 4] = [
    ("virt", include_bytes!("../fixtures/virt.dtb"), include_str!("../fixtures/virt.txt")),
    ("virt-secure", include_bytes!("../fixtures/virt-secure.dtb"), include_str!("../fixtures/virt-secure.txt")),
    ("virt-numa", include_bytes!("../fixtures/virt-numa.dtb"), include_str!("../fixtures/virt-numa.txt")),
    ("raspi4b-qemu", include_bytes!("../fixtures/raspi4b-qemu.dtb"), include_str!("../fixtures/raspi4b-qemu.txt")),
];

/// The board's own tree, without memory before firmware has filled it in.
const RASPI4B: &[u8] = include_bytes!("../fixtures/raspi4b.dtb");
