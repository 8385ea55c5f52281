//! Compresses rotated files, and removes the oldest ones when all files of an instance together are too large.
//!
//! Every step can be interrupted and repeated: a compressed file gets its final name only when it is complete.

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

/// Compresses and removes rotated files of an instance. Each current file is counted with `rotate_bytes`, its largest
/// size.
///
/// # Errors
/// The first error. Surplus files are removed in spite of an error.
pub(crate) fn tidy_up(files: &LogFiles, config: &LogConfig, rotate_bytes: u64) -> io::Result<()> {
    let remove_surplus = || remove_surplus(files, config.total_bytes_max, rotate_bytes);
    for (_, path) in files.all() {
        remove_parts(path)?;
    }
    // Surplus files are removed first, so that no file is compressed only to be removed.
    let removed = remove_surplus();
    let compressed = if config.compress { compress_all(files, &remove_surplus) } else { Ok(()) };
    removed.and(compressed)
}

fn compress_all(files: &LogFiles, remove_surplus: &impl Fn() -> io::Result<()>) -> io::Result<()> {
    for (_, path) in files.all() {
        for file in rotated(path)? {
            if !file.is_compressed {
                match compress(&file.path) {
                    // The file was removed in the meantime.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    compressed => compressed?,
                }
                // The process may have written more in the meantime.
                remove_surplus()?;
            } else if let Ok(true) = strip_compressed(&file.path).try_exists() {
                // A crash between the rename of the compressed file and the removal of the original left both files.
                fs::remove_file(strip_compressed(&file.path))?;
            }
        }
    }
    Ok(())
}

/// Removes incomplete compressed files of `path`, which a killed supervisor left. Such files are not in use: only one
/// thread at a time compresses the files of an instance.
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
    // The incomplete file is left from an earlier attempt.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    let mut encoder = GzEncoder::new(target, Compression::fast());
    let written = io::copy(&mut source, &mut encoder).and_then(|_| encoder.finish()).and_then(|mut file| {
        file.flush()?;
        // The compressed file gets the modification time of the original, because the oldest file is removed first.
        file.set_modified(modified)?;
        file.sync_all()
    });
    if let Err(error) = written {
        // The incomplete file is of no use, and the disk may be full.
        let _ = fs::remove_file(&part);
        return Err(error);
    }
    fs::rename(&part, compressed_path(path))?;
    // The new name is durable before the original is removed, so that a power failure cannot lose both.
    sync_dir_of(path)?;
    fs::remove_file(path)
}

fn sync_dir_of(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// Removes the oldest rotated files until the remaining files fit into the limit. The current files count with the size
/// that they may still reach.
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
        // The newest rotated file stays, because the next generation is counted from it.
        let newest = newest.and_then(|newest| fs::metadata(newest.path).ok());
        total = total.saturating_add(newest.map_or(0, |metadata| metadata.len()));
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
