//! The floors of the kernel: a file imports only from floors below its own, and on its own floor only from files
//! listed before it.
//!
//! [`FLOORS`] is the picture of DESIGN's house as a table; a file that is not in it is reported. Modules that only
//! gather others (`lib.rs`, `mod.rs`, and files named after a directory) stand outside.

use std::collections::BTreeSet;

use syn::visit::{self, Visit};
use syn::{ItemMod, ItemUse, UseTree};

use super::source::Source;

/// A floor: its name, and its modules in order; what lies inside a module stands where the module does.
type Floor = (&'static str, &'static [&'static str]);

/// From the bottom up.
const FLOORS: &[Floor] = &[
    ("words", &["addr", "mmzone", "reclaim_types", "comm", "random", "gfp", "sync", "vmstat", "trace"]),
    (
        "before",
        &["quirks", "memblock", "devicetree", "bootargs", "reserved_mem", "early", "numa", "sched", "daemon", "task"],
    ),
    (
        "structures",
        &[
            "mm::page",
            "mm::pageblock",
            "mm::list",
            "mm::buddy",
            "mm::pcp",
            "mm::lru",
            "mm::kmem_cache",
            "mm::page_owner",
            "mm::mmu",
            "mm::kmap_slots",
        ],
    ),
    (
        "memory",
        &[
            "mm::zonelist",
            "mm::zone_sizes",
            "mm::sysctl",
            "mm::compact_state",
            "mm::zone",
            "mm::node",
            "mm::printed",
            "mm::oom_state",
            "mm::cpuset_state",
            "mm::memory",
        ],
    ),
    (
        "in and out",
        &[
            "mm::warn",
            "mm::wmark",
            "mm::fragmentation",
            "mm::fallback",
            "mm::reserves",
            "mm::alloc_context",
            "mm::reserve",
            "mm::sleep",
            "mm::fault_inject",
            "mm::pgtable",
            "mm::highmem",
            "mm::prep",
            "mm::cpuset",
            "mm::mempolicy",
            "mm::suitable",
            "mm::wakeup",
            "mm::freelist",
            "mm::workingset",
            "mm::swap",
            "mm::lru_view",
            "mm::fastpath",
            "mm::mm_init",
        ],
    ),
    ("reports", &["mm::census", "mm::slab_object", "mm::slabinfo", "show_mem", "mm::warn_alloc"]),
    ("make room", &["mm::migrate", "mm::compaction", "mm::vmscan", "mm::drop_caches", "mm::oom_kill"]),
    ("the entry", &["mm::kswapd", "mm::slowpath", "mm::page_alloc"]),
    (
        "users",
        &[
            "mm::raw",
            "mm::content",
            "mm::sparse",
            "mm::tables",
            "mm::users",
            "mm::pc_error",
            "mm::store",
            "mm::rmap",
            "mm::swapfile",
            "mm::page_io",
            "mm::page_wait",
            "mm::dirty_limits",
            "mm::writeback",
            "mm::pagecache",
            "mm::filemap",
            "mm::truncate",
            "mm::mincore",
            "mm::verify",
            "mm::pins",
            "mm::mmap",
            "mm::anon",
            "mm::fault",
            "mm::swapoff",
            "mm::handles",
            "mm::relocate",
            "mm::shadows",
            "mm::accounts",
            "mm::callbacks",
            "mm::slab",
            "mm::vmalloc",
            "mm::mempool",
            "mm::page_frag",
            "mm::skb",
        ],
    ),
    ("views", &["proc", "check", "explain", "stress"]),
];

/// Where the kernel's modules are.
const SOURCES: &str = "kernel/src/";

/// A place in the house: floor, and position on it.
type Place = (usize, usize);

/// Where the longest listed beginning of a path stands, and how long it is.
fn place(path: &[String]) -> Option<(Place, usize)> {
    (1..=path.len()).rev().find_map(|length| {
        let name = path[..length].join("::");
        let position = |modules: &[&str]| modules.iter().position(|listed| *listed == name);
        FLOORS.iter().enumerate().find_map(|(floor, (_, modules))| Some(((floor, position(modules)?), length)))
    })
}

/// The module that a file holds; none for the crate's root.
fn module_of(path: &str) -> Option<Vec<String>> {
    let name = path.strip_prefix(SOURCES)?.strip_suffix(".rs")?;
    let name = name.strip_suffix("/mod").unwrap_or(name);
    (name != "lib").then(|| name.split('/').map(str::to_owned).collect())
}

pub fn check(source: &Source) -> Vec<(usize, String)> {
    let (Some(module), Some(file)) = (module_of(&source.path), source.file()) else { return Vec::new() };
    let gathers = file.items.iter().all(|item| matches!(item, syn::Item::Mod(_) | syn::Item::Use(_)));
    let Some((here, _)) = place(&module) else {
        let unknown = (1, format!("{} is on no floor; list it in {}", module.join("::"), file!()));
        return if gathers || source.is_test(1) { Vec::new() } else { vec![unknown] };
    };
    let mut imports = Imports { module: module.clone(), found: BTreeSet::new() };
    imports.visit_file(file);
    let upward = |(line, path): (usize, Vec<String>)| {
        let (there, length) = place(&path)?;
        (there > here).then(|| (line, describe(&path[..length], there, here)))
    };
    let found = imports.found.into_iter().filter(|(line, _)| !source.is_test(*line));
    found.filter_map(upward).collect::<BTreeSet<_>>().into_iter().collect()
}

/// One upward edge in words.
fn describe(path: &[String], there: Place, here: Place) -> String {
    let order = if there.0 == here.0 { "listed later on the same floor" } else { "on a floor above" };
    format!(
        "imports {}, which is {order} ('{}', this file is on '{}')",
        path.join("::"),
        FLOORS[there.0].0,
        FLOORS[here.0].0
    )
}

/// Collects the paths of a file that lead into its own crate.
struct Imports {
    /// The module that is being read.
    module: Vec<String>,
    /// Line, and path from the crate's root.
    found: BTreeSet<(usize, Vec<String>)>,
}

impl Imports {
    /// Resolves `crate`, `self` and `super`; other first words lead out of the crate.
    fn add(&mut self, line: usize, path: &[String]) {
        let mut module = self.module.clone();
        let mut rest = path.iter().peekable();
        match rest.next().map(String::as_str) {
            Some("crate") => module.clear(),
            Some("self") => {}
            Some("super") => {
                module.pop();
                while rest.next_if(|word| *word == "super").is_some() {
                    module.pop();
                }
            }
            _ => return,
        }
        module.extend(rest.cloned());
        self.found.insert((line, module));
    }

    /// Walks a `use` tree.
    fn add_tree(&mut self, tree: &UseTree, before: &[String]) {
        let with = |word: &syn::Ident| [before, &[word.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&path.tree, &with(&path.ident)),
            UseTree::Name(name) => self.add(name.ident.span().start().line, &with(&name.ident)),
            UseTree::Rename(name) => self.add(name.ident.span().start().line, &with(&name.ident)),
            UseTree::Glob(glob) => self.add(glob.star_token.spans[0].start().line, before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(tree, before)),
        }
    }
}

impl<'ast> Visit<'ast> for Imports {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(path.segments[0].ident.span().start().line, &words);
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.module.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.module.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::FLOORS;

    /// What follows the line "```text" in the header of the kernel's root, up to the end of the picture.
    fn picture() -> String {
        let root = include_str!("../../../kernel/src/lib.rs");
        let lines = root.lines().skip_while(|line| !line.ends_with("```text")).skip(1);
        let lines = lines.take_while(|line| !line.ends_with("```"));
        lines.map(|line| line.trim_start_matches("//!").to_owned() + "\n").collect()
    }

    #[test]
    fn the_picture_in_the_kernels_root_is_the_list() {
        let picture = picture();
        let mut rest = picture.as_str();
        for (floor, modules) in FLOORS {
            rest = rest.trim_start().strip_prefix(floor).unwrap_or_else(|| panic!("{floor} is not next: {rest}"));
            let mut folder = "";
            for module in *modules {
                let (inside, name) = module.rsplit_once("::").unwrap_or(("", module));
                rest = rest.trim_start_matches([' ', ',', ';', '\n']);
                if inside != folder && !inside.is_empty() {
                    rest = rest.strip_prefix(&format!("{inside}: ")).unwrap_or_else(|| panic!("{inside}: {rest}"));
                }
                folder = inside;
                rest = rest.strip_prefix(name).unwrap_or_else(|| panic!("{module} is not next: {rest}"));
            }
        }
        assert_eq!(rest.trim(), "");
    }
}
