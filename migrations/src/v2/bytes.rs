//! Fields of known places in bytes, checksums, and the hash chain.

use sha2::{Digest as _, Sha256};

/// The bytes from `from` to `to`. Returns an empty slice when `bytes` is shorter.
pub(super) fn part(bytes: &[u8], from: usize, to: usize) -> &[u8] {
    bytes.get(from..to).unwrap_or_default()
}

/// Copies `N` bytes from offset `at`; zeros when `bytes` is shorter.
pub(super) fn array_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array_at(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array_at(bytes, at))
}

pub(super) fn usize_at(bytes: &[u8], at: usize) -> usize {
    u32_at(bytes, at) as usize
}

/// Whether the 4 bytes at `at` are the CRC-32C of all bytes before them.
pub(super) fn has_crc(bytes: &[u8], at: usize) -> bool {
    bytes.len() >= at + 4 && crc32c::crc32c(part(bytes, 0, at)) == u32_at(bytes, at)
}

/// The hash chain value before the first event.
pub(super) fn genesis(ledger: [u8; 16]) -> [u8; 32] {
    sha256(&[&[2], &ledger])
}

/// The hash of an event with its sequence number.
pub(super) fn leaf(seq: u64, event: &[u8]) -> [u8; 32] {
    sha256(&[&[0], &seq.to_le_bytes(), event])
}

/// The hash chain value after one more event.
pub(super) fn link(chain: [u8; 32], leaf: [u8; 32]) -> [u8; 32] {
    sha256(&[&[1], &chain, &leaf])
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}
