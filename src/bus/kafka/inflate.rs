//! Decompression of record batches, piece by piece: a batch may be far larger than what of it lies in memory.

use bytes::{Buf as _, Bytes};
use std::fmt;
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

/// Bytes that are decompressed at a time, at most.
const PIECE_BYTES: u64 = 64 << 10;

/// The records of a batch, while they are decompressed.
pub struct Inflater(Box<dyn Read + Send>);

impl Inflater {
    /// Begins with what `from` holds. What the codec itself keeps in memory is no larger than `bytes_max`.
    ///
    /// # Errors
    /// It does not begin as the codec's bytes do, or asks for more memory.
    pub fn new(codec: Codec, from: Bytes, bytes_max: usize) -> io::Result<Self> {
        Ok(Self(match codec {
            Codec::None => Box::new(from.reader()),
            Codec::Gzip => Box::new(flate2::read::MultiGzDecoder::new(from.reader())),
            Codec::Snappy => Box::new(Snappy::new(from, bytes_max)),
            Codec::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(from.reader())),
            Codec::Zstd => {
                let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(from.reader(), bytes_max as u64);
                Box::new(decoder.map_err(io::Error::other)?)
            }
        }))
    }

    /// Appends the next piece to `into`; false at the end.
    ///
    /// # Errors
    /// The bytes are not what the codec writes, or ask for more memory than they may.
    pub fn append_to(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        Ok(self.0.by_ref().take(PIECE_BYTES).read_to_end(into)? > 0)
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

/// What the Java client puts before its snappy blocks, followed by two 32-bit version numbers; then each block has its length.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;

/// Snappy has no stream of its own: a block is decompressed as a whole. What librdkafka writes is a single one.
struct Snappy {
    rest: Bytes,
    is_framed: bool,
    block: Bytes,
    bytes_max: usize,
}

impl Snappy {
    fn new(mut from: Bytes, bytes_max: usize) -> Self {
        let is_framed = from.starts_with(XERIAL_MAGIC);
        if is_framed {
            from.advance(from.len().min(XERIAL_HEADER_BYTES));
        }
        Self { rest: from, is_framed, block: Bytes::new(), bytes_max }
    }

    fn next_block(&mut self) -> io::Result<Bytes> {
        let length =
            if self.is_framed { self.rest.try_get_u32().map_err(io::Error::other)? as usize } else { self.rest.len() };
        if length > self.rest.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let block = self.rest.split_to(length);
        let bytes = snap::raw::decompress_len(&block).map_err(io::Error::other)?;
        if bytes > self.bytes_max {
            let text = format!("a block of {bytes} bytes when decompressed, expected at most {}", self.bytes_max);
            return Err(io::Error::other(text));
        }
        snap::raw::Decoder::new().decompress_vec(&block).map(Bytes::from).map_err(io::Error::other)
    }
}

impl Read for Snappy {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.block.is_empty() && !self.rest.is_empty() {
            self.block = self.next_block()?;
        }
        let length = into.len().min(self.block.len());
        self.block.split_to(length).copy_to_slice(&mut into[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{gzip, inflated, lz4, snappy_raw, snappy_xerial, zstd};
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
        for (name, codec, compress) in CODECS {
            assert!(inflated(codec, &compress(&data), BYTES_MAX).unwrap() == data, "{name}");
        }
    }

    #[test]
    fn what_is_compressed_may_be_larger_than_the_memory_it_takes_unless_it_is_a_single_block() {
        let data = vec![7_u8; 4 * BYTES_MAX];
        for (name, codec, compress) in CODECS {
            let mut inflater = Inflater::new(codec, compress(&data).into(), BYTES_MAX).unwrap();
            let (mut piece, mut bytes) = (Vec::new(), 0);
            let end = loop {
                match inflater.append_to(&mut piece) {
                    Ok(true) => {}
                    end => break end.map(|_| bytes),
                }
                assert!(piece.len() <= PIECE_BYTES as usize, "{name}: {} bytes at once", piece.len());
                bytes += piece.len();
                piece.clear();
            };
            match end {
                Err(refused) => {
                    assert!(name == "snappy" && refused.to_string().contains("expected at most"), "{name}: {refused}");
                }
                Ok(bytes) => assert_eq!(bytes, data.len(), "{name}"),
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, codec in 0_i16..5) {
            let _ = inflated(Codec::of_attributes(codec).unwrap(), &bytes, 10_000);
        }
    }
}
