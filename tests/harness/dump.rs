//! Trees as text, one line for each path, so that two trees can be compared and a difference can be read.

use skiff_image::tree::{Body, Tree, display};

/// Kind, mode, owner, time, path, content and attributes of every node; hard links are named by their first path.
pub fn dump(tree: &Tree) -> Vec<String> {
    let mut first = std::collections::BTreeMap::new();
    let line = |(path, id): (Vec<u8>, _)| {
        let node = tree.node(id);
        let path = display(&path);
        let stat = node.stat;
        let owner = first.entry(id).or_insert_with(|| path.clone()).clone();
        let body = match &node.body {
            Body::Dir(_) => String::new(),
            Body::File(content) => blake3::hash(&content.read_all().expect("readable")).to_hex().to_string(),
            Body::Symlink(target) => target.escape_ascii().to_string(),
            Body::Char(device) | Body::Block(device) => format!("{}:{}", device.major, device.minor),
            Body::Fifo | Body::Socket => String::new(),
        };
        let xattrs: Vec<String> = node
            .xattrs
            .iter()
            .map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii()))
            .collect();
        let link = if owner == path { String::new() } else { format!(" = {owner}") };
        format!(
            "{path}{link} {} {:04o} {}:{} @{} [{body}] {xattrs:?}",
            node.body.kind(),
            stat.mode,
            stat.uid,
            stat.gid,
            stat.mtime
        )
    };
    tree.walk().map(line).collect()
}
