//! Kafka's choice of a partition by key: the 32-bit MurmurHash2 of the Java client's `BuiltInPartitioner`, so that every client
//! that follows it puts a key into the same partition.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

/// MurmurHash2 of `key` with Kafka's seed.
#[must_use]
pub fn murmur2(key: &[u8]) -> u32 {
    let mut hash = SEED ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0, |k, &byte| k << 8 | u32::from(byte)).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        hash = (hash ^ tail.iter().rev().fold(0, |k, &byte| k << 8 | u32::from(byte))).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

/// The partition for `key` in a topic of `partitions` (at least 1) partitions.
#[must_use]
pub fn partition_for(key: &[u8], partitions: i32) -> i32 {
    (murmur2(key) & 0x7fff_ffff) as i32 % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_hashes_as_the_java_client() {
        // The vectors of `UtilsTest.testMurmur2` in Apache Kafka.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn partitions_are_never_negative() {
        assert_eq!(partition_for(b"foobar", 3), ((-790_332_482_i32) & 0x7fff_ffff) % 3);
        for n in 0..1000_u32 {
            assert!((0..7).contains(&partition_for(&n.to_be_bytes(), 7)));
        }
    }
}
