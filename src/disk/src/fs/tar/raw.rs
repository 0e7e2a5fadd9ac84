//! Headers as they are on disk: POSIX.1-2017, `pax`, "ustar Interchange Format".

use crate::tree::Device;

/// Headers and data fill whole blocks.
pub(super) const BLOCK: u64 = 512;
/// Two zero blocks end an archive.
pub(super) const END: u64 = 2 * BLOCK;
/// Bytes of `name` and of `linkname`.
pub(super) const NAME_LEN: usize = 100;
/// `typeflag` of a PAX header.
pub(super) const PAX: u8 = b'x';

/// Largest number of a field of `width` bytes: octal digits and a zero byte.
pub(super) const fn most(width: usize) -> u64 {
    (1 << (3 * (width - 1))) - 1
}

/// One header. What does not fit its field must stand in a PAX header before it, and is cut here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Header<'a> {
    pub name: &'a [u8],
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub mtime: i64,
    pub typeflag: u8,
    pub linkname: &'a [u8],
    pub device: Option<Device>,
}

impl Header<'_> {
    pub(super) fn encode(&self) -> [u8; BLOCK as usize] {
        let mut block = [0; BLOCK as usize];
        text(&mut block[0..100], self.name);
        octal(&mut block[100..108], self.mode.into());
        octal(&mut block[108..116], self.uid.into());
        octal(&mut block[116..124], self.gid.into());
        octal(&mut block[124..136], self.size);
        octal(&mut block[136..148], u64::try_from(self.mtime).unwrap_or(0));
        block[156] = self.typeflag;
        text(&mut block[157..257], self.linkname);
        text(&mut block[257..265], b"ustar\x0000");
        if let Some(device) = self.device {
            octal(&mut block[329..337], device.major.into());
            octal(&mut block[337..345], device.minor.into());
        }
        // The sum is made with spaces in its own field.
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut block[148..155], sum);
        block
    }
}

fn text(field: &mut [u8], text: &[u8]) {
    let len = text.len().min(field.len());
    field[..len].copy_from_slice(&text[..len]);
}

/// A number that does not fit is written as zero.
fn octal(field: &mut [u8], number: u64) {
    let width = field.len();
    let number = if number > most(width) { 0 } else { number };
    field[..width - 1].copy_from_slice(format!("{number:0>0$o}", width - 1).as_bytes());
    field[width - 1] = 0;
}

/// `LENGTH KEYWORD=VALUE\n`, where the length counts itself.
pub(super) fn record(keyword: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = keyword.len() + value.len() + 3;
    let len = (1..).map(|digits| rest + digits).find(|len| rest + len.to_string().len() == *len);
    let len = len.expect("a length has some number of digits").to_string();
    [len.as_bytes(), b" ", keyword, b"=", value, b"\n"].concat()
}
