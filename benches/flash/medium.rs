//! Media to flash: block devices that the bench makes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use skiff_image::storage::{Memory, Target};

use crate::common::{command, succeed};
use crate::fuse::throttled::{Rates, Throttled, Use};
use crate::fuse::{BlockDevice, CARD};
use crate::image::Images;

/// What a device is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// A loop device over a file in memory: what programs cost when the medium costs nothing.
    Fast,
    /// A card: a FUSE filesystem with a speed under a loop device.
    Card,
}

/// Speed of [`Model::Card`] in bytes per second.
pub const CARD_RATES: Rates = Rates { write: 20e6, read: 80e6 };

/// A device that ends with this value.
pub enum Medium {
    Fast(Loop),
    Card {
        /// What the card is made of, to fill it in no time.
        memory: Arc<Memory>,
        bus: Arc<Throttled>,
        device: BlockDevice,
    },
}

/// What changes at once.
const NEW: u64 = 64 << 10;
/// One in a hundred changes.
const STRIDE: u64 = 100 * NEW;

impl Medium {
    /// A device of `len` bytes; what is in memory is in `directory`.
    pub fn new(model: Model, len: u64, directory: &Path) -> Medium {
        match model {
            Model::Fast => Medium::Fast(Loop::new(len, &directory.join("medium"))),
            Model::Card => {
                let memory = Arc::new(Memory::new(len));
                let bus = Arc::new(Throttled::new(memory.clone(), CARD_RATES));
                Medium::Card { device: BlockDevice::new(bus.clone(), CARD), memory, bus }
            }
        }
    }

    /// `/dev/loopN`.
    pub fn path(&self) -> &Path {
        match self {
            Medium::Fast(device) => &device.path,
            Medium::Card { device, .. } => &device.path,
        }
    }

    /// Nothing is on it and nothing of it is cached.
    pub fn blank(&self) {
        match self {
            Medium::Fast(device) => {
                succeed(command("blkdiscard").arg("-f").arg(&device.path));
            }
            Medium::Card { memory, .. } => {
                memory.zero(0, memory.geometry().len).expect("memory can be written")
            }
        }
        self.cool();
    }

    /// It holds the image but for every hundredth 64 KiB of it, and nothing of it is cached.
    ///
    /// # Panics
    /// If it is not a card.
    pub fn hold_older(&self, images: &Images) {
        let Medium::Card { memory, .. } = self else { panic!("only cards hold older images") };
        let image = File::open(&images.image).expect("an image");
        for range in images.map().ranges {
            for at in (range.bytes.start..range.bytes.end).step_by(STRIDE as usize) {
                let mut bytes = vec![0; (range.bytes.end - at).min(STRIDE) as usize];
                image.read_exact_at(&mut bytes, at).expect("an image can be read");
                bytes.iter_mut().take(NEW as usize).for_each(|byte| *byte ^= 0x5a);
                memory.write_at(&bytes, at).expect("memory can be written");
            }
        }
        self.cool();
    }

    /// What a card had to carry since it was asked last.
    pub fn take_use(&self) -> Option<Use> {
        match self {
            Medium::Fast(_) => None,
            Medium::Card { bus, .. } => Some(bus.take_use()),
        }
    }

    fn cool(&self) {
        succeed(command("blockdev").arg("--flushbufs").arg(self.path()));
    }

    /// Fails if it does not hold all that matters of the image.
    pub fn expect(&self, images: &Images) {
        self.cool();
        let (image, device) = (File::open(&images.image), File::open(self.path()));
        let (image, device) = (image.expect("an image"), device.expect("a device"));
        for range in images.map().ranges {
            for at in (range.bytes.start..range.bytes.end).step_by(1 << 20) {
                let len = (range.bytes.end - at).min(1 << 20) as usize;
                let read = |file: &File| {
                    let mut bytes = vec![0; len];
                    file.read_exact_at(&mut bytes, at).expect("an image and a device can be read");
                    bytes
                };
                assert!(read(&image) == read(&device), "bytes from {at} on are not those of the image");
            }
        }
    }
}

/// A loop device over a file.
pub struct Loop {
    path: PathBuf,
    file: PathBuf,
}

impl Loop {
    fn new(len: u64, file: &Path) -> Loop {
        File::create(file).and_then(|file| file.set_len(len)).expect("room for a medium");
        let path = succeed(command("losetup").args(["--find", "--show"]).arg(file));
        Loop { path: path.trim().into(), file: file.into() }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        succeed(command("losetup").arg("--detach").arg(&self.path));
        std::fs::remove_file(&self.file).expect("a file of the bench can be removed");
    }
}
