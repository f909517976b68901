//! Which shard of the index a project belongs to: the same for every service that ever writes to a store.

use tidings_protocol::project::Project;

use crate::INDEX_SHARDS;

/// The shard of a project: CRC16 (XMODEM, as Redis Cluster hashes keys) of its name, modulo [`INDEX_SHARDS`].
pub fn shard_of(project: &Project) -> u16 {
    crc16(project.as_str().as_bytes()) % INDEX_SHARDS
}

pub(crate) fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_those_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31c3, "the check value of CRC-16/XMODEM");
        assert_eq!(shard_of(&"demo".parse().expect("a name")), crc16(b"demo") % 64);
    }
}
