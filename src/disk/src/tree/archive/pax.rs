//! PAX records: POSIX.1-2017, `pax`, "pax Header Block". Parsed here because a value may contain any byte, a newline too.

/// Records in the order of the header: keyword and value. The last of a keyword counts, except where a keyword is one of
/// a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    list: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Records {
    /// `LEN KEY=VALUE\n` records, where LEN counts the whole record; nothing if they are malformed.
    pub(super) fn parse(mut bytes: &[u8]) -> Option<Records> {
        let mut list = Vec::new();
        while !bytes.is_empty() && bytes[0] != 0 {
            let space = bytes.iter().position(|byte| *byte == b' ')?;
            let len: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
            let record = bytes.get(space + 1..len)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            list.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
            bytes = &bytes[len..];
        }
        Some(Records { list })
    }

    /// Adds records that count more than those before.
    pub(super) fn extend(&mut self, later: Records) {
        self.list.extend(later.list);
    }

    /// The value of a keyword.
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.iter().filter(|(found, _)| *found == key).last().map(|(_, value)| value)
    }

    /// All records in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.list.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}

/// A decimal number without a sign.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

/// A decimal number; fractions are cut towards the past.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let before = whole.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
    Some(whole.parse::<i64>().ok()?.saturating_sub(i64::from(before)))
}
