//! What is refused, and with which words.

use kernel::devicetree::DeviceTree;

use crate::describe::describe_blob;
use crate::dts::{assemble, compile};

const SOURCE: &str = "/ { model = \"m\"; memory { device_type = \"memory\"; reg = <0 1>; }; };";

#[track_caller]
fn check(blob: &[u8], expected: &str) {
    let error = describe_blob(blob).expect_err("a tree that is refused");
    assert_eq!(error.to_string(), format!("device tree: {expected}"));
}

/// [`SOURCE`] with word `index` of its header replaced.
#[track_caller]
fn check_header(index: usize, word: u32, expected: &str) {
    let mut blob = compile(SOURCE);
    blob[4 * index..][..4].copy_from_slice(&word.to_be_bytes());
    check(&blob, expected);
}

/// A structure block of these words; the name at offset 0 of the strings is "p", at 1 it is empty.
#[track_caller]
fn check_words(words: &[u32], expected: &str) {
    let structure: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    check(&assemble(&[], &structure, b"p\0"), expected);
}

/// A strings block around an empty tree.
#[track_caller]
fn check_strings(strings: &[u8], expected: &str) {
    let structure: Vec<u8> = [1u32, 0, 2, 9].iter().flat_map(|word| word.to_be_bytes()).collect();
    check(&assemble(&[], &structure, strings), expected);
}

#[track_caller]
fn check_source(source: &str, expected: &str) {
    check(&compile(&format!("/ {{ {source} }};")), expected);
}

#[test]
fn headers() {
    check(&[], "0 bytes are too few for the header of 40");
    check(&compile(SOURCE)[..39], "39 bytes are too few for the header of 40");
    check_header(0, 0x5441_0001, "bad magic 0x54410001, expected 0xd00dfeed");
    check_header(5, 16, "version 16 (compatible down to 16) cannot be read as version 17");
    check_header(6, 18, "version 17 (compatible down to 18) cannot be read as version 17");
    check_header(1, 39, "total size 0x27 is not between 0x28 and 0x200000 bytes");
    check_header(1, 0x0020_0001, "total size 0x200001 is not between 0x28 and 0x200000 bytes");
    check_header(1, 0x1000, "total size 0x1000, but the blob ends after 0xa6 bytes");
}

#[test]
fn blocks() {
    let at = "is misaligned or outside the blob";
    check_header(2, 0x24, &format!("the structure block at offset 0x24, size 0x58, {at}"));
    check_header(2, 0x3a, &format!("the structure block at offset 0x3a, size 0x58, {at}"));
    check_header(9, 0x80, &format!("the structure block at offset 0x38, size 0x80, {at}"));
    check_header(9, 0xffff_fffc, &format!("the structure block at offset 0x38, size 0xfffffffc, {at}"));
    check_header(3, 0xb4, &format!("the strings block at offset 0xb4, size 0x16, {at}"));
    check_header(4, 0x2c, &format!("the reservation map at offset 0x2c, size 0x0, {at}"));
    check_header(4, 0x1000, &format!("the reservation map at offset 0x1000, size 0x0, {at}"));
    check_header(4, 0x98, "the reservation map has no end");
}

#[test]
fn tokens() {
    let nothing = "the structure block ends inside what starts at";
    check_words(&[], &format!("{nothing} 0x0"));
    check_words(&[1, 0], &format!("{nothing} 0x8"));
    check_words(&[1, 0, 3, 8, 0, 5], &format!("{nothing} 0x8"));
    check_words(&[1, 0, 3, u32::MAX, 0, 5], &format!("{nothing} 0x8"));
    check_words(&[1, 0, 3, 0], &format!("{nothing} 0x8"));
    check_words(&[1, 0, 2], &format!("{nothing} 0xc"));
    check_words(&[1, 0, 7], "bad token 0x7 at 0x8 in the structure block");
    check_words(&[9], "misplaced token 0x9 at 0x0 in the structure block");
    check_words(&[2], "misplaced token 0x2 at 0x0 in the structure block");
    check_words(&[3, 0, 0], "misplaced token 0x3 at 0x0 in the structure block");
    check_words(&[1, 0, 9], "misplaced token 0x9 at 0x8 in the structure block");
    check_words(&[1, 0, 2, 2], "misplaced token 0x2 at 0xc in the structure block");
    check_words(&[1, 0, 2, 1, 0], "misplaced token 0x1 at 0xc in the structure block");
    check_words(&[1, 0, 2, 3, 0, 0], "misplaced token 0x3 at 0xc in the structure block");
    let child = 0x6100_0000;
    check_words(&[1, 0, 1, child, 2, 3, 0, 0, 2, 9], "misplaced token 0x3 at 0x14 in the structure block");
    check_words(&[1, 0, 2, 9], "no memory node with a size above 0");
}

#[test]
fn names() {
    let bad = |at: &str| format!("bad name at {at} in the structure block");
    check_words(&[1, 0x6100_0000], &bad("0x0"));
    check_words(&[1, 0, 1, 0], &bad("0x8"));
    check_words(&[1, 0, 1, 0x612f_6200], &bad("0x8"));
    check_words(&[1, 0, 1, 0x611b_6200], &bad("0x8"));
    check_words(&[1, 0, 1, 0x61ff_6200], &bad("0x8"));
    check_words(&[1, 0, 1, 0x6161_6161], &bad("0x8"));
    check_words(&[1, 0, 3, 0, 1], &bad("0x8"));
    check_words(&[1, 0, 3, 0, 2], &bad("0x8"));
    check_words(&[1, 0, 3, 0, u32::MAX], &bad("0x8"));
    check_source(&format!("{} {{ }};", "n".repeat(256)), &bad("0x8"));
    check_source(&format!("{0} {{ {0}; }};", "n".repeat(255)), "no memory node with a size above 0");
}

#[test]
fn strings() {
    let bad = |at: &str| format!("bad name at {at} in the strings block");
    check_strings(b"", "no memory node with a size above 0");
    check_strings(b"a\0b,#c\0\0d\0", "no memory node with a size above 0");
    check_strings(b"a\0open", &bad("0x2"));
    check_strings(b"a\0b/c\0", &bad("0x3"));
    check_strings(b"a\0b\x1b\0", &bad("0x3"));
    check_strings(b"a\0\x7f\0", &bad("0x2"));
    check_strings(&[&[b'p'; 255], &[0][..]].concat(), "no memory node with a size above 0");
    check_strings(&[&[b'p'; 256], &[0][..]].concat(), &bad("0xff"));
}

#[test]
fn depth() {
    let nested = |levels: usize| format!("{}{}", "n { ".repeat(levels), "}; ".repeat(levels));
    check_source(&nested(31), "no memory node with a size above 0");
    check_source(&nested(32), "nodes nested deeper than 32 at 0x100 in the structure block");
    check_source(&nested(1000), "nodes nested deeper than 32 at 0x100 in the structure block");
}

#[test]
fn cells() {
    let bad =
        |at: &str| format!("bad #address-cells or #size-cells at {at} in the structure block (at most 4, root 1 or 2)");
    check_source("#address-cells = <3>;", &bad("0x8"));
    check_source("#size-cells = <0>;", &bad("0x8"));
    check_source("#size-cells = <1 1>;", &bad("0x8"));
    check_source("#address-cells;", &bad("0x8"));
    check_source("n { #address-cells = <5>; };", &bad("0x10"));
    check_source("n { #address-cells = <4>; #size-cells = <0>; };", "no memory node with a size above 0");
}

#[test]
fn texts() {
    let bad = "the property at 0x8 in the structure block is not NUL-terminated text";
    for name in ["bootargs", "compatible", "device_type", "model", "status", "stdout-path"] {
        check_source(&format!("{name} = [61];"), bad);
        check_source(&format!("{name} = [ff 00];"), bad);
        check_source(&format!("{name};"), "no memory node with a size above 0");
    }
}

#[test]
fn boot_arguments() {
    let chosen = |len: usize| format!("chosen {{ bootargs = \"{}\"; }};", "a".repeat(len));
    check_source(&chosen(2047), "no memory node with a size above 0");
    check_source(&chosen(2048), "boot arguments of 2049 bytes, 2048 are allowed");
}

#[test]
fn memory() {
    let none = "no memory node with a size above 0";
    check_source("", none);
    check_source("memory { reg = <0 1>; };", none);
    check_source("memory { device_type = \"memory\"; };", none);
    check_source("memory { device_type = \"memory\"; reg = <0 0>, <5 0>; };", none);
    check_source("memory { device_type = \"memory\"; reg = <5>; };", none);
    check_source("memory { device_type = \"memory\"; reg = <0 1>; status = \"disabled\"; };", none);
}

#[test]
fn small_buffer() {
    let blob = compile(SOURCE);
    let needed = DeviceTree::copy_size(&blob).expect("a sound header");
    let error = DeviceTree::load(&blob, &mut vec![0; needed - 1]).expect_err("a buffer that is too small");
    assert_eq!(
        error.to_string(),
        format!("device tree: the copy needs {needed:#x} bytes, the buffer has {:#x}", needed - 1)
    );
}
