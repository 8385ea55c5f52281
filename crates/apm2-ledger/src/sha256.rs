//! SHA-256 of short messages. The padded message is built in one piece and compressed by one call, which takes two thirds of the
//! time of the streaming interface for messages of one to three blocks.

use sha2::{Digest as _, Sha256, block_api::compress256};

/// Size of a block in bytes.
const BLOCK_LEN: usize = 64;

/// The first byte of the padding.
const PADDING: u8 = 0x80;

/// Size of the shortest padding: its first byte, and the length of the message in bits.
const PADDING_LEN_MIN: usize = 1 + size_of::<u64>();

/// The initial hash value (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The hash of the message that consists of `parts`. The short way is taken for a message that fits in `BLOCKS` blocks.
pub(crate) fn sha256<const BLOCKS: usize>(parts: [&[u8]; 3]) -> [u8; 32] {
    let streamed = || parts.iter().fold(Sha256::new(), Sha256::chain_update).finalize().into();
    short::<BLOCKS>(parts).unwrap_or_else(streamed)
}

/// The hash of a message that fits, with its padding, in `BLOCKS` blocks; `None` for a longer one.
fn short<const BLOCKS: usize>(parts: [&[u8]; 3]) -> Option<[u8; 32]> {
    let mut blocks = [[0; BLOCK_LEN]; BLOCKS];
    let bytes = blocks.as_flattened_mut();
    let mut len = 0;
    for part in parts {
        bytes.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    *bytes.get_mut(len)? = PADDING;
    let count = (len + PADDING_LEN_MIN).div_ceil(BLOCK_LEN);
    *bytes.get_mut(..count * BLOCK_LEN)?.last_chunk_mut()? = (len as u64 * 8).to_be_bytes();
    let mut state = INITIAL;
    compress256(&mut state, blocks.get(..count)?);
    let mut hash = [0; 32];
    for (bytes, word) in hash.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_length_have_the_hash_of_the_streaming_interface() {
        let message: Vec<u8> = (0..=u8::MAX).cycle().take(6 * BLOCK_LEN).collect();
        for len in 0..message.len() {
            let (first, rest) = message[..len].split_at(len / 3);
            let (second, third) = rest.split_at(len / 5);
            let expected: [u8; 32] = Sha256::digest(&message[..len]).into();
            assert_eq!(sha256::<2>([first, second, third]), expected, "{len} bytes");
            assert_eq!(sha256::<4>([first, second, third]), expected, "{len} bytes");
            assert_eq!(short::<4>([first, second, third]).is_some(), len + PADDING_LEN_MIN <= 4 * BLOCK_LEN);
        }
    }
}
