//! What the boot arguments say about slabs: `slub_debug=` and `kmalloc=`.
//!
//! Plain values for `mm::kmem_cache`, which turns them into the flags of its caches. Linux: `setup_slub_debug`,
//! `kmem_cache_flags`.
//!
//! Linux does more: U keeps who allocated and freed each object, T traces a cache, A makes its allocations fail.

/// Which sizes `kmalloc` has caches for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum KmallocProfile {
    /// 128 to 8k: arm64 has devices that want objects of their own cache lines.
    #[default]
    Arm64,
    /// 8 to 8k, with 96 and 192.
    Generic,
}

impl KmallocProfile {
    /// Every profile.
    pub const ALL: [KmallocProfile; 2] = [KmallocProfile::Arm64, KmallocProfile::Generic];

    /// As in `kmalloc=`.
    pub const fn name(self) -> &'static str {
        match self {
            KmallocProfile::Arm64 => "arm64",
            KmallocProfile::Generic => "generic",
        }
    }
}

/// `slub_debug[=LETTERS][,CACHES]`: what caches are like besides what their makers asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SlubDebug<'a> {
    /// F: check each object when it comes and goes.
    pub checks: bool,
    /// Z: surround each object with bytes that nobody should touch.
    pub red_zone: bool,
    /// P: fill free objects with bytes that nobody should touch.
    pub poison: bool,
    /// O: neither Z nor P where a slab would have to be of a larger order for them.
    pub keep_order: bool,
    /// Only the caches of this list: names, separated by commas; a `*` stands for the rest of a name.
    pub caches: Option<&'a str>,
}

impl<'a> SlubDebug<'a> {
    /// What no letters stand for.
    const ALL: SlubDebug<'static> =
        SlubDebug { checks: true, red_zone: true, poison: true, keep_order: false, caches: None };

    /// Reads the value, and finds the first letter that means nothing here; such letters are skipped, as in Linux.
    pub(super) fn parse(value: Option<&'a str>) -> (SlubDebug<'a>, Option<char>) {
        let value = value.unwrap_or("");
        let (letters, caches) = match value.split_once(',') {
            Some((letters, caches)) => (letters, Some(caches)),
            None => (value, None),
        };
        let (mut debug, mut odd) = match letters {
            "" => return (SlubDebug { caches, ..SlubDebug::ALL }, None),
            _ if letters.starts_with('-') => return (SlubDebug::default(), None),
            _ => (SlubDebug { caches, ..SlubDebug::default() }, None),
        };
        for letter in letters.chars() {
            match letter.to_ascii_lowercase() {
                'f' => debug.checks = true,
                'z' => debug.red_zone = true,
                'p' => debug.poison = true,
                'o' => debug.keep_order = true,
                _ => odd = odd.or(Some(letter)),
            }
        }
        (debug, odd)
    }

    /// Whether the cache of this name is meant.
    pub fn covers(&self, name: &str) -> bool {
        let fits = |entry: &str| match entry.split_once('*') {
            Some((start, _)) => name.starts_with(start),
            None => name == entry,
        };
        self.caches.is_none_or(|caches| caches.split(',').any(fits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The switches as letters, the list, and the letter that was skipped.
    fn parsed(value: Option<&str>) -> (String, Option<&str>, Option<char>) {
        let (debug, odd) = SlubDebug::parse(value);
        let switches = [(debug.checks, 'F'), (debug.red_zone, 'Z'), (debug.poison, 'P'), (debug.keep_order, 'O')];
        (switches.iter().filter(|(on, _)| *on).map(|(_, letter)| letter).collect(), debug.caches, odd)
    }

    #[test]
    fn letters_are_switches() {
        let of = |letters: &str| (letters.to_owned(), None, None);
        assert_eq!(parsed(None), of("FZP"));
        assert_eq!(parsed(Some("")), of("FZP"));
        assert_eq!(parsed(Some("-")), of(""));
        assert_eq!(parsed(Some("fzp")), of("FZP"));
        assert_eq!(parsed(Some("PO")), of("PO"));
        assert_eq!(parsed(Some("FZPU")), ("FZP".to_owned(), None, Some('U')));
        assert_eq!(parsed(Some("xFy")), ("F".to_owned(), None, Some('x')));
    }

    #[test]
    fn a_list_says_which_caches() {
        assert_eq!(parsed(Some(",skb")), ("FZP".to_owned(), Some("skb"), None));
        assert_eq!(parsed(Some("Z,skb,kmalloc-*")), ("Z".to_owned(), Some("skb,kmalloc-*"), None));
        let (debug, _) = SlubDebug::parse(Some("Z,skb,kmalloc-*"));
        let names = ["skb", "skb2", "sk", "kmalloc-128", "kmalloc-rcl-1k", "dma-kmalloc-1k"];
        assert_eq!(names.map(|name| debug.covers(name)), [true, false, false, true, true, false]);
        let (debug, _) = SlubDebug::parse(Some("Z"));
        assert!(names.iter().all(|name| debug.covers(name)));
    }
}
