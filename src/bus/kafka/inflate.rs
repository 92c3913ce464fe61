//! Decompression of record batches into a buffer that is used again, never larger than it was told.

use std::io::{self, Read};

/// How a batch is compressed: bits 0 to 2 of its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// gzip, maybe of several members.
    Gzip,
    /// snappy: raw as librdkafka writes it, or in the "xerial" framing of the Java client.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Codec {
    /// The codec that a batch's attributes name; `None` for a number that the protocol does not define.
    #[must_use]
    pub const fn of_attributes(attributes: i16) -> Option<Self> {
        match attributes & 7 {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Why a batch could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// It would take more than the limit: a decompression bomb, or a limit that is too small.
    #[error("it takes more than {bytes_max} bytes when decompressed")]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The bytes are not what the codec writes.
    #[error("{0}")]
    Malformed(#[from] io::Error),
}

/// Decompresses `from` into `into`, which is emptied first and never holds more than `bytes_max` bytes.
///
/// # Errors
/// [`InflateError`]; what `into` holds then is of no use.
pub fn inflate(codec: Codec, from: &[u8], into: &mut Vec<u8>, bytes_max: usize) -> Result<(), InflateError> {
    into.clear();
    match codec {
        Codec::None => {
            check_size(from.len(), bytes_max)?;
            into.extend_from_slice(from);
            Ok(())
        }
        Codec::Gzip => read_all(flate2::read::MultiGzDecoder::new(from), into, bytes_max),
        Codec::Snappy => inflate_snappy(from, into, bytes_max),
        Codec::Lz4 => read_all(lz4_flex::frame::FrameDecoder::new(from), into, bytes_max),
        Codec::Zstd => {
            let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(from, bytes_max as u64)
                .map_err(io::Error::other)?;
            read_all(decoder, into, bytes_max)
        }
    }
}

fn check_size(size: usize, bytes_max: usize) -> Result<(), InflateError> {
    if size > bytes_max { Err(InflateError::TooLarge { bytes_max }) } else { Ok(()) }
}

fn read_all(decoder: impl Read, into: &mut Vec<u8>, bytes_max: usize) -> Result<(), InflateError> {
    // One byte more than the limit tells "exactly full" from "too large".
    decoder.take(bytes_max as u64 + 1).read_to_end(into)?;
    check_size(into.len(), bytes_max)
}

/// What the Java client puts before its snappy blocks, followed by two 32-bit version numbers; then each block has its length.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;

fn inflate_snappy(from: &[u8], into: &mut Vec<u8>, bytes_max: usize) -> Result<(), InflateError> {
    if !from.starts_with(XERIAL_MAGIC) {
        return append_snappy_block(from, into, bytes_max);
    }
    let mut rest = from.get(XERIAL_HEADER_BYTES..).ok_or(io::ErrorKind::UnexpectedEof).map_err(io::Error::from)?;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = u32::from_be_bytes(*length) as usize;
        let (block, next) = after.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof).map_err(io::Error::from)?;
        append_snappy_block(block, into, bytes_max)?;
        rest = next;
    }
    Ok(())
}

fn append_snappy_block(block: &[u8], into: &mut Vec<u8>, bytes_max: usize) -> Result<(), InflateError> {
    let start = into.len();
    let size = snap::raw::decompress_len(block).map_err(io::Error::other)?;
    check_size(start.saturating_add(size), bytes_max)?;
    into.resize(start + size, 0);
    snap::raw::Decoder::new().decompress(block, &mut into[start..]).map_err(io::Error::other)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{gzip, lz4, snappy_raw, snappy_xerial, zstd};
    use super::*;

    const BYTES_MAX: usize = 1 << 20;

    type Compress = fn(&[u8]) -> Vec<u8>;
    const CODECS: [(&str, Codec, Compress); 6] = [
        ("none", Codec::None, <[u8]>::to_vec),
        ("gzip", Codec::Gzip, gzip),
        ("snappy", Codec::Snappy, snappy_raw),
        ("snappy xerial", Codec::Snappy, snappy_xerial),
        ("lz4", Codec::Lz4, lz4),
        ("zstd", Codec::Zstd, zstd),
    ];

    #[test]
    fn every_codec_gives_back_what_was_compressed() {
        let data: Vec<u8> = (0..50_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        let mut into = vec![1, 2, 3];
        for (name, codec, compress) in CODECS {
            inflate(codec, &compress(&data), &mut into, BYTES_MAX).unwrap();
            assert!(into == data, "{name}");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit_and_a_batch_of_exactly_the_limit_is_not() {
        let bomb = vec![0_u8; BYTES_MAX + 1];
        let mut into = Vec::new();
        for (name, codec, compress) in CODECS {
            let refused = inflate(codec, &compress(&bomb), &mut into, BYTES_MAX);
            assert!(matches!(refused, Err(InflateError::TooLarge { .. })), "{name}: {refused:?}");
            assert!(into.capacity() <= 4 * BYTES_MAX, "{name}: {}", into.capacity());
            inflate(codec, &compress(&bomb[1..]), &mut into, BYTES_MAX).unwrap();
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic_or_grow_the_buffer_beyond_its_bound(bytes: Vec<u8>, codec in 0_i16..5) {
            let mut into = Vec::new();
            let _ = inflate(Codec::of_attributes(codec).unwrap(), &bytes, &mut into, 10_000);
            proptest::prop_assert!(into.len() <= 10_001);
        }
    }
}
