//! A medium in memory whose copies share what they have in common: a copy costs little, whatever its length, and
//! so does a large medium that is mostly zero.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use super::{Geometry, Target, TargetError, Verb};

/// Bytes of a page: the largest logical sector there is.
const PAGE: u64 = 4096;

/// Bytes that any number of media share.
pub(super) type Page = Arc<[u8; PAGE as usize]>;

/// The page that stands for all that nothing was written to.
static ZEROS: LazyLock<Page> = LazyLock::new(|| Arc::new([0; PAGE as usize]));

/// The pages of a medium.
#[derive(Clone)]
pub(super) struct Pages {
    pages: Vec<Page>,
    len: u64,
}

/// Indices of the pages that hold a range.
fn holding(range: &Range<u64>) -> Range<usize> {
    (range.start / PAGE) as usize..range.end.div_ceil(PAGE) as usize
}

/// For each page that holds some of a range: its index, and where in it.
fn pieces(range: Range<u64>) -> impl Iterator<Item = (usize, Range<usize>)> {
    holding(&range).map(move |index| {
        let start = index as u64 * PAGE;
        let (from, to) = (range.start.max(start), range.end.min(start + PAGE));
        (index, (from - start) as usize..(to - start) as usize)
    })
}

impl Pages {
    /// `len` zero bytes.
    pub(super) fn new(len: u64) -> Pages {
        Pages { pages: vec![Page::clone(&ZEROS); len.div_ceil(PAGE) as usize], len }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) {
        let mut rest = buf;
        for (index, within) in pieces(offset..offset + rest.len() as u64) {
            let (part, more) = rest.split_at_mut(within.len());
            part.copy_from_slice(&self.pages[index][within]);
            rest = more;
        }
    }

    pub(super) fn write(&mut self, buf: &[u8], offset: u64) {
        let mut rest = buf;
        for (index, within) in pieces(offset..offset + buf.len() as u64) {
            let (part, more) = rest.split_at(within.len());
            Arc::make_mut(&mut self.pages[index])[within].copy_from_slice(part);
            rest = more;
        }
    }

    pub(super) fn zero(&mut self, range: Range<u64>) {
        for (index, within) in pieces(range) {
            match within.len() as u64 {
                PAGE => self.pages[index] = Page::clone(&ZEROS),
                _ => Arc::make_mut(&mut self.pages[index])[within].fill(0),
            }
        }
    }

    /// The pages that hold a range, as they are now.
    pub(super) fn share(&self, range: &Range<u64>) -> Vec<Page> {
        self.pages[holding(range)].to_vec()
    }

    /// Makes `range` what it is in `pages`, of which the first one belongs to index `first`.
    pub(super) fn take(&mut self, range: Range<u64>, pages: &[Page], first: usize) {
        for (index, within) in pieces(range) {
            let page = &pages[index - first];
            match within.len() as u64 {
                PAGE => self.pages[index] = Page::clone(page),
                _ => {
                    let bytes = &page[within.clone()];
                    Arc::make_mut(&mut self.pages[index])[within].copy_from_slice(bytes);
                }
            }
        }
    }

    /// Index of the page that holds a byte.
    pub(super) fn index(offset: u64) -> usize {
        (offset / PAGE) as usize
    }
}

/// A target in memory like [`super::Memory`], made to be copied.
pub struct CowMemory {
    pages: RwLock<Pages>,
    geometry: Geometry,
}

impl CowMemory {
    /// `len` zero bytes in sectors of `sector_size`.
    pub fn new(len: u64, sector_size: u32) -> CowMemory {
        CowMemory::from_pages(Pages::new(len), sector_size)
    }

    /// These bytes in sectors of `sector_size`.
    pub fn from_bytes(bytes: &[u8], sector_size: u32) -> CowMemory {
        let mut pages = Pages::new(bytes.len() as u64);
        for (index, chunk) in bytes.chunks(PAGE as usize).enumerate() {
            // What is zero already is shared.
            if *chunk != ZEROS[..chunk.len()] {
                pages.write(chunk, index as u64 * PAGE);
            }
        }
        CowMemory::from_pages(pages, sector_size)
    }

    pub(super) fn from_pages(pages: Pages, sector_size: u32) -> CowMemory {
        let geometry = Geometry { len: pages.len(), sector_size };
        CowMemory { pages: RwLock::new(pages), geometry }
    }

    pub(super) fn pages(&self) -> Pages {
        self.pages.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A copy of the bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.geometry.len as usize];
        self.pages.read().unwrap_or_else(PoisonError::into_inner).read(&mut bytes, 0);
        bytes
    }

    /// Returns whether `range` has the same bytes in both; what they share is not even looked at.
    pub fn is_same(&self, other: &CowMemory, range: Range<u64>) -> bool {
        if range.end > self.geometry.len.min(other.geometry.len) {
            return false;
        }
        let ours = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        let theirs = other.pages.read().unwrap_or_else(PoisonError::into_inner);
        pieces(range).all(|(index, within)| {
            let (a, b) = (&ours.pages[index], &theirs.pages[index]);
            Arc::ptr_eq(a, b) || a[within.clone()] == b[within]
        })
    }

    /// Writes the bytes to an empty file, so that other programs can look at them; pages of zeros become holes.
    pub fn write_to(&self, file: &File) -> io::Result<()> {
        file.set_len(self.geometry.len)?;
        for (index, page) in self.pages().pages.iter().enumerate() {
            let offset = index as u64 * PAGE;
            if !Arc::ptr_eq(page, &ZEROS) && **page != **ZEROS {
                file.write_all_at(&page[..PAGE.min(self.geometry.len - offset) as usize], offset)?;
            }
        }
        Ok(())
    }

    fn ensure_inside(&self, verb: Verb, offset: u64, len: u64) -> Result<(), TargetError> {
        self.geometry.ensure_inside(verb, self.name(), offset, len)
    }
}

impl Clone for CowMemory {
    fn clone(&self) -> CowMemory {
        CowMemory::from_pages(self.pages(), self.geometry.sector_size)
    }
}

impl Target for CowMemory {
    fn name(&self) -> &str {
        "memory"
    }

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.ensure_inside(Verb::Read, offset, buf.len() as u64)?;
        self.pages.read().unwrap_or_else(PoisonError::into_inner).read(buf, offset);
        Ok(())
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        self.ensure_inside(Verb::Write, offset, buf.len() as u64)?;
        self.pages.write().unwrap_or_else(PoisonError::into_inner).write(buf, offset);
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.ensure_inside(Verb::Zero, offset, len)?;
        self.pages.write().unwrap_or_else(PoisonError::into_inner).zero(offset..offset + len);
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
    fn copies_do_not_see_each_other_and_every_length_is_right() {
        let len = 5 * PAGE + 512;
        let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
        let first = CowMemory::from_bytes(&bytes, 512);
        let second = first.clone();
        second.write_at(&[0xee; 5000], 4000).expect("write");
        second.zero(2 * PAGE + 3, 2 * PAGE).expect("zero");
        assert_eq!(first.to_vec(), bytes);
        let mut expected = bytes;
        expected[4000..9000].fill(0xee);
        expected[2 * PAGE as usize + 3..4 * PAGE as usize + 3].fill(0);
        assert_eq!(second.to_vec(), expected);
        let mut end = [0; 600];
        second.read_at(&mut end, len - 600).expect("read");
        assert_eq!(end, expected[expected.len() - 600..]);
        assert!(first.is_same(&second, 0..4000) && first.is_same(&second, 4 * PAGE + 3..len));
        assert!(!first.is_same(&second, 3999..4001) && !first.is_same(&second, 0..len + 1));
        let message = second.write_at(&[0; 513], len - 512).expect_err("outside").to_string();
        assert!(message.starts_with("cannot write 513 bytes at offset 20480 of `memory`: "), "{message}");
    }

    #[test]
    fn a_file_of_it_has_its_bytes() {
        let medium = CowMemory::new(3 * PAGE + 7, 512);
        medium.write_at(b"end", 3 * PAGE + 4).expect("write");
        let file = tempfile::tempfile().expect("a file");
        medium.write_to(&file).expect("write");
        let mut bytes = vec![1; medium.geometry().len as usize];
        file.read_exact_at(&mut bytes, 0).expect("as long");
        assert_eq!(bytes, medium.to_vec());
    }
}
