//! What a job leaves to the shell that started it: blocks, objects and areas, by number.
//!
//! [`Session::absorb`] takes it over, each thing with its number if that is free: a job counts from where the shell was when
//! it started. Neighbours: `jobs.rs` hands it over, `session.rs` holds the shell's own.

use crate::areas::Areas;
use crate::estates::Blocks;
use crate::handles::NoRoom;
use crate::objects::Objects;
use crate::session::Session;

/// What a session holds that outlives it.
#[derive(Debug, Default)]
pub struct Belongings {
    /// Blocks of pages.
    pub handles: Blocks,
    /// Objects of slabs and pools.
    pub objects: Objects,
    /// Areas of vmalloc.
    pub areas: Areas,
}

/// How things that came from elsewhere are called now: first and last number, before and after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moved {
    /// The first and the last as they were.
    pub old: (u32, u32),
    /// The first and the last as they are.
    pub new: (u32, u32),
}

impl Belongings {
    /// The first number from `from` on that is in use.
    fn next_from(&self, from: u32) -> Option<u32> {
        let block = self.handles.next_from(from).map(|(number, _)| number);
        let object = self.objects.next_live(from as usize, |_| true).map(|number| number as u32);
        let area = self.areas.next_live(from).map(|area| area.number);
        [block, object, area].into_iter().flatten().min()
    }
}

impl Session {
    /// Takes over what a job left, with its numbers if they are free, else with new ones; what they were and are. That for
    /// which there is no room stays where it is.
    pub fn absorb(&mut self, left: &mut Belongings) -> (Option<Moved>, Result<(), NoRoom>) {
        let mut moved: Option<Moved> = None;
        let mut next = 1;
        let keeps_numbers = left.next_from(next).is_some_and(|first| first > self.handles.last());
        while let Some(old) = left.next_from(next) {
            next = old + 1;
            if keeps_numbers {
                self.handles.skip_to(old);
            }
            match self.absorb_one(left, old) {
                Ok(Some(new)) => {
                    let first = moved.map_or((old, new), |moved| (moved.old.0, moved.new.0));
                    moved = Some(Moved { old: (first.0, old), new: (first.1, new) });
                }
                // Somebody was faster: a block of a task that was killed.
                Ok(None) => {}
                Err(NoRoom) => return (moved, Err(NoRoom)),
            }
        }
        (moved, Ok(()))
    }

    /// Takes over what has number `old`; its number from now on, if it is still there.
    fn absorb_one(&mut self, left: &mut Belongings, old: u32) -> Result<Option<u32>, NoRoom> {
        if let Some(object) = left.objects.get(old as usize).filter(|object| object.is_live) {
            self.objects.reserve()?;
            self.reserve_number()?;
            let new = self.next_number();
            self.objects.push(new, object.addr, object.origin);
            left.objects.bury(old as usize);
            return Ok(Some(new));
        }
        if let Some(area) = left.areas.get(old).filter(|area| area.is_live) {
            self.areas.reserve()?;
            self.reserve_number()?;
            let new = self.next_number();
            self.areas.push(new, area.start, area.bytes);
            left.areas.bury(area.start);
            return Ok(Some(new));
        }
        self.handles.take_over(&left.handles, old)
    }
}

#[cfg(test)]
mod tests {
    use kernel::addr::{Order, Pfn, PhysAddr, VirtAddr};

    use super::*;
    use crate::handles::{Handles, Held};
    use crate::objects::Origin;

    fn held(n: u64) -> Held {
        Held { pfn: Pfn(n), order: Order::ZERO, pid: 1 }
    }

    /// A session whose first numbers, up to `last`, are blocks.
    fn session(last: u32) -> Session {
        let session = Session::default();
        (1..=last).for_each(|n| {
            session.handles.reserve().unwrap();
            session.handles.push(held(n.into()));
        });
        session
    }

    /// What a job left that began behind number `last`: `blocks` blocks.
    fn left(last: u32, blocks: u64) -> Belongings {
        let left = Belongings { handles: Blocks::new(Handles::behind(last)), ..Belongings::default() };
        (1..=blocks).for_each(|n| {
            left.handles.reserve().unwrap();
            left.handles.push(held(n));
        });
        left
    }

    #[test]
    fn blocks_keep_their_numbers_where_they_are_free() {
        let (mut session, mut job) = (session(1000), left(1000, 100));
        job.handles.take(1001).unwrap();
        job.handles.take(1050).unwrap();
        let moved = Moved { old: (1002, 1100), new: (1002, 1100) };
        assert_eq!(session.absorb(&mut job), (Some(moved), Ok(())));
        let found = [1002, 1050, 1100].map(|number| session.handles.get(number));
        assert_eq!(found, [Some(held(2)), None, Some(held(100))]);
        assert_eq!((session.handles.len(), job.handles.len()), (1098, 0));
        assert_eq!(session.absorb(&mut job), (None, Ok(())));
        let moved = Moved { old: (1001, 1001), new: (1101, 1101) };
        assert_eq!(session.absorb(&mut left(1000, 1)), (Some(moved), Ok(())));
    }

    #[test]
    fn objects_and_areas_come_along_in_their_order() {
        let (mut session, mut job) = (session(2), left(0, 1));
        job.areas.push(2, VirtAddr(0x2000), 4096);
        job.objects.push(3, PhysAddr(0x3000), Origin::Kmalloc);
        job.objects.push(4, PhysAddr(0x4000), Origin::Kmalloc);
        job.objects.bury(3);
        let moved = Moved { old: (1, 4), new: (3, 5) };
        assert_eq!(session.absorb(&mut job), (Some(moved), Ok(())));
        assert_eq!(
            (session.handles.get(3), session.areas.get(4).map(|area| area.start)),
            (Some(held(1)), Some(VirtAddr(0x2000)))
        );
        assert_eq!(session.objects.get(5).map(|object| (object.addr, object.is_live)), Some((PhysAddr(0x4000), true)));
        assert_eq!((job.next_from(1), session.absorb(&mut job)), (None, (None, Ok(()))));
    }
}
