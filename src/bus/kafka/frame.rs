//! Frames: a length of four bytes, then so many bytes.

use super::error::Failure;
use bytes::{Buf, Bytes, BytesMut};

/// Cuts a stream of bytes into frames. Memory grows with what has arrived, never with what a length promises.
#[derive(Debug)]
pub struct Frames {
    buffer: BytesMut,
    bytes_max: usize,
}

impl Frames {
    /// Takes frames of up to `bytes_max`.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), bytes_max }
    }

    /// Appends bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, without its length.
    ///
    /// # Errors
    /// A length that is negative or beyond the limit, as soon as it is read.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(head) = self.buffer.first_chunk() else { return Ok(None) };
        let bytes = i32::from_be_bytes(*head);
        match usize::try_from(bytes) {
            Ok(length) if length <= self.bytes_max => {
                if self.buffer.len() - 4 < length {
                    return Ok(None);
                }
                self.buffer.advance(4);
                Ok(Some(self.buffer.split_to(length).freeze()))
            }
            _ => Err(Failure::FrameLength { bytes, limit: self.bytes_max }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_whatever_the_pieces() {
        let stream = [&[0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0], &[0, 0, 0, 1], b"d"].concat();
        for piece in 1..=stream.len() {
            let mut frames = Frames::new(3);
            let mut got = Vec::new();
            for bytes in stream.chunks(piece) {
                frames.push(bytes);
                while let Some(frame) = frames.next_frame().unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, [&b"abc"[..], b"", b"d"], "in pieces of {piece}");
        }
    }

    #[test]
    fn a_length_beyond_the_limit_or_below_zero_is_refused_at_once() {
        for bytes in [4, i32::MAX, -1, i32::MIN] {
            let mut frames = Frames::new(3);
            frames.push(&bytes.to_be_bytes());
            assert_eq!(frames.next_frame(), Err(Failure::FrameLength { bytes, limit: 3 }));
        }
    }
}
