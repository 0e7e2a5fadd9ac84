//! Four bytes that keep a CRC-32C unchanged.

pub(super) use super::super::checksum::crc32c;

/// The Castagnoli polynomial, reflected.
const POLYNOMIAL: u32 = 0x82F6_3B78;

/// Returns what has to stand in the four bytes at `at` so that the CRC of all `bytes`, begun with ones, is `wanted`.
pub(super) fn bytes_that_keep(wanted: u32, bytes: &[u8], at: usize) -> [u8; 4] {
    let before = crc32c(!0, &bytes[..at]);
    let after = bytes[at + 4..].iter().rev().fold(wanted, |crc, byte| step_back(crc) ^ u32::from(*byte));
    let through = (0..4).fold(after, |crc, _| step_back(crc));
    (before ^ through).to_le_bytes()
}

/// The CRC before eight zero bits gave `crc`: the top bit says whether the polynomial was added.
fn step_back(crc: u32) -> u32 {
    (0..8).fold(crc, |crc, _| if crc >> 31 == 1 { ((crc ^ POLYNOMIAL) << 1) | 1 } else { crc << 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bytes_keep_a_sum_wherever_they_are() {
        let mut bytes: Vec<u8> = (0..=255).collect();
        let sum = crc32c(!0, &bytes);
        for at in [0, 1, 100, 252] {
            bytes[200] ^= at as u8 + 1;
            let patch = bytes_that_keep(sum, &bytes, at);
            bytes[at..at + 4].copy_from_slice(&patch);
            assert_eq!(crc32c(!0, &bytes), sum);
        }
    }
}
