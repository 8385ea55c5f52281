//! How bytes are stored: compressed where that makes them shorter, else as they are. The two lengths say which.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use zstd::bulk::{Compressor, Decompressor};

/// 5 % shorter than level 3 for the events of a supervisor. Level 19 takes many times as long for another 3 %.
const LEVEL: i32 = 9;

/// Number of decompression contexts that are kept for reuse. To create one takes longer than to decompress a page.
const CONTEXTS_MAX: usize = 2;

static CONTEXTS: Mutex<Vec<Decompressor<'static>>> = Mutex::new(Vec::new());

/// Compresses one part after the other.
pub(crate) struct Packer(Compressor<'static>);

impl Packer {
    pub(crate) fn new() -> io::Result<Self> {
        Compressor::new(LEVEL).map(Self)
    }

    /// The stored form of `raw`, which is never longer.
    pub(crate) fn pack(&mut self, raw: &[u8]) -> io::Result<Vec<u8>> {
        let packed = self.0.compress(raw)?;
        Ok(if packed.len() < raw.len() { packed } else { raw.to_vec() })
    }
}

/// The `raw_len` bytes that are stored as `stored`; `None` when they are not. The caller limits `raw_len`, which is allocated.
pub(crate) fn unpack(stored: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    match stored.len() {
        len if len == raw_len => Some(stored.to_vec()),
        len if len < raw_len => decompress(stored, raw_len).ok().filter(|raw| raw.len() == raw_len),
        _ => None,
    }
}

fn decompress(stored: &[u8], raw_len: usize) -> io::Result<Vec<u8>> {
    let contexts = || CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = contexts().pop();
    let mut context = kept.map_or_else(Decompressor::new, Ok)?;
    let raw = context.decompress(stored, raw_len)?;
    let mut contexts = contexts();
    if contexts.len() < CONTEXTS_MAX {
        contexts.push(context);
    }
    Ok(raw)
}
