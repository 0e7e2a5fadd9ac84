//! A medium in memory that remembers every write, and what it holds after the power failed at any of them.

use std::path::Path;
use std::sync::Mutex;

use skiff_image::storage::{Geometry, Target, TargetError};

#[derive(Clone)]
pub enum Operation {
    Write { offset: usize, bytes: Vec<u8> },
    Sync,
}

pub struct Medium {
    bytes: Mutex<Vec<u8>>,
    operations: Mutex<Vec<Operation>>,
    sector_size: u32,
}

impl Medium {
    pub fn new(bytes: Vec<u8>) -> Medium {
        Medium { bytes: Mutex::new(bytes), operations: Mutex::default(), sector_size: 512 }
    }

    pub fn load(path: &Path) -> Medium {
        Medium::new(std::fs::read(path).expect("image"))
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().expect("lock").clone()
    }

    pub fn len(&self) -> u64 {
        self.bytes.lock().expect("lock").len() as u64
    }

    pub fn operations(&self) -> Vec<Operation> {
        self.operations.lock().expect("lock").clone()
    }

    pub fn save(&self, path: &Path) {
        std::fs::write(path, &*self.bytes.lock().expect("lock")).expect("write the image");
    }
}

impl Target for Medium {
    fn name(&self) -> &str {
        "medium"
    }

    fn geometry(&self) -> Geometry {
        Geometry { len: self.len(), sector_size: self.sector_size }
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        buf.copy_from_slice(&self.bytes.lock().expect("lock")[offset as usize..][..buf.len()]);
        Ok(())
    }

    fn read_back(&self, buf: &mut [u8], offset: u64) -> Result<(), TargetError> {
        self.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> Result<(), TargetError> {
        let (offset, bytes) = (offset as usize, buf.to_vec());
        self.bytes.lock().expect("lock")[offset..offset + bytes.len()].copy_from_slice(buf);
        self.operations.lock().expect("lock").push(Operation::Write { offset, bytes });
        Ok(())
    }

    fn zero(&self, offset: u64, len: u64) -> Result<(), TargetError> {
        self.write_at(&vec![0; len as usize], offset)
    }

    fn discard(&self, _: u64, _: u64) -> Result<bool, TargetError> {
        Ok(false)
    }

    fn sync(&self) -> Result<(), TargetError> {
        self.operations.lock().expect("lock").push(Operation::Sync);
        Ok(())
    }
}
