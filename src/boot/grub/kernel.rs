//! GRUB's kernel as it lies in memory: an ELF program whose segments are put where they belong.

use super::GrubError;

/// Address to which the kernel is linked and unpacked.
pub(super) const LINK_ADDRESS: u32 = 0x9000;
/// The kernel, its zeroed variables and what is behind it end below this.
const MEMORY_END: u32 = 0x68000;

/// First bytes of a 32-bit little-endian ELF file.
const MAGIC: [u8; 6] = [0x7f, b'E', b'L', b'F', 1, 1];
/// `EM_386`.
const MACHINE: u16 = 3;
/// `PT_LOAD`.
const LOAD: u32 = 1;
/// Bytes of `Elf32_Ehdr`.
const HEADER_SIZE: usize = 52;
/// Bytes of `Elf32_Phdr`.
const SEGMENT_SIZE: usize = 32;

/// The bytes from [`LINK_ADDRESS`] to the last that the file holds. Variables that begin as zero lie behind, where
/// the kernel expects its objects first: it moves those out of the way and clears the variables.
pub(super) fn memory_image(file: &[u8]) -> Result<Vec<u8>, GrubError> {
    let elf = Elf(file);
    if file.len() < HEADER_SIZE || !file.starts_with(&MAGIC) || elf.half(18)? != MACHINE {
        return Err(wrong("it is no 32-bit ELF program for the 80386"));
    }
    let (first, count) = (elf.word(28)? as usize, elf.half(44)?);
    let mut image = Vec::new();
    for index in 0..usize::from(count) {
        elf.load(first.saturating_add(index * SEGMENT_SIZE), &mut image)?;
    }
    if image.is_empty() {
        return Err(wrong("it has nothing to load"));
    }
    Ok(image)
}

struct Elf<'a>(&'a [u8]);

impl Elf<'_> {
    /// Puts the segment whose header is at `at` into the image.
    fn load(&self, at: usize, image: &mut Vec<u8>) -> Result<(), GrubError> {
        if self.word(at)? != LOAD {
            return Ok(());
        }
        let [offset, address, _, in_file, in_memory] =
            [4, 8, 12, 16, 20].map(|field| self.word(at.saturating_add(field)));
        let (address, in_memory) = (address?, in_memory?);
        let bytes = self.bytes(offset? as usize, in_file?.min(in_memory) as usize)?;
        let end = address.checked_add(in_memory).filter(|end| *end <= MEMORY_END);
        let Some((start, _)) = address.checked_sub(LINK_ADDRESS).zip(end) else {
            let problem = format!(
                "it is loaded at {address:#x} with {in_memory:#x} bytes but has to lie between {LINK_ADDRESS:#x} and {MEMORY_END:#x}"
            );
            return Err(GrubError::Kernel { problem });
        };
        let start = start as usize;
        image.resize(image.len().max(start + bytes.len()), 0);
        image[start..start + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn half(&self, at: usize) -> Result<u16, GrubError> {
        let bytes = self.bytes(at, 2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn word(&self, at: usize) -> Result<u32, GrubError> {
        let bytes = self.bytes(at, 4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn bytes(&self, at: usize, len: usize) -> Result<&[u8], GrubError> {
        let end = at.saturating_add(len);
        let found = self.0.len();
        self.0
            .get(at..end)
            .ok_or_else(|| GrubError::Kernel { problem: format!("it has {found} bytes but speaks of {end}") })
    }
}

fn wrong(problem: &str) -> GrubError {
    GrubError::Kernel { problem: problem.into() }
}
