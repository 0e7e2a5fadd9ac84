//! Bytes as hexadecimal digits.

/// Two digits for each byte, in lower case.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|half| char::from(DIGITS[usize::from(half)]))
        .collect()
}

/// Bytes of two digits each, in either case; nothing for an odd number of digits, or for what is none.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).map(|value| value as u8);
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        assert_eq!(to_hex(&[0, 0x1f, 0xff]), "001fff");
        assert_eq!(from_hex("001fFF"), Some(vec![0, 0x1f, 0xff]));
        assert_eq!(from_hex(""), Some(Vec::new()));
        assert_eq!(
            (from_hex("1"), from_hex("0g"), from_hex("+1"), from_hex("\u{e9}")),
            (None, None, None, None)
        );
    }
}
