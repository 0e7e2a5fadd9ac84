//! From a tree to clusters: which file begins where, and what each directory holds. Reads metadata only.

use std::collections::HashMap;

use super::geometry::{self, Geometry, Kind, MAX_ROOT_ENTRIES};
use super::kept::KeptEntry;
use super::names::{self, StoredName};
use super::raw::{DIR_ENTRY_SIZE, DosTime, long_entries};
use super::{FatError, FatType, Options};
use crate::fs::{Holds, Loss};
use crate::tree::{Body, Content, NodeId, Tree, display};
use crate::value::Timestamp;

/// Most entries of a directory: `FAT_MAX_DIR_ENTRIES` in `include/uapi/linux/msdos_fs.h` of Linux.
const MAX_DIR_ENTRIES: u64 = 65_536;
/// The first cluster number that is data.
pub(super) const FIRST_CLUSTER: u64 = 2;

/// A filesystem whose every byte is decided. Borrows the contents of the tree.
#[derive(Debug)]
pub struct Layout<'t> {
    pub(super) geometry: Geometry,
    pub(super) options: Options,
    pub(super) label: [u8; 11],
    /// In the order of their clusters; the root directory is the first.
    pub(super) objects: Vec<Object<'t>>,
    /// Clusters in use.
    pub(super) used: u64,
    pub(super) dropped: Vec<Loss>,
}

/// No attributes. Times are rounded without a word: to two seconds, and into 1980 to 2107.
const HOLDS: Holds = Holds { xattr: KeptEntry::is_name, times: Timestamp::MIN..=Timestamp::MAX };

/// Everything that a FAT of `tree` will not have, as [`Layout::dropped`].
pub fn losses(tree: &Tree) -> Vec<Loss> {
    HOLDS.losses(tree)
}

impl Layout<'_> {
    /// Attributes that the files will not have.
    pub fn dropped(&self) -> &[Loss] {
        &self.dropped
    }

    /// `FAT16` or `FAT32`.
    pub fn fat_type(&self) -> FatType {
        match self.geometry.kind {
            Kind::Fat16 => FatType::Fat16,
            Kind::Fat32 => FatType::Fat32,
        }
    }

    /// Bytes per cluster.
    pub fn cluster_size(&self) -> u64 {
        self.geometry.cluster_size()
    }

    /// Number of clusters.
    pub fn clusters(&self) -> u64 {
        self.geometry.clusters
    }

    /// Bytes from the start of the region to the first cluster.
    pub fn data_start(&self) -> u64 {
        self.geometry.data_start()
    }

    /// Bytes of the region up to the end of the last cluster in use: behind it all is free.
    pub fn used_len(&self) -> u64 {
        self.geometry.data_start() + self.used * self.geometry.cluster_size()
    }

    /// Bytes in free clusters.
    pub fn free_len(&self) -> u64 {
        (self.geometry.clusters - self.used) * self.geometry.cluster_size()
    }
}

/// A directory or file with its place.
#[derive(Debug)]
pub(super) struct Object<'t> {
    pub path: Vec<u8>,
    pub time: DosTime,
    /// Entry of a file that is written again.
    pub kept: Option<KeptEntry>,
    pub body: ObjectBody<'t>,
    /// First cluster; zero for what has none (an empty file, the root of FAT16).
    pub first: u64,
    /// Number of clusters.
    pub count: u64,
}

impl Object<'_> {
    /// Bytes it takes in clusters.
    fn len(&self) -> u64 {
        match &self.body {
            ObjectBody::Dir(dir) => dir.len(),
            ObjectBody::File(content) => content.len(),
        }
    }
}

#[derive(Debug)]
pub(super) enum ObjectBody<'t> {
    Dir(Dir),
    File(&'t Content),
}

/// A directory: what it holds, by index into [`Layout::objects`].
#[derive(Debug)]
pub(super) struct Dir {
    /// The directory it is in; `None` for the root, which has no `.` and `..`.
    pub parent: Option<usize>,
    /// Set if the label is its first entry: in the root, if there is a label.
    pub has_label: bool,
    pub entries: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub name: StoredName,
    pub object: usize,
}

impl Dir {
    /// Number of 32-byte entries.
    fn slots(&self) -> u64 {
        let named: usize = self.entries.iter().map(|entry| 1 + long_entries(&entry.name.long)).sum();
        let dots = if self.parent.is_some() { 2 } else { 0 };
        dots + u64::from(self.has_label) + named as u64
    }

    fn len(&self) -> u64 {
        self.slots() * DIR_ENTRY_SIZE
    }
}

/// The smallest length in bytes for which [`layout`] succeeds with this tree and these options.
pub fn minimum_size(tree: &Tree, options: &Options) -> Result<u64, FatError> {
    let objects = Collector::collect(tree, &options.label)?;
    let slots = root_slots(&objects);
    let clusters = |kind, cluster_size| total_clusters(&objects, kind, cluster_size);
    let candidates = geometry::candidates(options, slots, clusters)?;
    let fits = |len: &u64| {
        let chosen = geometry::choose(options, slots, *len);
        chosen.and_then(|geometry| ensure_fits(&objects, &geometry)).is_ok()
    };
    if let Some(len) = candidates.iter().copied().find(fits) {
        return Ok(len);
    }
    // Nothing fits: the largest candidate says why.
    let largest = candidates.last().copied().unwrap_or(0);
    ensure_fits(&objects, &geometry::choose(options, slots, largest)?).map(|()| largest)
}

/// Places a tree in a region of `region_len` bytes.
///
/// # Errors
/// If FAT cannot hold what is in the tree, or the sizes do not fit the type or the region.
pub fn layout<'t>(tree: &'t Tree, options: &Options, region_len: u64) -> Result<Layout<'t>, FatError> {
    let label = names::label(&options.label)?;
    let mut objects = Collector::collect(tree, &options.label)?;
    let geometry = geometry::choose(options, root_slots(&objects), region_len)?;
    ensure_fits(&objects, &geometry)?;
    let mut used = 0;
    for (index, object) in objects.iter_mut().enumerate() {
        object.count = clusters_of(object, index, geometry.kind, geometry.cluster_size());
        object.first = if object.count == 0 { 0 } else { FIRST_CLUSTER + used };
        used += object.count;
    }
    Ok(Layout { geometry, options: options.clone(), label, objects, used, dropped: losses(tree) })
}

fn root_slots(objects: &[Object]) -> u64 {
    match &objects[0].body {
        ObjectBody::Dir(dir) => dir.slots(),
        ObjectBody::File(_) => unreachable!("the first object is the root directory"),
    }
}

fn clusters_of(object: &Object, index: usize, kind: Kind, cluster_size: u64) -> u64 {
    let clusters = object.len().div_ceil(cluster_size);
    match (index, kind) {
        // The root of FAT16 lies before the clusters; that of FAT32 has one even if it is empty.
        (0, Kind::Fat16) => 0,
        (0, Kind::Fat32) => clusters.max(1),
        _ => clusters,
    }
}

fn total_clusters(objects: &[Object], kind: Kind, cluster_size: u64) -> u64 {
    let of = |(index, object)| clusters_of(object, index, kind, cluster_size);
    objects.iter().enumerate().map(of).sum()
}

fn ensure_fits(objects: &[Object], geometry: &Geometry) -> Result<(), FatError> {
    let slots = root_slots(objects);
    if geometry.kind == Kind::Fat16 && slots > geometry.root_entries {
        let limit = MAX_ROOT_ENTRIES;
        return Err(FatError::DirectoryFull { path: "/".into(), entries: slots, limit });
    }
    let need = total_clusters(objects, geometry.kind, geometry.cluster_size());
    if need > geometry.clusters {
        let size = geometry.cluster_size();
        return Err(FatError::Full { need: need * size, have: geometry.clusters * size });
    }
    Ok(())
}

/// Turns a tree into objects in its walking order.
struct Collector<'t> {
    tree: &'t Tree,
    objects: Vec<Object<'t>>,
    /// Index of the object of each directory and how many of its entries have their object.
    dirs: HashMap<Vec<u8>, (usize, usize)>,
}

impl<'t> Collector<'t> {
    fn collect(tree: &'t Tree, label: &str) -> Result<Vec<Object<'t>>, FatError> {
        let mut collector = Collector { tree, objects: Vec::new(), dirs: HashMap::new() };
        for (path, id) in tree.walk() {
            let parent = collector.enter_parent(&path);
            let body = match &tree.node(id).body {
                Body::Dir(_) => ObjectBody::Dir(collector.dir(&path, id, parent, label)?),
                Body::File(content) => ObjectBody::File(checked(content, &path)?),
                other => return Err(FatError::Kind { path: display(&path), kind: other.kind() }),
            };
            let time = DosTime::from_unix(tree.node(id).stat.mtime);
            let is_file = matches!(body, ObjectBody::File(_));
            let kept = KeptEntry::of(tree.node(id)).filter(|_| is_file);
            collector.objects.push(Object { path, time, kept, body, first: 0, count: 0 });
        }
        Ok(collector.objects)
    }

    /// Tells the parent directory of `path` that its next entry is the object that is pushed next.
    fn enter_parent(&mut self, path: &[u8]) -> Option<usize> {
        if path.is_empty() {
            return None;
        }
        let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let (index, next) =
            self.dirs.get_mut(&path[..slash]).expect("a walk visits a directory before what is in it");
        let object = self.objects.len();
        if let ObjectBody::Dir(dir) = &mut self.objects[*index].body {
            dir.entries[*next].object = object;
        }
        *next += 1;
        Some(*index)
    }

    /// A directory whose entries do not know their objects yet.
    fn dir(&mut self, path: &[u8], id: NodeId, parent: Option<usize>, label: &str) -> Result<Dir, FatError> {
        let names: Vec<&[u8]> = match self.tree.node(id).entries() {
            Some(entries) => entries.keys().map(|name| &**name).collect(),
            None => Vec::new(),
        };
        let stored = names::store(path, &names)?;
        let entries = stored.into_iter().map(|name| Entry { name, object: 0 }).collect();
        let dir = Dir { parent, has_label: parent.is_none() && !label.is_empty(), entries };
        if dir.slots() > MAX_DIR_ENTRIES {
            let (entries, limit) = (dir.slots(), MAX_DIR_ENTRIES);
            return Err(FatError::DirectoryFull { path: display(path), entries, limit });
        }
        self.dirs.insert(path.to_vec(), (self.objects.len(), 0));
        Ok(dir)
    }
}

fn checked<'t>(content: &'t Content, path: &[u8]) -> Result<&'t Content, FatError> {
    if content.len() > u64::from(u32::MAX) {
        return Err(FatError::FileTooLarge { path: display(path), size: content.len() });
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Device, Node, Stat};

    const STAT: Stat = Stat { mode: 0o644, uid: 0, gid: 0, mtime: 0 };

    fn options(fat_type: FatType) -> Options {
        Options {
            fat_type,
            label: "boot".into(),
            volume_id: 1,
            timestamp: 0,
            hidden_sectors: 0,
            sector_size: 512,
            cluster_size: None,
        }
    }

    fn tree_with(body: Body) -> Tree {
        let mut tree = Tree::new(STAT);
        tree.insert(Tree::ROOT, b"x", Node::new(STAT, body));
        tree
    }

    fn message(tree: &Tree, len: u64) -> String {
        layout(tree, &options(FatType::Fat16), len).unwrap_err().to_string()
    }

    fn file(len: u64) -> Body {
        Body::File(Content::file(std::path::Path::new("/nonexistent"), 0, len))
    }

    #[test]
    fn what_fat_cannot_hold_is_an_error() {
        let mib = 1 << 20;
        assert_eq!(
            message(&tree_with(Body::Symlink(b"y".as_slice().into())), 8 * mib),
            "`/x` is a symbolic link, and FAT can only store directories and files"
        );
        assert_eq!(
            message(&tree_with(Body::Char(Device { major: 1, minor: 3 })), 8 * mib),
            "`/x` is a character device, and FAT can only store directories and files"
        );
        assert_eq!(
            message(&tree_with(file(1 << 32)), 8 * mib),
            "`/x` has 4 GiB but a file on FAT has at most 4294967295 bytes"
        );
        assert_eq!(
            message(&tree_with(file(9 * mib)), 8 * mib),
            "the files need 9 MiB but the FAT filesystem has 8140 KiB"
        );
        let mut tree = Tree::new(STAT);
        for index in 0..33_000 {
            tree.insert(Tree::ROOT, format!("lower-case {index}").as_bytes(), Node::new(STAT, file(0)));
        }
        assert_eq!(
            message(&tree, 64 * mib),
            "`/` needs 98901 directory entries but a directory on FAT has at most 65536"
        );
    }

    #[test]
    fn the_minimum_is_enough_and_one_sector_less_is_not() {
        for fat_type in [FatType::Fat16, FatType::Fat32, FatType::Auto] {
            for len in [0, 5 << 20, 16 << 20, 100 << 20, 255 << 20, 259 << 20, 300 << 20, 600 << 20] {
                let tree = tree_with(file(len));
                let options = options(fat_type);
                let minimum = minimum_size(&tree, &options).expect("possible");
                layout(&tree, &options, minimum).expect("the minimum fits");
                layout(&tree, &options, minimum - 512).expect_err("less than the minimum");
            }
        }
    }

    #[test]
    fn a_file_too_large_for_the_type_has_no_minimum() {
        let error = minimum_size(&tree_with(file(3 << 30)), &options(FatType::Fat16)).unwrap_err();
        assert!(error.to_string().starts_with("FAT16 has at most 65524 clusters, but "), "{error}");
    }
}
