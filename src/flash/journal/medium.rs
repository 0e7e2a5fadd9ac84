//! Identity of a medium.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::device::Candidate;
use crate::value::{ByteSize, Digest};

/// Model, serial number and length: what distinguishes a medium from others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MediumId {
    /// Vendor and model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Size in bytes.
    pub len: u64,
}

impl fmt::Display for MediumId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model.as_deref().unwrap_or("unknown model"))?;
        self.serial.as_ref().map_or(Ok(()), |serial| write!(f, ", serial {serial}"))?;
        write!(f, ", {}", ByteSize(self.len))
    }
}

impl MediumId {
    /// The medium in a device.
    pub fn for_candidate(candidate: &Candidate) -> MediumId {
        MediumId { model: candidate.model.clone(), serial: candidate.serial.clone(), len: candidate.len }
    }

    /// A name for this medium.
    pub fn id(&self) -> String {
        let id = Digest::of(&serde_json::to_vec(self).expect("a medium is JSON"));
        id.to_string()[..16].to_owned()
    }

    /// Name of the journal of this medium.
    pub fn file_name(&self) -> String {
        format!("flash-{}.journal", self.id())
    }
}
