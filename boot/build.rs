//! Hands the linker what makes the image: the script `image.ld` and a position-independent layout.
//!
//! Everything here is about the target's link step; `.cargo/config.toml` holds the two code generation flags.

use std::env;
use std::path::Path;

/// Linker arguments besides the script, each with its reason.
const LINK_ARGS: [&str; 5] = [
    "-pie",                 // the loader chooses the address; relocations are in .rela.dyn
    "-znotext",             // relocations may hit read-only sections: they are applied before the MMU protects them
    "-znorelro",            // image.ld places read-only data itself
    "-zmax-page-size=4096", // sections are mapped page by page
    "--no-dynamic-linker",  // the entry code is the dynamic linker
];

fn main() {
    println!("cargo:rerun-if-changed=image.ld");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("none") {
        return;
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    for needed in ["relocation-model=pic", "force-frame-pointers=yes"] {
        assert!(
            flags.contains(needed),
            "rustc flag -C{needed} is missing: RUSTFLAGS in the environment replaces .cargo/config.toml; unset it"
        );
    }
    let manifest = env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    println!("cargo:rustc-link-arg-bins=-T{}", Path::new(&manifest).join("image.ld").display());
    for arg in LINK_ARGS {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
}
