//! Processor architectures, named as Linux names them in `arch/` where that is one word.

use std::fmt;
use std::str::FromStr;

#[cfg(feature = "serde")]
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The architecture a system runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// 32-bit ARM.
    Arm,
    /// 64-bit ARM.
    Arm64,
    /// 64-bit x86.
    X86_64,
    /// 64-bit RISC-V.
    Riscv64,
}

/// Reason why a text is not an architecture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown architecture `{0}`: use arm, arm64, x86_64 or riscv64")]
pub struct ParseArchError(pub String);

impl Arch {
    /// All of them.
    pub const ALL: [Arch; 4] = [Arch::Arm, Arch::Arm64, Arch::X86_64, Arch::Riscv64];

    /// The name that [`fmt::Display`] prints.
    pub fn name(self) -> &'static str {
        self.names()[0]
    }
}

impl Arch {
    /// Names that are taken, of other projects too; the first is the one that [`fmt::Display`] prints.
    fn names(self) -> &'static [&'static str] {
        match self {
            Arch::Arm => &["arm", "armhf", "armv6", "armv7"],
            Arch::Arm64 => &["arm64", "aarch64"],
            Arch::X86_64 => &["x86_64", "x86-64", "amd64", "x64"],
            Arch::Riscv64 => &["riscv64"],
        }
    }

    /// Bytes of the kernel's command line with the zero at its end: `COMMAND_LINE_SIZE` in
    /// `arch/*/include/uapi/asm/setup.h` of Linux.
    pub fn command_line_size(self) -> usize {
        match self {
            Arch::Arm | Arch::Riscv64 => 1024,
            Arch::Arm64 | Arch::X86_64 => 2048,
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Arch {
    type Err = ParseArchError;

    /// Takes the names of other projects too: `aarch64`, `amd64`, `armhf`.
    fn from_str(text: &str) -> Result<Arch, ParseArchError> {
        let named = Arch::ALL.into_iter().find(|arch| arch.names().contains(&text));
        named.ok_or_else(|| ParseArchError(text.into()))
    }
}

#[cfg(feature = "serde")]
impl Serialize for Arch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(feature = "serde")]
impl<'de> Deserialize<'de> for Arch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The architectures that something is for; none named means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ForArch(pub Vec<Arch>);

impl ForArch {
    /// Returns whether it is for `arch` too.
    pub fn covers(&self, arch: Arch) -> bool {
        self.0.is_empty() || self.0.contains(&arch)
    }
}

#[cfg(feature = "serde")]
impl<'de> Deserialize<'de> for ForArch {
    /// One architecture or a list of them.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "an architecture or a list of them: arm, arm64, x86_64, riscv64")]
        enum OneOrMany {
            One(Arch),
            Many(Vec<Arch>),
        }
        Ok(ForArch(match OneOrMany::deserialize(deserializer)? {
            OneOrMany::One(arch) => vec![arch],
            OneOrMany::Many(all) => all,
        }))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Arch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "arch".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> = Arch::ALL.into_iter().flat_map(Arch::names).copied().collect();
        schemars::json_schema!({"description": "An architecture.", "enum": names})
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ForArch {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "for-arch".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<Arch>();
        let many = generator.subschema_for::<Vec<Arch>>();
        schemars::json_schema!({"description": "One architecture or a list of them.", "anyOf": [one, many]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_aliases_are_known() {
        for arch in Arch::ALL {
            assert_eq!(arch.to_string().parse(), Ok(arch));
        }
        assert_eq!(("aarch64".parse(), "amd64".parse()), (Ok(Arch::Arm64), Ok(Arch::X86_64)));
        let message = "mips".parse::<Arch>().unwrap_err().to_string();
        assert_eq!(message, "unknown architecture `mips`: use arm, arm64, x86_64 or riscv64");
    }

    #[test]
    fn something_is_for_one_architecture_or_several_or_all() {
        #[derive(Debug, Deserialize)]
        struct Entry {
            #[serde(default)]
            arch: ForArch,
        }
        let covered = |text: &str| {
            let entry: Entry = toml::from_str(text).expect("a valid entry");
            Arch::ALL.map(|arch| entry.arch.covers(arch))
        };
        assert_eq!(covered(""), [true; 4]);
        assert_eq!(covered("arch = 'arm64'"), [false, true, false, false]);
        assert_eq!(covered("arch = ['arm', 'riscv64']"), [true, false, false, true]);
        let error = toml::from_str::<Entry>("arch = 'mips'").expect_err("no such architecture");
        assert_eq!(error.message(), "an architecture or a list of them: arm, arm64, x86_64, riscv64");
    }
}
