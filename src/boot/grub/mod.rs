//! GRUB 2 for a PC with a BIOS, put together from the files of its build: the code of the master boot record and
//! the core image in the gap behind it. What comes out is what `grub-mkimage -O i386-pc` and `grub-bios-setup` make.
//!
//! ```text
//! sector 0   boot.img, bytes 0 to 439: loads the sector after it
//! sector 1   diskboot.img: loads the rest, by the block list at its end
//! sector 2   lzma_decompress.img: enters protected mode, unpacks what follows to address 0x9000
//!            LZMA: kernel.img as it lies in memory, then the objects the kernel finds behind itself:
//!                  modules in load order, a configuration, the prefix
//! ```
//!
//! Source of the format: GRUB 2.06 and 2.12, `include/grub/offsets.h` (places of the fields), `include/grub/kernel.h`
//! (objects), `include/grub/i386/pc/boot.h` (block list), `grub-core/boot/i386/pc/{boot,diskboot,startup_raw}.S`
//! (what reads them); the order of everything is that of `util/mkimage.c` and `util/resolve.c`.
//!
//! The parity bytes of `grub-bios-setup --add-rs-codes` are left out: the field that counts them stays zero, which
//! says to the decompressor that there are none. They repair sectors that other programs overwrite in the gap.

mod core;
mod error;
mod kernel;
mod modules;

use std::path::Path;

pub use core::{Core, core};
pub use error::GrubError;
pub use modules::load_order;

use crate::error::Error;

/// Bytes of a sector; the BIOS knows no other.
const SECTOR: usize = 512;
/// Sector that `boot.img` loads: the one behind the master boot record.
pub const CORE_SECTOR: u64 = 1;
/// Bytes of code in a master boot record; the disk signature begins behind them.
pub const BOOT_CODE_SIZE: usize = 440;

/// Sector to load, 64 bits.
const KERNEL_SECTOR: usize = 0x5c;
/// Drive to load it from.
const BOOT_DRIVE: usize = 0x64;
/// A jump over the check of the drive number.
const DRIVE_CHECK: usize = 0x66;
/// The drive that the BIOS started from.
const BIOS_DRIVE: u8 = 0xff;
/// Two instructions that do nothing.
const NOPS: [u8; 2] = [0x90, 0x90];

/// The code of the master boot record, from `boot.img` in `directory`: 440 bytes that load [`CORE_SECTOR`] from the
/// drive the BIOS started from. The check of the drive number is switched on, as on every hard disk: some BIOSes
/// pass a number of a floppy drive.
pub fn boot_code(directory: &Path) -> Result<Vec<u8>, Error> {
    let mut code = sector(directory, "boot.img")?;
    if code[SECTOR - 2..] != [0x55, 0xaa] {
        return Err(GrubError::Signature { found: [code[SECTOR - 2], code[SECTOR - 1]] }.into());
    }
    code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&CORE_SECTOR.to_le_bytes());
    code[BOOT_DRIVE] = BIOS_DRIVE;
    code[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&NOPS);
    code.truncate(BOOT_CODE_SIZE);
    Ok(code)
}

/// A file that has to be one sector.
fn sector(directory: &Path, name: &'static str) -> Result<Vec<u8>, Error> {
    let bytes = read(directory, name)?;
    if bytes.len() != SECTOR {
        return Err(GrubError::NotASector { name, found: bytes.len() }.into());
    }
    Ok(bytes)
}

fn read(directory: &Path, name: &str) -> Result<Vec<u8>, Error> {
    let path = directory.join(name);
    if !path.is_file() {
        let (name, directory) = (name.into(), directory.to_path_buf());
        return Err(GrubError::Missing { name, directory, suggestion: None }.into());
    }
    Ok(std::fs::read(&path).map_err(crate::error::Io::on("read", &path))?)
}
