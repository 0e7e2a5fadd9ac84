//! Text in sector 0 of an unfinished medium: for a person who looks at it, and for a run that goes on. It is text
//! without the signature of a boot sector, so that nothing boots from it and no partition table is seen.

use crate::storage::{Target, TargetError};
use crate::value::Digest;

/// Bytes that are kept for it: less than a sector, and nothing of where an MBR has its table.
pub(crate) const LEN: usize = 440;
const START: &str = "This medium is unfinished: writing it with skiff-image has begun and did not end.\n\
                     Nothing boots from it. Run `skiff-image flash` again; `--resume` goes on where it stopped.\n";
const RUN: &str = "run: ";

/// Sector 0 with the marker of a run.
pub(crate) fn sector(run: Digest, sector_size: u32) -> Vec<u8> {
    let text = format!("{START}{RUN}{run}\n");
    assert!(text.len() <= LEN, "the marker leaves the partition table alone");
    let mut sector = text.into_bytes();
    sector.resize(sector_size as usize, 0);
    sector
}

/// Writes the marker of a run into sector 0.
pub(crate) fn write(target: &dyn Target, run: Digest) -> Result<(), TargetError> {
    target.write_at(&sector(run, target.geometry().sector_size), 0)
}

/// The run that did not finish this medium, if one did not.
pub fn read(target: &dyn Target) -> Result<Option<Digest>, TargetError> {
    let geometry = target.geometry();
    if geometry.len < u64::from(geometry.sector_size) {
        return Ok(None);
    }
    let mut sector = vec![0; geometry.sector_size as usize];
    target.read_back(&mut sector, 0)?;
    Ok(parse(&sector[..LEN]))
}

fn parse(bytes: &[u8]) -> Option<Digest> {
    let text = bytes.strip_prefix(START.as_bytes())?.strip_prefix(RUN.as_bytes())?;
    let line = text.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Memory;

    #[test]
    fn a_marker_is_read_and_nothing_else_is_one() {
        for sector_size in [512, 4096] {
            let memory = Memory::with_sector_size(1 << 20, sector_size);
            assert_eq!(read(&memory).expect("reads"), None);
            memory.write_at(&[0xff; 4096], 0).expect("write");
            assert_eq!(read(&memory).expect("reads"), None);
            write(&memory, Digest::of(b"this run")).expect("write");
            assert_eq!(read(&memory).expect("reads"), Some(Digest::of(b"this run")));
            assert_eq!(crate::table::read(&memory).expect("reads"), None);
            assert_ne!(memory.to_vec()[510..512], [0x55, 0xaa]);
            memory.write_at(b"X", 3).expect("write");
            assert_eq!(read(&memory).expect("reads"), None);
        }
        assert_eq!(read(&Memory::new(100)).expect("reads"), None);
    }
}
