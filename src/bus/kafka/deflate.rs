//! Compression of record batches, in pure Rust.
//!
//! A batch of 16 KiB of telemetry shrinks to a tenth or less, and takes on one core (`benches/kafka_encode.rs`): snappy 2 µs, lz4
//! 7 µs, zstd 50 µs, gzip 70 µs. It is done when a batch is full, on the caller's thread: a large `batch.size` makes a long pause.

use super::inflate::Codec;
use bytes::{BufMut, BytesMut};
use std::io::{self, Write};

/// The first bytes of a stream of the Java client's snappy library: magic, version, lowest version that can read it.
const XERIAL_HEADER: &[u8; 16] = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
/// Its block size.
const XERIAL_BLOCK: usize = 32 << 10;

/// Appends `from`, compressed, to `into`.
///
/// # Errors
/// The codec's; none is known for these inputs.
pub fn deflate(codec: Codec, from: &[u8], into: &mut BytesMut) -> io::Result<()> {
    match codec {
        Codec::None => into.put_slice(from),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(into.writer(), flate2::Compression::fast());
            encoder.write_all(from)?;
            encoder.finish()?;
        }
        Codec::Snappy => snappy(from, into)?,
        Codec::Lz4 => {
            // Kafka's reader knows neither blocks that refer to each other nor a content size.
            let frame = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max64KB);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, into.writer());
            encoder.write_all(from)?;
            encoder.finish().map_err(io::Error::other)?;
        }
        Codec::Zstd => ruzstd::encoding::compress(from, into.writer(), ruzstd::encoding::CompressionLevel::Fastest),
    }
    Ok(())
}

fn snappy(from: &[u8], into: &mut BytesMut) -> io::Result<()> {
    let mut encoder = snap::raw::Encoder::new();
    into.put_slice(XERIAL_HEADER);
    for block in from.chunks(XERIAL_BLOCK) {
        let place = into.len();
        into.put_bytes(0, 4 + snap::raw::max_compress_len(block.len()));
        let length = encoder.compress(block, &mut into[place + 4..])?;
        into[place..place + 4].copy_from_slice(&(length as u32).to_be_bytes());
        into.truncate(place + 4 + length);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::sample::inflated;
    use super::*;

    #[test]
    fn what_is_compressed_comes_back_and_is_appended_only() {
        let data: Vec<u8> = (0..100_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            for data in [&data[..], &data[..1], &[]] {
                let mut into = BytesMut::from(&b"before"[..]);
                deflate(codec, data, &mut into).unwrap();
                assert!(into.starts_with(b"before"));
                let back = inflated(codec, &into[6..], 1 << 20).unwrap();
                assert!(back == data, "{codec:?}, {} bytes", data.len());
            }
        }
    }

    #[test]
    fn the_numbers_of_codecs_are_those_of_attributes() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            assert_eq!(Codec::of_attributes(codec as i16), Some(codec));
        }
    }
}
