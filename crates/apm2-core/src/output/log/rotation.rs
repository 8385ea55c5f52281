//! What becomes of files that were rotated away: compressed if that is wanted, removed when all together are too large.
//!
//! Every step can be cut short and made again: a compressed file has its name only once it is whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::SystemTime,
};

use apm2_model::spec::config::log::LogConfig;
use flate2::{Compression, write::GzEncoder};

use crate::output::log::files::{
    LogFiles, PART, Rotated, compressed_path, open_for_reading, parts, rotated, with_suffix,
};

/// Puts the rotated files of an instance in order. Those that are written to get as large as `rotate_bytes`.
///
/// # Errors
/// The first one; what can be done is done.
pub(crate) fn make_durable(files: &LogFiles, config: &LogConfig, rotate_bytes: u64) -> io::Result<()> {
    let remove_surplus = || remove_surplus(files, config.total_bytes_max, rotate_bytes);
    for (_, path) in files.all() {
        remove_parts(path)?;
    }
    // First, so that nothing is compressed that has to go.
    let removed = remove_surplus();
    let compressed = if config.compress { compress_all(files, &remove_surplus) } else { Ok(()) };
    removed.and(compressed)
}

fn compress_all(files: &LogFiles, remove_surplus: &impl Fn() -> io::Result<()>) -> io::Result<()> {
    for (_, path) in files.all() {
        for file in rotated(path)? {
            if !file.is_compressed {
                match compress(&file.path) {
                    // Removed meanwhile, or by somebody else.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    compressed => compressed?,
                }
                // More was written while that took its time.
                remove_surplus()?;
            } else if let Ok(true) = strip_compressed(&file.path).try_exists() {
                // A crash came between the renaming of the compressed file and the removal of the other.
                fs::remove_file(strip_compressed(&file.path))?;
            }
        }
    }
    Ok(())
}

/// Removes copies of `path` that were being compressed when a supervisor died. Nobody else makes one now: whoever puts the
/// files of an instance in order does so alone.
fn remove_parts(path: &Path) -> io::Result<()> {
    for part in parts(path)? {
        match fs::remove_file(part) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn strip_compressed(path: &Path) -> std::path::PathBuf {
    path.with_extension("")
}

fn compress(path: &Path) -> io::Result<()> {
    let part = with_suffix(path, PART);
    let source = open_for_reading(path)?;
    let modified = source.metadata()?.modified()?;
    let mut source = BufReader::new(source);
    // What an earlier attempt left, or whatever else has that name.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    let mut encoder = GzEncoder::new(target, Compression::fast());
    let written = io::copy(&mut source, &mut encoder).and_then(|_| encoder.finish()).and_then(|mut file| {
        file.flush()?;
        // It is as old as what it holds: the oldest is removed first.
        file.set_modified(modified)?;
        file.sync_all()
    });
    if let Err(error) = written {
        // Half a copy is of no use, and the disk may be full of them.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::rename(&part, compressed_path(path))?;
    // Before a power cut can take the one away, the other is there under its name.
    sync_dir_of(path)?;
    fs::remove_file(path)
}

fn sync_dir_of(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// Removes the oldest until what is left fits, together with the files that are written to, which may still grow.
fn remove_surplus(files: &LogFiles, total_bytes_max: u64, rotate_bytes: u64) -> io::Result<()> {
    let mut old: Vec<(SystemTime, u64, Rotated)> = Vec::new();
    let mut total: u64 = 0;
    for (_, path) in files.all() {
        total = total.saturating_add(fs::metadata(path).map_or(0, |metadata| metadata.len()).max(rotate_bytes));
        let mut rotated = rotated(path)?;
        let newest = rotated.pop();
        for file in rotated {
            let Ok(metadata) = fs::metadata(&file.path) else { continue };
            total = total.saturating_add(metadata.len());
            old.push((metadata.modified()?, metadata.len(), file));
        }
        // The newest stays: the next one is counted from it.
        let kept = newest.and_then(|newest| fs::metadata(newest.path).ok());
        total = total.saturating_add(kept.map_or(0, |metadata| metadata.len()));
    }
    old.sort_by_key(|(modified, _, file)| (*modified, file.generation));
    for (_, bytes, file) in old {
        if total <= total_bytes_max {
            break;
        }
        fs::remove_file(&file.path)?;
        total = total.saturating_sub(bytes);
    }
    Ok(())
}
