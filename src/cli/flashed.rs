//! Result of `flash`.

use serde::Serialize;

use crate::cache;
use crate::flash::{Done, Fallback, Rewritten, Summary};
use crate::value::ByteSize;

/// One medium that was written.
#[derive(Serialize)]
pub struct Flashed {
    device: String,
    written: u64,
    #[serde(skip_serializing_if = "is_zero")]
    unchanged: u64,
    #[serde(skip_serializing_if = "is_zero")]
    resumed: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rewritten: Vec<Rewritten>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback: Option<Fallback>,
    summary: Summary,
    manifest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<cache::Summary>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Flashed {
    pub fn new(device: &str, done: Done, summary: Summary, manifest: Option<String>) -> Flashed {
        let Done { record, unchanged, resumed, rewritten, fallback, .. } = done;
        let device = device.into();
        Flashed {
            device,
            written: record.len(),
            unchanged,
            resumed,
            rewritten,
            fallback,
            summary,
            manifest,
            cache: None,
        }
    }
}

impl std::fmt::Display for Flashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (device, written) = (&self.device, ByteSize(self.written));
        write!(f, "{device}: {written} written, read back from the medium and right")?;
        for (bytes, text) in [
            (self.unchanged, "of it were right before"),
            (self.resumed, "of it were written by an earlier run"),
        ] {
            if bytes > 0 {
                write!(f, "\n  {} {text}", ByteSize(bytes))?;
            }
        }
        for Rewritten { damage, times } in &self.rewritten {
            write!(f, "\n  written again {times} times: {damage}")?;
        }
        self.fallback.iter().try_for_each(|fallback| write!(f, "\n  {fallback}"))?;
        write!(f, "{}", self.summary)?;
        self.manifest.as_ref().map_or(Ok(()), |manifest| write!(f, "\n{manifest}"))
    }
}

/// All of them, as a document.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Document<'a> {
    One(&'a Flashed),
    Several { devices: &'a [Flashed] },
}
