//! Byte counts as people write them: `8 KiB`, `2.5MiB`, `512`, `63 sectors`.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "serde")]
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Reason why a text is not a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseByteSizeError {
    /// No leading number.
    #[error("`{0}` is not a size: expected a number and a unit, for example `8 KiB`")]
    NotANumber(String),
    /// The unit is unknown.
    #[error(
        "`{text}` has the unknown unit `{unit}`: use B, KiB, MiB, GiB, TiB (1024), kB, MB, GB, TB (1000) or sectors (512)"
    )]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// Text behind the number.
        unit: String,
    },
    /// A fraction that ends within a byte.
    #[error("`{0}` is no whole number of bytes")]
    PartOfByte(String),
    /// Does not fit 64 bits.
    #[error("`{0}` is larger than 2^64 bytes")]
    TooLarge(String),
}

/// Units in the order they are tried for display.
const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl ByteSize {
    /// The count itself.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// Text for the size of a medium, which is sold in decimal units: `8 GB` where these are exact, else as any size.
    pub fn as_sold(self) -> String {
        let units = [("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000)];
        match units.iter().find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => format!("{} {name}", self.0 / unit),
            None => self.to_string(),
        }
    }
}

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let trimmed = text.trim();
        let is_of_number = |c: char| c.is_ascii_digit() || c == '_' || c == '.';
        let (number, unit) = trimmed.split_at(trimmed.find(|c| !is_of_number(c)).unwrap_or(trimmed.len()));
        let number = Decimal::parse(number, text)?;
        let unit = unit.trim();
        let factor = match unit {
            "" | "B" => 1,
            "K" | "KiB" => 1 << 10,
            "M" | "MiB" => 1 << 20,
            "G" | "GiB" => 1 << 30,
            "T" | "TiB" => 1 << 40,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "sectors" | "sector" | "s" => 512,
            _ => return Err(ParseByteSizeError::UnknownUnit { text: text.into(), unit: unit.into() }),
        };
        number.times(factor, text).map(ByteSize)
    }
}

/// A number with a fraction: `digits` of it, of which the last `places` stand behind the point.
struct Decimal {
    digits: u64,
    places: u32,
}

impl Decimal {
    fn parse(number: &str, text: &str) -> Result<Decimal, ParseByteSizeError> {
        let number = number.replace('_', "");
        let (whole, fraction) = number.split_once('.').unwrap_or((&number, "0"));
        if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
            return Err(ParseByteSizeError::NotANumber(text.into()));
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}").parse();
        let digits = digits.map_err(|_| ParseByteSizeError::TooLarge(text.into()))?;
        Ok(Decimal { digits, places: fraction.len() as u32 })
    }

    fn times(self, factor: u64, text: &str) -> Result<u64, ParseByteSizeError> {
        let scaled = u128::from(self.digits) * u128::from(factor);
        let scale = 10_u128.checked_pow(self.places).filter(|scale| scaled.is_multiple_of(*scale));
        let scale = scale.ok_or_else(|| ParseByteSizeError::PartOfByte(text.into()))?;
        u64::try_from(scaled / scale).map_err(|_| ParseByteSizeError::TooLarge(text.into()))
    }
}

impl fmt::Display for ByteSize {
    /// The largest binary unit that divides the count; else one decimal from 10 KiB on, with the exact count.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = UNITS.iter().find(|(_, unit)| self.0 != 0 && self.0.is_multiple_of(*unit));
        let near = UNITS.iter().find(|(_, unit)| self.0 >= unit * 10 || (self.0 >= *unit && *unit > 1 << 10));
        let text = match (exact, near) {
            (Some((name, unit)), _) => format!("{} {name}", self.0 / unit),
            (None, Some((name, unit))) => {
                format!("{:.1} {name} ({} bytes)", self.0 as f64 / *unit as f64, self.0)
            }
            (None, None) => format!("{} bytes", self.0),
        };
        f.pad(&text)
    }
}

#[cfg(feature = "serde")]
impl Serialize for ByteSize {
    /// As a plain number of bytes, which is what programs want.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

#[cfg(feature = "serde")]
impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a size such as \"8 KiB\" or a number of bytes")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_i64<E: serde::de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(|_| E::custom("a size cannot be negative"))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Texts that are sizes, as a regular expression of JSON Schema. It leaves to the parser what no expression can count.
#[cfg(feature = "schema")]
pub const PATTERN: &str =
    r"^\s*[0-9][0-9_]*(\.[0-9_]+)?\s*(B|K|KiB|M|MiB|G|GiB|T|TiB|kB|MB|GB|TB|sectors?|s)?\s*$";

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ByteSize {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "size".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A size such as `8 KiB`, `2.5MiB`, `1 GB` or `63 sectors` (of 512 bytes), or a number of bytes.",
            "anyOf": [{"type": "string", "pattern": PATTERN}, {"type": "integer", "minimum": 0}],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_binary_decimal_and_sector_units() {
        for (text, bytes) in [
            ("512", 512),
            ("8 KiB", 8192),
            ("1GiB", 1 << 30),
            ("1 GB", 1_000_000_000),
            ("63 sectors", 32_256),
            ("1_024 B", 1024),
            ("2.5MiB", 5 << 19),
            ("1.50 GB", 1_500_000_000),
            ("0.5 sectors", 256),
            ("7.0", 7),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_size() {
        let message = |text: &str| text.parse::<ByteSize>().unwrap_err().to_string();
        assert_eq!(message("big"), "`big` is not a size: expected a number and a unit, for example `8 KiB`");
        assert_eq!(
            message("8 Kb"),
            "`8 Kb` has the unknown unit `Kb`: use B, KiB, MiB, GiB, TiB (1024), kB, MB, GB, TB (1000) or sectors (512)"
        );
        assert_eq!(message("0.3 KiB"), "`0.3 KiB` is no whole number of bytes");
        for text in [".5 KiB", "1. KiB", "1.2.3", ""] {
            let told = format!("`{text}` is not a size: expected a number and a unit, for example `8 KiB`");
            assert_eq!(message(text), told);
        }
        assert_eq!(
            message(&format!("0.{}1 TiB", "0".repeat(60))),
            format!("`0.{}1 TiB` is no whole number of bytes", "0".repeat(60))
        );
        assert_eq!(message("99999999 TiB"), "`99999999 TiB` is larger than 2^64 bytes");
    }

    #[test]
    fn media_have_the_size_they_are_sold_with() {
        let shown = [1_000_000_000, 8_000_000_000, 512_000_000, 1 << 30, 31_116_288 * 512]
            .map(|len| ByteSize(len).as_sold());
        assert_eq!(shown, ["1 GB", "8 GB", "512 MB", "1 GiB", "15558144 KiB"]);
    }

    #[test]
    fn prints_exact_units_or_both_numbers() {
        assert_eq!(ByteSize(8192).to_string(), "8 KiB");
        assert_eq!(ByteSize(0).to_string(), "0 bytes");
        assert_eq!(ByteSize(700).to_string(), "700 bytes");
        assert_eq!(ByteSize(1_572_865).to_string(), "1.5 MiB (1572865 bytes)");
    }
}
