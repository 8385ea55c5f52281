//! Reserved descriptor numbers for the descriptors that a child needs.
//!
//! fork(2) copies the table of all descriptors, and execve(2) closes them one by one. A supervisor has several
//! descriptors for each process, so each start would take longer the more processes there are. A child whose descriptors
//! have low numbers copies only the part of the table with these numbers (`CLOSE_RANGE_UNSHARE` of close_range(2)).

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
    sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::{DupFlags, dup3, fcntl_dupfd_cloexec, retry_on_intr},
    process::{Resource, getrlimit},
};

/// Number of children that can use reserved numbers at the same time.
const SLOTS: usize = 16;

/// How long a start waits for reserved numbers that other children use. A child that gets none copies the whole table. The
/// wait is bounded, because an execve(2) from a file system that hangs keeps its numbers.
const SLOT_WAIT: Duration = Duration::from_millis(50);

/// Number of descriptors of a child: standard input, output and error output, and two of the exec barrier.
const SLOT_FDS: usize = 5;

/// The limit on open files from which numbers are reserved. With a lower limit, all numbers are left to other uses.
const LIMIT_MIN: u64 = 1024;

/// The lowest number that is reserved: the first one after stdin, stdout and stderr.
const NUMBER_MIN: RawFd = 3;

/// The reserved numbers that no child uses.
struct Reserved {
    /// Keeps the numbers of a free slot in use.
    null: OwnedFd,
    free: Mutex<Vec<[OwnedFd; SLOT_FDS]>>,
    /// Notified when numbers become free.
    freed: Condvar,
    /// The first number after all reserved ones.
    end: u32,
}

static RESERVED: OnceLock<Option<Reserved>> = OnceLock::new();

/// Reserves the numbers. To be called early, while low numbers are unused; the first spawn calls it otherwise.
pub(crate) fn reserve() {
    let _ = reserved();
}

fn reserved() -> Option<&'static Reserved> {
    RESERVED
        .get_or_init(|| {
            Reserved::new().inspect_err(|error| tracing::debug!(%error, "no descriptor numbers are reserved")).ok()
        })
        .as_ref()
}

impl Reserved {
    fn new() -> io::Result<Self> {
        if getrlimit(Resource::Nofile).current.is_some_and(|limit| limit < LIMIT_MIN) {
            return Err(io::Error::other("the limit on open files is low"));
        }
        let null = open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let mut free = Vec::with_capacity(SLOTS);
        for _ in 0..SLOTS {
            let number = || fcntl_dupfd_cloexec(&null, NUMBER_MIN);
            free.push([number()?, number()?, number()?, number()?, number()?]);
        }
        let last = free.iter().flatten().map(OwnedFd::as_raw_fd).max().unwrap_or(NUMBER_MIN);
        Ok(Self { null, free: Mutex::new(free), freed: Condvar::new(), end: last.unsigned_abs().saturating_add(1) })
    }

    fn free(&self) -> MutexGuard<'_, Vec<[OwnedFd; SLOT_FDS]>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes free numbers. Waits for at most [`SLOT_WAIT`].
    fn take(&self) -> Option<[OwnedFd; SLOT_FDS]> {
        let waited = self.freed.wait_timeout_while(self.free(), SLOT_WAIT, |free| free.is_empty());
        waited.unwrap_or_else(PoisonError::into_inner).0.pop()
    }

    fn put_back(&self, fds: [OwnedFd; SLOT_FDS]) {
        self.free().push(fds);
        self.freed.notify_one();
    }
}

/// Reserved numbers that are used for one child. They are free again when this value is dropped.
pub(super) struct SpawnSlot {
    reserved: &'static Reserved,
    fds: Option<[OwnedFd; SLOT_FDS]>,
}

impl SpawnSlot {
    /// Duplicates `descriptors` to reserved numbers, in this order. `None` if all stay in use for [`SLOT_WAIT`], or if none
    /// could be reserved.
    pub(super) fn with(descriptors: &[BorrowedFd<'_>]) -> Option<Self> {
        let reserved = reserved()?;
        let fds = reserved.take()?;
        let mut slot = Self { reserved, fds: Some(fds) };
        let numbers = slot.fds.iter_mut().flatten();
        let is_duplicated = numbers.zip(descriptors).all(|(number, descriptor)| duplicated(*descriptor, number));
        is_duplicated.then_some(slot)
    }

    /// The duplicate of the descriptor at this index, which is at most 4.
    pub(super) fn fd(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.fds.as_ref()?.get(index).map(OwnedFd::as_fd)
    }

    /// The first number after all reserved ones. A child needs no descriptor from this number on.
    pub(super) const fn end(&self) -> u32 {
        self.reserved.end
    }
}

impl Drop for SpawnSlot {
    fn drop(&mut self) {
        let Some(mut fds) = self.fds.take() else { return };
        // The duplicates are closed. Otherwise, a pipe of the child would have a writer for ever.
        if fds.iter_mut().all(|number| duplicated(self.reserved.null.as_fd(), number)) {
            self.reserved.put_back(fds);
        }
    }
}

fn duplicated(descriptor: BorrowedFd<'_>, number: &mut OwnedFd) -> bool {
    retry_on_intr(|| dup3(descriptor, number, DupFlags::CLOEXEC)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, time::Instant};

    use super::*;

    #[test]
    fn a_slot_is_free_again_and_keeps_no_duplicate() {
        let (mut reader, writer) = io::pipe().unwrap();
        let slot = SpawnSlot::with(&[writer.as_fd()]);
        if let Some(slot) = &slot {
            assert!(slot.fd(0).unwrap().as_raw_fd().unsigned_abs() < slot.end());
            assert!(slot.fd(SLOT_FDS).is_none());
        }
        drop((slot, writer));
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "no writer is left");
    }

    #[test]
    fn a_start_without_a_free_slot_waits_for_a_bounded_time() {
        let Ok(reserved) = Reserved::new() else { return };
        let mut taken: Vec<_> = (0..SLOTS).map(|_| reserved.take().unwrap()).collect();
        let began = Instant::now();
        assert!(reserved.take().is_none());
        assert!(began.elapsed() >= SLOT_WAIT);
        reserved.put_back(taken.pop().unwrap());
        assert!(reserved.take().is_some());
    }
}
