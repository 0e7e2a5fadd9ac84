//! Bytes of a target of which only some are known.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use super::{Geometry, Target, TargetError, Verb};

/// Bytes that are kept at once.
const PAGE: u64 = 4096;

/// A target in memory of any length; it costs what was written to it, and the rest reads as zero.
pub struct Sparse {
    pages: RwLock<BTreeMap<u64, Box<[u8; PAGE as usize]>>>,
    geometry: Geometry,
}

impl Sparse {
    /// `len` zero bytes in sectors of `sector_size`.
    pub fn new(len: u64, sector_size: u32) -> Sparse {
        Sparse { pages: RwLock::default(), geometry: Geometry { len, sector_size } }
    }

    /// The same bytes on a target of another length.
    pub fn with_len(self, len: u64) -> Sparse {
        Sparse { geometry: Geometry { len, ..self.geometry }, ..self }
    }

    /// Returns the parts of pages that a range of the target consists of: number, first byte in it, length.
    fn parts(
        &self,
        verb: Verb,
        offset: u64,
        len: u64,
    ) -> Result<impl Iterator<Item = (u64, usize, usize)> + use<>, TargetError> {
        self.geometry.ensure_inside(verb, self.name(), offset, len)?;
        let (first, end) = (offset / PAGE, (offset + len).div_ceil(PAGE));
        Ok((first..end).map(move |page| {
            let (start, stop) =
                (offset.max(page * PAGE), (offset + len).min((page + 1).saturating_mul(PAGE)));
            (page, (start - page * PAGE) as usize, (stop - start) as usize)
        }))
    }
}

impl Target for Sparse {
    fn name(&self) -> &str {
        "memory"
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        let mut rest = &mut *buf;
        for (page, start, len) in self.parts(Verb::Read, offset, rest.len() as u64)? {
            let (part, behind) = rest.split_at_mut(len);
            match pages.get(&page) {
                Some(bytes) => part.copy_from_slice(&bytes[start..start + len]),
                None => part.fill(0),
            }
            rest = behind;
        }
        Ok(())
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        let mut rest = buf;
        for (page, start, len) in self.parts(Verb::Write, offset, buf.len() as u64)? {
            let (part, behind) = rest.split_at(len);
            let bytes = pages.entry(page).or_insert_with(|| Box::new([0; PAGE as usize]));
            bytes[start..start + len].copy_from_slice(part);
            rest = behind;
        }
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        self.geometry.ensure_inside(Verb::Zero, self.name(), offset, len)?;
        // Of a long range only what is known costs anything.
        for (page, bytes) in pages.range_mut(offset / PAGE..(offset + len).div_ceil(PAGE)) {
            let (start, end) = (offset.saturating_sub(page * PAGE), (offset + len - page * PAGE).min(PAGE));
            bytes[start as usize..end as usize].fill(0);
        }
        Ok(())
    }

    fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
        Ok(false)
    }

    fn sync(&self) -> Result<(), TargetError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_zero_and_the_rest_is_as_written() {
        let sparse = Sparse::new(1 << 60, 512);
        let bytes: Vec<u8> = (0..9000_u32).map(|at| at as u8 | 1).collect();
        sparse.write_at(&bytes, (1 << 59) - 100).expect("inside");
        sparse.zero((1 << 59) + 50, 4200).expect("inside");
        let mut found = vec![7; 9200];
        sparse.read_at(&mut found, (1 << 59) - 200).expect("inside");
        let expected = [&[0; 100], &bytes[..150], &[0; 4200], &bytes[4350..], &[0; 100]].concat();
        assert!(found == expected);
        let short = sparse.with_len(1 << 20);
        assert_eq!(short.geometry().len, 1 << 20);
        let error = short.read_at(&mut [0; 2], (1 << 20) - 1).expect_err("behind the end");
        assert!(
            error.to_string().starts_with("cannot read 2 bytes at offset 1048575 of `memory`: "),
            "{error}"
        );
    }
}
