//! Waits until files change: with inotify(7), and by polling where inotify does not report all changes.
//!
//! A wait returns when something *may* have changed; the caller examines the files after each wait. The watches are on
//! directories instead of files, so that files can be created, rotated, removed and created again. The directory may
//! also be missing at first.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    fs::{
        inotify::{self, CreateFlags, ReadFlags, WatchFlags},
        statfs,
    },
    io::Errno,
};

/// Longest wait if inotify may miss changes. Reasons: the user's limit on inotify instances or watches is reached, the
/// kernel is old, or other machines write to the file system.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Longest wait if inotify reports all changes, as a safeguard.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Shortest time between the ends of two waits. Limits the load if files change all the time.
const WAIT_INTERVAL_MIN: Duration = Duration::from_millis(5);

/// Size of the buffer for events, in bytes.
const EVENTS_BYTES: usize = 4096;

/// Largest number of attempts to watch a directory that is created at the same time.
const ATTACH_ATTEMPTS_MAX: u32 = 8;

/// The first Linux version on which splice(2) generates inotify events.
const SPLICE_NOTIFIES_SINCE: (u32, u32) = (6, 6);

/// The events to watch for: changes in the directory, and of the directory itself.
const EVENTS: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CREATE)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// The events that report that the directory itself is gone.
const GONE: ReadFlags =
    ReadFlags::DELETE_SELF.union(ReadFlags::MOVE_SELF).union(ReadFlags::IGNORED).union(ReadFlags::UNMOUNT);

/// File systems that other machines may write to without inotify events (`f_type` of statfs(2)): NFS, SMB, CIFS, SMB2, FUSE,
/// 9P, AFS, Ceph.
const REMOTE: [u32; 8] = [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x6573_5546, 0x0102_1997, 0x5346_414F, 0x00C3_6400];

/// What is watched: a directory, or the files in it whose names begin with `name`.
#[derive(Debug)]
struct WatchedFiles {
    dir: PathBuf,
    /// Prefix of the file names; `None` for all files.
    name: Option<OsString>,
    watched: Option<DirWatch>,
}

/// An inotify watch on a directory.
#[derive(Debug)]
struct DirWatch {
    descriptor: i32,
    /// The name of the next missing path component, if an ancestor is watched because the directory is missing.
    missing: Option<OsString>,
}

/// Waits for changes of a set of files.
#[derive(Debug)]
pub struct FileWatch {
    /// The inotify instance; `None` if it could not be created.
    inotify: Option<OwnedFd>,
    /// Whether inotify may miss changes.
    is_partial: bool,
    targets: Vec<WatchedFiles>,
    waker: Waker,
    /// When the last wait ended.
    last: Option<Instant>,
}

/// Ends the current or the next wait of a [`FileWatch`]. Clones share their state.
#[derive(Debug, Clone)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Ends the current or the next wait.
    pub fn wake(&self) {
        // Writing to an eventfd(2) fails only if its counter is at the maximum. The wait ends in this case, too.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }
}

impl FileWatch {
    /// A new watch, which watches no files yet.
    ///
    /// # Errors
    /// No file descriptor is available.
    pub fn new() -> io::Result<Self> {
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .inspect_err(|error| tracing::debug!(%error, "inotify is not available; files are polled"))
            .ok();
        let is_partial = inotify.is_none() || !splice_notifies();
        Ok(Self { inotify, is_partial, targets: Vec::new(), waker: Waker(Arc::new(waker)), last: None })
    }

    /// Watches the file at `path`, and the files whose names begin with its name (rotated files have such names).
    pub fn add_file(&mut self, path: &Path) {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.add(dir, path.file_name());
    }

    /// Watches all files in a directory.
    pub fn add_dir(&mut self, dir: &Path) {
        self.add(dir, None);
    }

    fn add(&mut self, dir: &Path, name: Option<&OsStr>) {
        self.targets.push(WatchedFiles { dir: dir.to_owned(), name: name.map(OsStr::to_owned), watched: None });
        self.attach_all();
    }

    /// A handle that ends a wait from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits until files may have changed, the waker was used, or `limit` has elapsed.
    pub fn wait(&mut self, limit: Duration) {
        let limit = limit.min(if self.is_partial { POLL_INTERVAL } else { WAIT_MAX });
        if let Some(last) = self.last {
            thread::sleep(WAIT_INTERVAL_MIN.saturating_sub(last.elapsed()).min(limit));
        }
        let began = Instant::now();
        while let Some(left) = limit.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) {
            match self.poll(left) {
                Ok((false, false)) => {}
                Ok((woken, changed)) => {
                    // Events about other files do not end the wait.
                    let is_change = changed && self.take_events();
                    if woken || is_change {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                // If poll(2) fails, the files are polled at intervals.
                Err(_) => thread::sleep(left.min(POLL_INTERVAL)),
            }
        }
        self.attach_all();
        self.last = Some(Instant::now());
    }

    /// Returns whether the waker was used, and whether inotify events are waiting.
    fn poll(&self, limit: Duration) -> rustix::io::Result<(bool, bool)> {
        let limit = Timespec::try_from(limit).map_err(|_| Errno::INVAL)?;
        let mut waiting = vec![PollFd::new(&*self.waker.0, PollFlags::IN)];
        waiting.extend(self.inotify.as_ref().map(|inotify| PollFd::new(inotify, PollFlags::IN)));
        poll(&mut waiting, Some(&limit))?;
        let is_ready = |at: usize| waiting.get(at).is_some_and(|polled| !polled.revents().is_empty());
        let (woken, changed) = (is_ready(0), is_ready(1));
        if woken {
            let _ = rustix::io::read(&*self.waker.0, &mut [0; 8]);
        }
        Ok((woken, changed))
    }

    /// Reads the inotify events. Returns whether one of them is about a watched file.
    fn take_events(&mut self) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let mut buffer = [MaybeUninit::uninit(); EVENTS_BYTES];
        let mut events = inotify::Reader::new(inotify, &mut buffer);
        let mut is_change = false;
        loop {
            let Ok(event) = events.next() else { return is_change };
            let (descriptor, flags) = (event.wd(), event.events());
            let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
            is_change |= flags.contains(ReadFlags::QUEUE_OVERFLOW);
            for target in &mut self.targets {
                is_change |= target.has_changed(descriptor, flags, name);
            }
            if events.is_buffer_empty() {
                return is_change;
            }
        }
    }

    /// Adds inotify watches for directories that do not have one yet.
    fn attach_all(&mut self) {
        let Some(inotify) = &self.inotify else { return };
        for target in &mut self.targets {
            if target.watched.as_ref().is_some_and(|watched| watched.missing.is_none()) {
                continue;
            }
            match target.attach(inotify) {
                Ok(is_remote) => self.is_partial |= is_remote,
                Err(error) => {
                    tracing::debug!(%error, dir = %target.dir.display(), "a directory cannot be watched and is polled");
                    self.is_partial = true;
                }
            }
        }
    }
}

impl WatchedFiles {
    /// Whether an event is about the watched files. Removes the watch if the directory is gone.
    fn has_changed(&mut self, descriptor: i32, flags: ReadFlags, name: Option<&OsStr>) -> bool {
        let Some(watched) = self.watched.as_ref().filter(|watched| watched.descriptor == descriptor) else {
            return false;
        };
        if flags.intersects(GONE) {
            self.watched = None;
            return true;
        }
        match (&watched.missing, &self.name, name) {
            (Some(missing), _, Some(name)) => name == missing,
            (None, Some(wanted), Some(name)) => name.as_bytes().starts_with(wanted.as_bytes()),
            (None, None, _) | (_, _, None) => true,
        }
    }

    /// Watches the directory, or its nearest existing ancestor. Returns whether inotify may miss changes in it.
    fn attach(&mut self, inotify: &OwnedFd) -> rustix::io::Result<bool> {
        for _ in 0..ATTACH_ATTEMPTS_MAX {
            let mut missing: Option<PathBuf> = None;
            let mut dir = self.dir.as_path();
            let descriptor = loop {
                match (inotify::add_watch(inotify, dir, EVENTS), dir.parent()) {
                    (Err(Errno::NOENT), Some(parent)) => {
                        missing = Some(dir.to_owned());
                        dir = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
                    }
                    (descriptor, _) => break descriptor?,
                }
            };
            let name = missing.as_deref().and_then(Path::file_name).map(OsStr::to_owned);
            self.watched = Some(DirWatch { descriptor, missing: name });
            // The directory may have been created before its parent was watched. There is no event in this case.
            if missing.is_none_or(|missing| !missing.is_dir()) {
                return Ok(is_remote(dir));
            }
        }
        Err(Errno::BUSY)
    }
}

/// Whether other machines may write to the file system that contains the directory.
fn is_remote(dir: &Path) -> bool {
    statfs(dir).is_ok_and(|stat| u32::try_from(stat.f_type).is_ok_and(|kind| REMOTE.contains(&kind)))
}

/// Whether splice(2) generates inotify events on this kernel.
fn splice_notifies() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release_of(&release).is_some_and(|release| release >= SPLICE_NOTIFIES_SINCE)
}

/// The first two numbers of a kernel release such as `6.18.5-generic`.
fn release_of(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::fs::FileExt as _};

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Waits once and returns the elapsed time.
    fn waited(watch: &mut FileWatch, limit: Duration) -> Duration {
        let began = Instant::now();
        watch.wait(limit);
        began.elapsed()
    }

    fn watching(path: &Path) -> FileWatch {
        let mut watch = FileWatch::new().unwrap();
        watch.is_partial = false;
        watch.add_file(path);
        watch
    }

    #[test]
    fn a_write_ends_the_wait_and_the_writes_of_others_do_not() {
        let dir = tempfile::TempDir::new().unwrap();
        let (path, other) = (dir.path().join("a.log"), fs::File::create(dir.path().join("b.log")).unwrap());
        let mut file = fs::File::create(&path).unwrap();
        let mut watch = watching(&path);
        other.write_all_at(b"x", 0).unwrap();
        let short = Duration::from_millis(100);
        assert!(waited(&mut watch, short) >= short);
        file.write_all(b"x").unwrap();
        assert!(waited(&mut watch, LONG) < LONG);
        // The watched file is truncated, rotated and removed.
        file.set_len(0).unwrap();
        assert!(waited(&mut watch, LONG) < LONG);
        fs::rename(&path, dir.path().join("a.log.00000001")).unwrap();
        assert!(waited(&mut watch, LONG) < LONG);
        fs::remove_file(dir.path().join("a.log.00000001")).unwrap();
        assert!(waited(&mut watch, LONG) < LONG);
    }

    #[test]
    fn a_directory_may_be_created_and_removed_repeatedly() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("x/y/a.log");
        let mut watch = watching(&path);
        for _ in 0..2 {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut was_seen = false;
            while !was_seen {
                assert!(waited(&mut watch, LONG) < LONG);
                was_seen = watch.targets[0].watched.as_ref().unwrap().missing.is_none();
            }
            fs::write(&path, "x").unwrap();
            assert!(waited(&mut watch, LONG) < LONG);
            fs::remove_dir_all(dir.path().join("x")).unwrap();
            while watch.targets[0].watched.as_ref().unwrap().missing.is_none() {
                assert!(waited(&mut watch, LONG) < LONG);
            }
        }
    }

    #[test]
    fn the_waker_ends_the_next_wait() {
        let mut watch = FileWatch::new().unwrap();
        watch.waker().wake();
        assert!(waited(&mut watch, LONG) < LONG);
    }

    #[test]
    fn without_inotify_files_are_polled() {
        let mut watch = FileWatch { inotify: None, is_partial: true, ..FileWatch::new().unwrap() };
        watch.add_file(Path::new("/does/not/matter"));
        assert!(waited(&mut watch, LONG) < LONG);
        assert!(waited(&mut watch, LONG) >= POLL_INTERVAL);
    }

    #[test]
    fn a_release_is_read() {
        assert_eq!(release_of("6.18.5-generic\n"), Some((6, 18)));
        assert_eq!(release_of("5.4.0"), Some((5, 4)));
        assert_eq!(release_of(""), None);
    }
}
