//! POSIX access control lists: acl(5), and `include/uapi/linux/posix_acl.h` and `posix_acl_xattr.h` of Linux.
//!
//! A node with a list has the list's mask where its mode would have the permissions of the owning group. Whoever stores
//! the node without its list must not store the mask: [`mode_without_list`] has what the list gave the group.

use std::collections::BTreeMap;

use super::Node;

/// Extended attribute of the list that decides who may use a node.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// Extended attribute of the list that a directory hands down to what is made in it.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

/// `POSIX_ACL_XATTR_VERSION`.
const VERSION: u32 = 2;
/// `ACL_UNDEFINED_ID`.
const NO_ID: u32 = u32::MAX;

/// Whom an entry is about, in the order that a list has (`posix_acl_valid` in `fs/posix_acl.c`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// The owner.
    Owner,
    /// A user by id.
    User(u32),
    /// The owning group.
    OwningGroup,
    /// A group by id.
    Group(u32),
    /// The most that named users, the owning group and named groups can have.
    Mask,
    /// Everybody else.
    Other,
}

impl Tag {
    /// Number on disk and id.
    fn to_raw(self) -> (u16, u32) {
        match self {
            Tag::Owner => (0x01, NO_ID),
            Tag::User(id) => (0x02, id),
            Tag::OwningGroup => (0x04, NO_ID),
            Tag::Group(id) => (0x08, id),
            Tag::Mask => (0x10, NO_ID),
            Tag::Other => (0x20, NO_ID),
        }
    }

    fn from_raw(tag: u16, id: u32) -> Option<Tag> {
        Some(match tag {
            0x01 => Tag::Owner,
            0x02 => Tag::User(id),
            0x04 => Tag::OwningGroup,
            0x08 => Tag::Group(id),
            0x10 => Tag::Mask,
            0x20 => Tag::Other,
            _ => return None,
        })
    }
}

/// Account files that a name of a list can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// A name of `/etc/passwd`.
    User,
    /// A name of `/etc/group`.
    Group,
}

/// Reason why a text is not a list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AclError {
    /// An entry is malformed.
    #[error("`{0}` is not an entry of an access list")]
    Entry(String),
    /// The owner, the owning group, the others, or a mask is missing, or something stands there twice.
    #[error("the access list is incomplete or contradicts itself")]
    Invalid,
    /// Nobody knows the id of a name.
    #[error("the access list names {} `{name}`, which has no id", match account { Account::User => "user", Account::Group => "group" })]
    UnknownName {
        /// Kind of the name.
        account: Account,
        /// The name.
        name: String,
    },
}

/// A valid list: who may do what, as bits of `rwx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    entries: BTreeMap<Tag, u8>,
}

impl Acl {
    /// The list in the value of an extended attribute.
    pub fn from_xattr(value: &[u8]) -> Option<Acl> {
        let raw = value.strip_prefix(&VERSION.to_le_bytes())?;
        let (entries, []) = raw.as_chunks::<8>() else { return None };
        let mut list = BTreeMap::new();
        for [a, b, c, d, id @ ..] in entries {
            let tag = Tag::from_raw(u16::from_le_bytes([*a, *b]), u32::from_le_bytes(*id))?;
            let permissions = u8::try_from(u16::from_le_bytes([*c, *d])).ok().filter(|bits| *bits <= 7)?;
            if list.insert(tag, permissions).is_some() {
                return None;
            }
        }
        Acl::valid(list)
    }

    /// The value of an extended attribute.
    pub fn to_xattr(&self) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for (tag, permissions) in &self.entries {
            let (tag, id) = tag.to_raw();
            value.extend(tag.to_le_bytes());
            value.extend(u16::from(*permissions).to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    /// The list in a text as archives have it: entries `tag:name:rwx`, apart by newlines or commas. A fourth field is
    /// the id of the name, as star and libarchive write it; `resolve` knows those of other names.
    pub fn from_text(text: &str, resolve: impl Fn(Account, &str) -> Option<u32>) -> Result<Acl, AclError> {
        let mut list = BTreeMap::new();
        let without_comment = |line: &str| line.split('#').next().unwrap_or("").trim().to_owned();
        for entry in text.split(['\n', ',']).map(without_comment).filter(|entry| !entry.is_empty()) {
            let (tag, permissions) = entry_of(&entry, &resolve)?;
            if list.insert(tag, permissions).is_some() {
                return Err(AclError::Invalid);
            }
        }
        Acl::valid(list).ok_or(AclError::Invalid)
    }

    fn valid(entries: BTreeMap<Tag, u8>) -> Option<Acl> {
        let has = |tag| entries.contains_key(&tag);
        let named = entries.keys().any(|tag| matches!(tag, Tag::User(_) | Tag::Group(_)));
        let complete = has(Tag::Owner) && has(Tag::OwningGroup) && has(Tag::Other);
        (complete && (has(Tag::Mask) || !named)).then_some(Acl { entries })
    }

    fn bits(&self, tag: Tag) -> Option<u32> {
        self.entries.get(&tag).map(|bits| u32::from(*bits))
    }

    /// Returns whether a mode says the same.
    pub fn is_mode(&self) -> bool {
        self.entries.len() == 3
    }

    /// The mode of a node that has this list: with the mask for the group, if there is one.
    pub fn mode(&self, mode: u32) -> u32 {
        self.with_group(mode, self.bits(Tag::Mask).or(self.bits(Tag::OwningGroup)))
    }

    /// The mode of a node that had this list and has it no longer: with what the list gave the owning group.
    pub fn mode_without(&self, mode: u32) -> u32 {
        let mask = self.bits(Tag::Mask).unwrap_or(7);
        self.with_group(mode, self.bits(Tag::OwningGroup).map(|group| group & mask))
    }

    fn with_group(&self, mode: u32, group: Option<u32>) -> u32 {
        let (owner, other) = (self.bits(Tag::Owner), self.bits(Tag::Other));
        let bits = |bits: Option<u32>| bits.unwrap_or(0);
        mode & !0o777 | bits(owner) << 6 | bits(group) << 3 | bits(other)
    }
}

/// One entry: whom it is about, and what they may do.
fn entry_of(entry: &str, resolve: impl Fn(Account, &str) -> Option<u32>) -> Result<(Tag, u8), AclError> {
    let wrong = || AclError::Entry(entry.into());
    let fields: Vec<&str> =
        entry.strip_prefix("default:").unwrap_or(entry).split(':').map(str::trim).collect();
    // The name of a mask or of the others may be left out with its colon.
    let (kind, name, permissions, id) = match fields.as_slice() {
        [kind @ ("mask" | "m" | "other" | "o"), permissions] => (*kind, "", *permissions, None),
        [kind, name, permissions] => (*kind, *name, *permissions, None),
        [kind, name, permissions, id] => (*kind, *name, *permissions, Some(*id)),
        _ => return Err(wrong()),
    };
    let named = |account, tag: fn(u32) -> Tag| {
        let id = match id.or(Some(name).filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))) {
            Some(id) => id.parse().map_err(|_| wrong())?,
            None => {
                resolve(account, name).ok_or_else(|| AclError::UnknownName { account, name: name.into() })?
            }
        };
        Ok(tag(id))
    };
    let tag = match (kind, name) {
        ("user" | "u", "") => Tag::Owner,
        ("group" | "g", "") => Tag::OwningGroup,
        ("mask" | "m", "") => Tag::Mask,
        ("other" | "o", "") => Tag::Other,
        ("user" | "u", _) => named(Account::User, Tag::User)?,
        ("group" | "g", _) => named(Account::Group, Tag::Group)?,
        _ => return Err(wrong()),
    };
    Ok((tag, permissions_of(permissions).ok_or_else(wrong)?))
}

/// `rwx` with dashes, or an octal digit.
fn permissions_of(text: &str) -> Option<u8> {
    if let [digit @ b'0'..=b'7'] = text.as_bytes() {
        return Some(digit - b'0');
    }
    text.bytes().try_fold(0, |bits, letter| {
        Some(
            bits | match letter {
                b'r' => 4,
                b'w' => 2,
                b'x' => 1,
                b'-' => 0,
                _ => return None,
            },
        )
    })
}

/// The mode of a node where its list is not stored. What is no list takes the permissions of the group away: nobody
/// knows what it gave.
pub fn mode_without_list(node: &Node) -> u32 {
    let Some(value) = node.xattrs.get(ACCESS) else { return node.stat.mode };
    Acl::from_xattr(value).map_or(node.stat.mode & !0o070, |list| list.mode_without(node.stat.mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nobody(_: Account, _: &str) -> Option<u32> {
        None
    }

    #[test]
    fn texts_of_all_writers_are_the_same_list() {
        let gnu = "user::rw-\nuser:1000:rwx\ngroup::r--\ngroup:lab:-w-\nmask::rwx\nother::---\n";
        let resolve = |account, name: &str| ((account, name) == (Account::Group, "lab")).then_some(7);
        let list = Acl::from_text(gnu, resolve).expect("valid");
        let star = "user::rw-,user:joe:rwx:1000,group::r--,group:lab:-w-:7,mask::rwx,other::---";
        assert_eq!(Acl::from_text(star, nobody), Ok(list.clone()));
        let short = "o:- #effective:-\ndefault:m:7\ng:lab:2:7\ng::4\nu:joe:rwx:1000\nu::6";
        assert_eq!(Acl::from_text(short, nobody), Ok(list.clone()));
        assert_eq!(Acl::from_xattr(&list.to_xattr()), Some(list));
    }

    #[test]
    fn the_group_gets_what_the_list_gave_it_and_not_the_mask() {
        let list = |text: &str| Acl::from_text(text, nobody).expect("valid");
        let wide = list("u::rw-,u:1:rwx,g::r--,m::rwx,o::---");
        assert_eq!((wide.mode(0o4777), wide.mode_without(0o4670)), (0o4670, 0o4640));
        let masked = list("u::rw-,u:1:rwx,g::rwx,m::r-x,o::--x");
        assert_eq!((masked.mode(0), masked.mode_without(0o651)), (0o651, 0o651));
        assert!(list("u::rwx,g::r-x,o::---").is_mode() && !masked.is_mode());
    }

    #[test]
    fn what_is_no_list_is_told() {
        let message = |text: &str| Acl::from_text(text, nobody).unwrap_err().to_string();
        assert_eq!(message("u::rwx,g::rwz,o::-"), "`g::rwz` is not an entry of an access list");
        assert_eq!(message("u::rwx,everyone@:rwx"), "`everyone@:rwx` is not an entry of an access list");
        assert_eq!(message("u::rwx,o::-"), "the access list is incomplete or contradicts itself");
        assert_eq!(message("u::7,u:5:7,g::7,o::7"), "the access list is incomplete or contradicts itself");
        assert_eq!(message("u::7,u::7,g::7,o::7"), "the access list is incomplete or contradicts itself");
        assert_eq!(message("u::7,u:joe:7"), "the access list names user `joe`, which has no id");
        for value in [&b"\x02\0\0\0\x01"[..], b"\x01\0\0\0", b"\x02\0\0\0\x01\0\x08\0\0\0\0\0"] {
            assert_eq!(Acl::from_xattr(value), None);
        }
    }
}
