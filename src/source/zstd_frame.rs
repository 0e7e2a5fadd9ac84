//! One zstd frame, and how much memory it needs: RFC 8878, section 3.1.1.1.

use std::io::{self, Read};

use zstd::stream::read::Decoder;

use super::input::Input;
use super::memory::{NotKnown, TooMuch};

/// The longest header: magic number, descriptor, window, dictionary and length.
const HEADER: usize = 18;
/// `ZSTD_WINDOWLOG_LIMIT_DEFAULT`: windows that need not be allowed.
const USUAL_LOG: u32 = 27;
/// `ZSTD_WINDOWLOG_MAX`: the largest that the decoder can allow.
const MOST_LOG: u32 = if usize::BITS == 64 { 31 } else { 30 };

/// Unpacks one frame.
pub(super) struct Frame(Decoder<'static, Input>);

impl Frame {
    /// A frame that may take `limit` bytes of memory.
    pub(super) fn new(mut input: Input, limit: u64) -> io::Result<Frame> {
        let need = window(input.peek(HEADER)?).unwrap_or(0);
        if need > limit {
            return Err(TooMuch { need, limit }.into());
        }
        let mut decoder = Decoder::with_buffer(input)?.single_frame();
        let log = need.next_power_of_two().ilog2();
        if log > MOST_LOG {
            return Err(NotKnown(format!("a window of more than {} bytes", 1_u64 << MOST_LOG)).into());
        }
        decoder.window_log_max(log.max(USUAL_LOG))?;
        Ok(Frame(decoder))
    }

    pub(super) fn input(&self) -> &Input {
        self.0.get_ref()
    }

    pub(super) fn into_input(self) -> Input {
        self.0.into_inner()
    }
}

impl Read for Frame {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf).map_err(|error| match error.to_string() {
            // As the library words its errors (`ZSTD_getErrorString`).
            text if text.contains("Unsupported") || text.contains("ictionary") => NotKnown(text).into(),
            text if text.starts_with("Allocation error") => io::ErrorKind::OutOfMemory.into(),
            _ => error,
        })
    }
}

/// Bytes that a frame may refer back to; nothing if this is no whole header of a frame.
fn window(header: &[u8]) -> Option<u64> {
    let [_, _, _, _, descriptor, rest @ ..] = header else { return None };
    if descriptor & 0x20 == 0 {
        let window = u64::from(*rest.first()?);
        let base = 1_u64 << (10 + (window >> 3));
        return Some(base + base / 8 * (window & 7));
    }
    // A single segment: its length is the window.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let (len, add) = [(1, 0), (2, 256), (4, 0), (8, 0)][usize::from(descriptor >> 6)];
    let mut bytes = [0; 8];
    bytes[..len].copy_from_slice(rest.get(dictionary..dictionary + len)?);
    u64::from_le_bytes(bytes).checked_add(add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_read_from_headers() {
        let magic = [0x28, 0xb5, 0x2f, 0xfd];
        let of = |rest: &[u8]| window(&[&magic[..], rest].concat());
        // As `zstd --long=31` and `zstd -1` of a stream write them; exponents and mantissas of the RFC.
        assert_eq!(of(&[0x04, 21 << 3]), Some(1 << 31));
        assert_eq!(of(&[0x00, 0x48]), Some(512 << 10));
        assert_eq!(of(&[0x00, 0x0f]), Some(3840));
        assert_eq!(of(&[0x00, 0xff]), Some((1 << 41) + 7 * (1 << 38)));
        // Single segments, with a dictionary of one byte in front of the length, too.
        assert_eq!(of(&[0x20, 5]), Some(5));
        assert_eq!(of(&[0x61, 9, 0, 1]), Some(512));
        assert_eq!(of(&[0xe0, 0, 0, 0, 0, 1, 0, 0, 0]), Some(1 << 32));
        assert_eq!((of(&[0xe0, 1]), of(&[])), (None, None));
    }
}
