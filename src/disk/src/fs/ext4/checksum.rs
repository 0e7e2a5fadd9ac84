//! The checksums of `metadata_csum`: CRC-32C without the final inversion (kernel: `crypto/crc32c`, `ext4_chksum`).

/// The reflected polynomial 0x1EDC6F41, a byte at a time.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

/// Goes on with `crc` over `bytes`; ext4 begins with all ones.
pub(super) fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| TABLE[((crc ^ u32::from(*byte)) & 0xFF) as usize] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_that_of_crc32c() {
        // The catalogue's value is over "123456789", inverted at the end.
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
    }
}
