//! From the linker's ELF file to `kernel8.img`, the flat image that QEMU and the Pi's firmware load.
//!
//! The loadable segments go to their places, gaps are zero, and what needs no bytes (bss, stacks) is only counted in
//! the header's image size. If the ELF file has a section `.ksyms`, it is filled with the table of functions by which
//! the image puts names into its backtraces:
//!
//! ```text
//! offset 0   u32         count
//!        4   u32, u32    offset of the function from the image's base, offset of its name from the table's start
//!            ...         count pairs, sorted by the first
//!            bytes       the names: demangled, without hashes, each ended by NUL; equal names are stored once
//! ```
//!
//! Numbers are little-endian. The section's size is chosen by the image's linker script; a table that does not fit
//! stops the build and says how much it needs.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail, ensure};
use object::elf::FileHeader64;
use object::read::elf::ElfFile;
use object::{LittleEndian, Object, ObjectSection, ObjectSegment, ObjectSymbol, SymbolKind};

/// Name of the section that receives the table of functions.
const SYMBOLS: &str = ".ksyms";
/// Where the arm64 image header has its magic number, and what it is.
const MAGIC: (usize, &[u8]) = (0x38, b"ARM\x64");

type Elf<'data> = ElfFile<'data, FileHeader64<LittleEndian>>;

/// Converts an ELF file into the bytes of a flat image.
pub fn from_elf(elf: &[u8]) -> Result<Vec<u8>> {
    let elf = Elf::parse(elf).context("the linker's output is not a 64-bit little-endian ELF file")?;
    let base = elf.segments().map(|segment| segment.address()).min().context("the ELF file has nothing to load")?;
    let mut image = flatten(&elf, base)?;
    if let Some(section) = elf.section_by_name(SYMBOLS).filter(|section| section.size() > 0) {
        let start = usize::try_from(section.address() - base)?;
        let room = image.get_mut(start..start + usize::try_from(section.size())?);
        let room = room.with_context(|| format!("section {SYMBOLS} has no bytes in the file"))?;
        fill_symbols(room, &symbol_table(functions(&elf, base)?)?)?;
    }
    Ok(image)
}

/// Puts every loadable segment at its distance from `base`.
fn flatten(elf: &Elf<'_>, base: u64) -> Result<Vec<u8>> {
    let mut image = Vec::new();
    for segment in elf.segments() {
        let start = usize::try_from(segment.address() - base)?;
        let data = segment.data()?;
        if image.len() < start + data.len() {
            image.resize(start + data.len(), 0);
        }
        image[start..start + data.len()].copy_from_slice(data);
    }
    let (offset, magic) = MAGIC;
    ensure!(image.get(offset..offset + magic.len()) == Some(magic), "the image does not start with an arm64 header");
    Ok(image)
}

/// Offset from `base` and name of every function, the shortest name where several share an address.
fn functions(elf: &Elf<'_>, base: u64) -> Result<BTreeMap<u32, String>> {
    let mut functions = BTreeMap::new();
    for symbol in elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_definition()) {
        let offset = u32::try_from(symbol.address() - base)?;
        let name = format!("{:#}", rustc_demangle::demangle(symbol.name()?));
        let known = functions.entry(offset).or_insert_with(|| name.clone());
        if name.len() < known.len() {
            *known = name;
        }
    }
    Ok(functions)
}

/// Lays the table of functions out.
fn symbol_table(functions: BTreeMap<u32, String>) -> Result<Vec<u8>> {
    let names_at = 4 + 8 * functions.len();
    let mut table = u32::try_from(functions.len())?.to_le_bytes().to_vec();
    let mut names = Vec::new();
    let mut known = HashMap::new();
    for (offset, name) in functions {
        let at = *known.entry(name).or_insert_with_key(|name| {
            names.extend_from_slice(name.as_bytes());
            names.push(0);
            names_at + names.len() - name.len() - 1
        });
        table.extend(offset.to_le_bytes());
        table.extend(u32::try_from(at)?.to_le_bytes());
    }
    table.extend(names);
    Ok(table)
}

/// Copies the table into the room that the linker script left for it.
fn fill_symbols(room: &mut [u8], table: &[u8]) -> Result<()> {
    if table.len() > room.len() {
        bail!("section {SYMBOLS} has {} bytes, the table of functions needs {}", room.len(), table.len());
    }
    room[..table.len()].copy_from_slice(table);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a table back as `offset name` lines, the way the image does.
    fn read_back(table: &[u8]) -> String {
        let word = |at: usize| u32::from_le_bytes(table[at..at + 4].try_into().unwrap());
        let mut lines = String::new();
        for entry in 0..word(0) as usize {
            let name = &table[word(8 + 8 * entry) as usize..];
            let end = name.iter().position(|byte| *byte == 0).unwrap();
            lines += &format!("{:#x} {}\n", word(4 + 8 * entry), str::from_utf8(&name[..end]).unwrap());
        }
        lines
    }

    #[test]
    fn the_table_is_sorted_and_stores_equal_names_once() {
        let functions = [(0x200, "free"), (0x80, "alloc"), (0x300, "alloc")];
        let table = symbol_table(functions.into_iter().map(|(at, name)| (at, name.to_owned())).collect()).unwrap();
        assert_eq!(read_back(&table), "0x80 alloc\n0x200 free\n0x300 alloc\n");
        assert_eq!(table.len(), 4 + 3 * 8 + "alloc.free.".len());
    }

    #[test]
    fn a_table_that_does_not_fit_says_what_it_needs() {
        let error = fill_symbols(&mut [0; 16], &[1; 40]).unwrap_err();
        assert_eq!(error.to_string(), "section .ksyms has 16 bytes, the table of functions needs 40");
        let mut room = [0; 4];
        fill_symbols(&mut room, &[1, 2, 3]).unwrap();
        assert_eq!(room, [1, 2, 3, 0]);
    }

    /// A minimal ELF file with one loadable segment of `data` at `address`.
    fn elf(address: u64, data: &[u8]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        for half in [3u16, 183] {
            file.extend(half.to_le_bytes());
        }
        file.extend(1u32.to_le_bytes());
        for word in [address, 64, 0] {
            file.extend(word.to_le_bytes());
        }
        file.extend(0u32.to_le_bytes());
        for half in [64u16, 56, 1, 64, 0, 0] {
            file.extend(half.to_le_bytes());
        }
        for half in [1u32, 5] {
            file.extend(half.to_le_bytes());
        }
        for word in [120, address, address, data.len() as u64, 0x10000, 0x1000] {
            file.extend(word.to_le_bytes());
        }
        file.extend(data);
        file
    }

    #[test]
    fn only_an_arm64_image_is_accepted() {
        let mut data = vec![0xaa; 0x40];
        assert!(from_elf(&elf(0x8000, &data)).unwrap_err().to_string().contains("arm64 header"));
        data[0x38..0x3c].copy_from_slice(b"ARM\x64");
        assert_eq!(from_elf(&elf(0x8000, &data)).unwrap(), data, "bss takes no bytes");
        assert!(from_elf(b"#!/bin/sh").is_err());
    }
}
