//! The simplest local cache.

use std::collections::HashMap;
use std::sync::Mutex;

use skiff_image::cache::{Block, BlockCache, Key, Summary};

#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<Key, Block>>);

impl Memory {
    pub fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.0.lock().expect("no panic").keys().copied().collect();
        keys.sort_by_key(|key| key.raw);
        keys
    }

    pub fn forget(&self, key: &Key) {
        self.0.lock().expect("no panic").remove(key);
    }
}

impl BlockCache for Memory {
    fn get(&self, key: &Key) -> Option<Block> {
        self.0.lock().expect("no panic").get(key).cloned()
    }

    fn put(&self, key: &Key, block: &Block) {
        self.0.lock().expect("no panic").insert(*key, block.clone());
    }

    fn finish(&self) -> Summary {
        Summary::default()
    }
}

/// A cache on a disk that is full, or read-only.
#[derive(Debug)]
pub struct Keepless;

impl BlockCache for Keepless {
    fn get(&self, _: &Key) -> Option<Block> {
        None
    }

    fn put(&self, _: &Key, _: &Block) {}

    fn finish(&self) -> Summary {
        Summary::default()
    }
}
