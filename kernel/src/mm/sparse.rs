//! Sparse arrays: for each object (a file, a task's memory), entries by index, wherever they are needed.
//!
//! Entries come in chunks of 64 with consecutive numbers, so that a table of entries is a plain array that RAM may hold
//! uninitialised: a chunk's entries are written when the chunk is first needed. [`Chunk`] is the head of one; [`Sparse`]
//! finds chunks by object and number, and walks those of an object in order. Whoever holds the entries' lock may call.
//!
//! Linux: `struct xarray`, whose nodes have 64 slots, too. Linux does more: a tree of nodes, read without a lock.

use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::page::NIL;

/// Entries of a chunk. Linux: `XA_CHUNK_SIZE`.
pub const CHUNK_ENTRIES: u32 = 64;
/// Objects of a [`Sparse`], numbered from 0.
pub const MAX_OBJECTS: usize = 64;

/// A hash table's size.
const BUCKETS: usize = 256;

/// The head of a chunk: whose it is, and how full.
#[derive(Debug, Default)]
pub struct Chunk {
    object: AtomicU32,
    /// First index divided by [`CHUNK_ENTRIES`].
    number: AtomicU32,
    /// Next chunk with the same hash.
    chain: AtomicU32,
    /// Next chunk of the object, or of the free ones.
    next: AtomicU32,
    /// Entries that have a page.
    pages: AtomicU32,
    /// Entries that remember a page that was evicted.
    shadows: AtomicU32,
}

impl Chunk {
    /// A chunk as RAM may hold it before anybody wrote one.
    #[cfg(any(test, feature = "host"))]
    pub(crate) const fn garbage() -> Chunk {
        const fn word() -> AtomicU32 {
            AtomicU32::new(77)
        }
        Chunk { object: word(), number: word(), chain: word(), next: word(), pages: word(), shadows: word() }
    }

    /// Entries that have a page.
    pub fn pages(&self) -> u32 {
        self.pages.load(Relaxed)
    }

    /// Whether it is kept for what it remembers, not for a page. Linux: a node on `shadow_nodes`.
    pub fn is_only_shadows(&self) -> bool {
        self.pages() == 0 && self.shadows.load(Relaxed) > 0
    }

    /// Changes how many entries have a page, and how many remember one.
    pub fn count(&self, pages: i32, shadows: i32) {
        self.pages.store(self.pages().wrapping_add_signed(pages), Relaxed);
        self.shadows.store(self.shadows.load(Relaxed).wrapping_add_signed(shadows), Relaxed);
    }
}

/// Where an entry stands: object and index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The file's number, or one less than the task's.
    pub object: u32,
    /// The page's place in it.
    pub index: u32,
}

impl Place {
    /// Page `index` of `object`.
    pub const fn new(object: u32, index: u32) -> Place {
        Place { object, index }
    }
}

/// Finds entries. The chunks themselves are in a table that is passed to every call.
#[derive(Debug)]
pub struct Sparse {
    buckets: [u32; BUCKETS],
    /// First and last chunk of each object.
    ends: [(u32, u32); MAX_OBJECTS],
    /// First of the chunks that were used and are not any more.
    free: u32,
    /// Chunks that were ever used: the first so many of the table.
    ever_used: u32,
}

/// There is no room for another chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoRoom;

impl Sparse {
    /// No object has an entry.
    pub const EMPTY: Sparse =
        Sparse { buckets: [NIL; BUCKETS], ends: [(NIL, NIL); MAX_OBJECTS], free: NIL, ever_used: 0 };

    /// The number of the entry at `place`.
    pub fn find(&self, chunks: &[Chunk], place: Place) -> Option<u32> {
        let chunk = self.find_chunk(chunks, place)?;
        Some(chunk * CHUNK_ENTRIES + place.index % CHUNK_ENTRIES)
    }

    /// Where the entry with this number stands.
    pub fn place_of(chunks: &[Chunk], entry: u32) -> Place {
        let chunk = &chunks[(entry / CHUNK_ENTRIES) as usize];
        let first = chunk.number.load(Relaxed) * CHUNK_ENTRIES;
        Place::new(chunk.object.load(Relaxed), first + entry % CHUNK_ENTRIES)
    }

    /// The chunk of an entry.
    pub fn chunk_of(chunks: &[Chunk], entry: u32) -> &Chunk {
        &chunks[(entry / CHUNK_ENTRIES) as usize]
    }

    /// The number of the entry at `place`, which is made if need be; `init` writes each entry of a chunk that is new.
    ///
    /// # Errors
    ///
    /// When all chunks are in use.
    pub fn find_or_add(&mut self, chunks: &[Chunk], place: Place, init: impl FnMut(u32)) -> Result<u32, NoRoom> {
        let chunk = match self.find_chunk(chunks, place) {
            Some(chunk) => chunk,
            None => {
                let chunk = self.take_chunk(chunks).ok_or(NoRoom)?;
                (chunk * CHUNK_ENTRIES..(chunk + 1) * CHUNK_ENTRIES).for_each(init);
                self.link(chunks, chunk, place);
                chunk
            }
        };
        Ok(chunk * CHUNK_ENTRIES + place.index % CHUNK_ENTRIES)
    }

    /// Gives those chunks of `object` back all of whose entries are `blank`. Others may have come while the object was
    /// emptied.
    pub fn remove_blank(&mut self, chunks: &[Chunk], object: u32, mut blank: impl FnMut(u32) -> bool) {
        let (mut chunk, _) = core::mem::replace(&mut self.ends[object as usize], (NIL, NIL));
        let (mut first, mut last) = (NIL, NIL);
        while chunk != NIL {
            let head = &chunks[chunk as usize];
            let next = head.next.load(Relaxed);
            if (chunk * CHUNK_ENTRIES..(chunk + 1) * CHUNK_ENTRIES).all(&mut blank) {
                self.unchain(chunks, chunk);
                head.next.store(self.free, Relaxed);
                self.free = chunk;
            } else {
                match last {
                    NIL => first = chunk,
                    before => chunks[before as usize].next.store(chunk, Relaxed),
                }
                head.next.store(NIL, Relaxed);
                last = chunk;
            }
            chunk = next;
        }
        self.ends[object as usize] = (first, last);
    }

    /// The first chunk at or after `from`, of its object or one behind: its number and the place of its first entry.
    pub fn next_chunk(&self, chunks: &[Chunk], from: Place) -> Option<(u32, Place)> {
        let found = self.find_chunk(chunks, from).or_else(|| self.first_from(chunks, from));
        let later =
            || (from.object as usize + 1..MAX_OBJECTS).map(|object| self.ends[object].0).find(|&first| first != NIL);
        let chunk = found.or_else(later)?;
        Some((chunk, Sparse::place_of(chunks, chunk * CHUNK_ENTRIES)))
    }

    /// Every entry of every object.
    pub fn entries<'c>(&'c self, chunks: &'c [Chunk]) -> impl Iterator<Item = u32> + 'c {
        let used = |chunk: u32| Some(chunk).filter(|&chunk| chunk != NIL);
        let of_object = move |&(first, _): &(u32, u32)| {
            core::iter::successors(used(first), move |&chunk| used(chunks[chunk as usize].next.load(Relaxed)))
        };
        let chunks = self.ends.iter().flat_map(of_object);
        chunks.flat_map(|chunk| chunk * CHUNK_ENTRIES..(chunk + 1) * CHUNK_ENTRIES)
    }

    /// The last chunk of `object`: the place of its first entry.
    pub fn last_chunk(&self, chunks: &[Chunk], object: u32) -> Option<Place> {
        let (_, last) = self.ends[object as usize];
        (last != NIL).then(|| Sparse::place_of(chunks, last * CHUNK_ENTRIES))
    }

    /// The first chunk of the same object at or after `from`, the slow way.
    fn first_from(&self, chunks: &[Chunk], from: Place) -> Option<u32> {
        let mut chunk = self.ends.get(from.object as usize)?.0;
        while chunk != NIL && chunks[chunk as usize].number.load(Relaxed) < from.index.div_ceil(CHUNK_ENTRIES) {
            chunk = chunks[chunk as usize].next.load(Relaxed);
        }
        (chunk != NIL).then_some(chunk)
    }

    fn find_chunk(&self, chunks: &[Chunk], place: Place) -> Option<u32> {
        let (object, number) = (place.object, place.index / CHUNK_ENTRIES);
        let mut chunk = self.buckets[bucket(object, number)];
        while chunk != NIL {
            let head = &chunks[chunk as usize];
            if head.object.load(Relaxed) == object && head.number.load(Relaxed) == number {
                return Some(chunk);
            }
            chunk = head.chain.load(Relaxed);
        }
        None
    }

    fn take_chunk(&mut self, chunks: &[Chunk]) -> Option<u32> {
        let chunk = self.free;
        if chunk != NIL {
            self.free = chunks[chunk as usize].next.load(Relaxed);
            return Some(chunk);
        }
        let fresh = self.ever_used;
        ((fresh as usize) < chunks.len()).then(|| {
            self.ever_used += 1;
            fresh
        })
    }

    /// Makes `chunk` the one of `place`, in its bucket and in the order of its object.
    fn link(&mut self, chunks: &[Chunk], chunk: u32, place: Place) {
        let head = &chunks[chunk as usize];
        let number = place.index / CHUNK_ENTRIES;
        head.object.store(place.object, Relaxed);
        head.number.store(number, Relaxed);
        head.pages.store(0, Relaxed);
        head.shadows.store(0, Relaxed);
        let bucket = &mut self.buckets[bucket(place.object, number)];
        head.chain.store(core::mem::replace(bucket, chunk), Relaxed);

        let before = self.last_before(chunks, place.object, number);
        let (first, last) = &mut self.ends[place.object as usize];
        let next = match before {
            NIL => core::mem::replace(first, chunk),
            before => chunks[before as usize].next.swap(chunk, Relaxed),
        };
        head.next.store(next, Relaxed);
        if next == NIL {
            *last = chunk;
        }
    }

    /// The last chunk of `object` whose number is below `number`; at once if there is none at or above it.
    fn last_before(&self, chunks: &[Chunk], object: u32, number: u32) -> u32 {
        let below = |chunk: u32| chunk != NIL && chunks[chunk as usize].number.load(Relaxed) < number;
        let (first, last) = self.ends[object as usize];
        if below(last) {
            return last;
        }
        let (mut before, mut chunk) = (NIL, first);
        while below(chunk) {
            (before, chunk) = (chunk, chunks[chunk as usize].next.load(Relaxed));
        }
        before
    }

    fn unchain(&mut self, chunks: &[Chunk], chunk: u32) {
        let head = &chunks[chunk as usize];
        let next = head.chain.load(Relaxed);
        let bucket = &mut self.buckets[bucket(head.object.load(Relaxed), head.number.load(Relaxed))];
        if *bucket == chunk {
            *bucket = next;
            return;
        }
        let mut before = *bucket;
        while chunks[before as usize].chain.load(Relaxed) != chunk {
            before = chunks[before as usize].chain.load(Relaxed);
        }
        chunks[before as usize].chain.store(next, Relaxed);
    }
}

/// Neighbouring chunks of an object have neighbouring buckets.
const fn bucket(object: u32, number: u32) -> usize {
    (object.wrapping_mul(0x9e37_79b1).rotate_left(8).wrapping_add(number)) as usize % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(chunks: usize) -> Vec<Chunk> {
        (0..chunks).map(|_| Chunk::garbage()).collect()
    }

    /// The chunks of all objects in order: object and first index.
    fn walk(sparse: &Sparse, chunks: &[Chunk]) -> Vec<(u32, u32)> {
        let mut places = Vec::new();
        let mut from = Place::new(0, 0);
        while let Some((_, place)) = sparse.next_chunk(chunks, from) {
            places.push((place.object, place.index));
            from = Place::new(place.object, place.index + CHUNK_ENTRIES);
        }
        places
    }

    #[test]
    fn entries_are_found_where_they_were_made() {
        let chunks = table(4);
        let mut sparse = Sparse::EMPTY;
        let mut fresh = 0;
        let mut add = |sparse: &mut Sparse, object, index| {
            sparse.find_or_add(&chunks, Place::new(object, index), |_| fresh += 1).unwrap()
        };
        let [a, b, c] = [add(&mut sparse, 3, 70), add(&mut sparse, 3, 100), add(&mut sparse, 1, 70)];
        assert_eq!((b - a, c / CHUNK_ENTRIES), (30, 1));
        assert_eq!(fresh, 128, "two chunks were initialised");
        assert_eq!(sparse.find(&chunks, Place::new(3, 70)), Some(a));
        assert_eq!(sparse.find(&chunks, Place::new(3, 0)), None);
        assert_eq!(Sparse::place_of(&chunks, c), Place::new(1, 70));
    }

    #[test]
    fn chunks_are_walked_in_order_however_they_came() {
        let chunks = table(8);
        let mut sparse = Sparse::EMPTY;
        for (object, number) in [(2, 5), (2, 1), (0, 9), (2, 3), (2, 7), (63, 0)] {
            sparse.find_or_add(&chunks, Place::new(object, number * 64 + 5), |_| {}).unwrap();
        }
        let expected = [(0, 9), (2, 1), (2, 3), (2, 5), (2, 7), (63, 0)].map(|(object, number)| (object, number * 64));
        assert_eq!(walk(&sparse, &chunks), expected);
        assert_eq!(sparse.last_chunk(&chunks, 2), Some(Place::new(2, 7 * 64)));
        assert_eq!(sparse.next_chunk(&chunks, Place::new(2, 2 * 64)).map(|(_, place)| place.index), Some(3 * 64));
    }

    #[test]
    fn chunks_in_use_stay_in_order() {
        let chunks = table(8);
        let mut sparse = Sparse::EMPTY;
        let entries = [0, 1, 2, 3, 4].map(|number| sparse.find_or_add(&chunks, Place::new(2, number * 64), |_| {}));
        let used = [entries[1].unwrap(), entries[3].unwrap()];
        sparse.remove_blank(&chunks, 2, |entry| !used.contains(&entry));
        assert_eq!(walk(&sparse, &chunks), [(2, 64), (2, 192)]);
        assert_eq!(sparse.last_chunk(&chunks, 2), Some(Place::new(2, 192)));
        assert_eq!(sparse.find(&chunks, Place::new(2, 0)), None);
        sparse.remove_blank(&chunks, 2, |_| true);
        assert_eq!(walk(&sparse, &chunks), []);
    }

    #[test]
    fn a_full_table_says_so_and_has_room_again_when_an_object_goes() {
        let chunks = table(600);
        let mut sparse = Sparse::EMPTY;
        let add = |sparse: &mut Sparse, object, number| {
            sparse.find_or_add(&chunks, Place::new(object, number * CHUNK_ENTRIES), |_| {}).is_ok()
        };
        assert!((0..300).all(|number| add(&mut sparse, 1, number) && add(&mut sparse, 2, number)));
        assert!(!add(&mut sparse, 3, 0));
        sparse.remove_blank(&chunks, 1, |_| true);
        assert_eq!(walk(&sparse, &chunks).len(), 300);
        assert!((0..300).all(|number| sparse.find(&chunks, Place::new(2, number * 64)).is_some()));
        assert!((0..300).all(|number| add(&mut sparse, 3, number)) && !add(&mut sparse, 4, 0));
    }
}
