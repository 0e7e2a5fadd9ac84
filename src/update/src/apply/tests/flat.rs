//! Slots on a target: a filesystem without order. Lengths, names and contents are sectors of their own, and those that
//! were changed since the last sync reach the medium in any order.

use std::io;

use skiff_disk::storage::Target;

use crate::Slot;
use crate::apply::{HEAD, Room, Store};
use crate::state::{Copy, Sectors, record};

pub(crate) const NAMES: [&str; 3] = ["kernel", "rootfs.squashfs", HEAD];
const SECTOR: u64 = 512;
/// Sectors of a file, the first for its length.
const AREA: u64 = 16;
/// Bytes of the medium.
pub(crate) const LEN: usize = ((2 + 2 * NAMES.len() as u64 * AREA) * SECTOR) as usize;

pub(crate) struct Flat<'a>(pub(crate) &'a dyn Target);

impl Flat<'_> {
    fn place(slot: Slot, name: &str) -> io::Result<u64> {
        let index = NAMES.iter().position(|known| *known == name).ok_or(io::ErrorKind::InvalidInput)?;
        let slot = if slot == Slot::A { 0 } else { NAMES.len() };
        Ok((2 + (slot + index) as u64 * AREA) * SECTOR)
    }

    fn put_len(&self, slot: Slot, name: &str, len: Option<u64>) -> io::Result<()> {
        let mut sector = [0; SECTOR as usize];
        if let Some(len) = len {
            sector[0] = 1;
            sector[1..9].copy_from_slice(&len.to_le_bytes());
        }
        self.0.write_at(&sector, Self::place(slot, name)?).map_err(io::Error::other)
    }
}

impl Sectors for Flat<'_> {
    fn read(&self, copy: Copy) -> io::Result<[u8; record::LEN]> {
        let mut sector = [0; record::LEN];
        self.0
            .read_back(&mut sector, if copy == Copy::First { 0 } else { SECTOR })
            .map_err(io::Error::other)?;
        Ok(sector)
    }

    fn write(&self, copy: Copy, sector: &[u8; record::LEN]) -> io::Result<()> {
        self.0.write_at(sector, if copy == Copy::First { 0 } else { SECTOR }).map_err(io::Error::other)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync().map_err(io::Error::other)
    }
}

impl Store for Flat<'_> {
    fn len(&self, slot: Slot, name: &str) -> io::Result<Option<u64>> {
        let mut sector = [0; 9];
        self.0.read_at(&mut sector, Self::place(slot, name)?).map_err(io::Error::other)?;
        let len = u64::from_le_bytes(sector[1..].try_into().expect("8 bytes"));
        Ok((sector[0] == 1).then_some(len))
    }

    fn names(&self, slot: Slot) -> io::Result<Vec<String>> {
        let there = NAMES.into_iter().filter(|name| self.len(slot, name).is_ok_and(|len| len.is_some()));
        Ok(there.map(str::to_owned).collect())
    }

    fn read_at(&self, slot: Slot, name: &str, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_at(buf, Self::place(slot, name)? + SECTOR + offset).map_err(io::Error::other)
    }

    fn read_back(&self, slot: Slot, name: &str, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_back(buf, Self::place(slot, name)? + SECTOR + offset).map_err(io::Error::other)
    }

    fn create(&self, slot: Slot, name: &str, len: u64) -> io::Result<()> {
        let there = self.len(slot, name)?;
        self.put_len(slot, name, Some(there.unwrap_or_default().min(len)))
    }

    fn write_at(&self, slot: Slot, name: &str, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        assert!(end <= (AREA - 1) * SECTOR, "{name} is too large for its area");
        self.0.write_at(bytes, Self::place(slot, name)? + SECTOR + offset).map_err(io::Error::other)?;
        match self.len(slot, name)? {
            Some(len) if len >= end => Ok(()),
            _ => self.put_len(slot, name, Some(end)),
        }
    }

    fn remove(&self, slot: Slot, name: &str) -> io::Result<()> {
        self.put_len(slot, name, None)
    }

    fn settle(&self, _: Slot) -> io::Result<()> {
        Sectors::sync(self)
    }

    fn room(&self, _: Slot, _: &[(&str, u64)]) -> io::Result<Vec<Room>> {
        Ok(Vec::new())
    }
}
