//! Every id of an image (disk signature, GUIDs, FAT serial, ext4 UUID and hash seed) is derived from one seed,
//! so that the same inputs give the same bytes and two different products never share an id.

use uuid::Uuid;

/// The text all ids of one image are derived from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Seed(pub String);

impl Seed {
    /// 32 bytes for `purpose`, for example `partition boot`.
    fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("skiff-image 2026 identity");
        hasher.update(self.0.as_bytes());
        hasher.update(&[0]);
        hasher.update(purpose.as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// A random-looking (version 4) UUID.
    pub fn uuid(&self, purpose: &str) -> Uuid {
        let bytes = self.derive(purpose);
        let mut half = [0; 16];
        half.copy_from_slice(&bytes[..16]);
        uuid::Builder::from_random_bytes(half).into_uuid()
    }

    /// A non-zero 32-bit id: an MBR disk signature or a FAT volume serial.
    pub fn id32(&self, purpose: &str) -> u32 {
        let bytes = self.derive(purpose);
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]).max(1)
    }

    /// Sixteen bytes, for a salt.
    pub fn bytes16(&self, purpose: &str) -> [u8; 16] {
        let bytes = self.derive(purpose);
        let mut half = [0; 16];
        half.copy_from_slice(&bytes[..16]);
        half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_ids_and_purposes_do_not_collide() {
        let seed = Seed("board x".into());
        assert_eq!(seed.uuid("disk"), Seed("board x".into()).uuid("disk"));
        assert_ne!(seed.uuid("disk"), seed.uuid("partition 1"));
        assert_ne!(seed.uuid("disk"), Seed("board y".into()).uuid("disk"));
        assert_eq!(seed.uuid("disk").get_version_num(), 4);
    }
}
