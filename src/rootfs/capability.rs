//! File capabilities: the text form of cap_from_text(3) and the bytes of the `security.capability` attribute
//! (include/uapi/linux/capability.h, `struct vfs_cap_data`, `VFS_CAP_REVISION_2`).

/// Name of the attribute.
pub const XATTR: &[u8] = b"security.capability";

/// `VFS_CAP_REVISION_2` in the upper byte of `magic_etc`.
const REVISION_2: u32 = 0x0200_0000;
/// `VFS_CAP_FLAGS_EFFECTIVE`.
const FLAG_EFFECTIVE: u32 = 1;

/// Names by number, from `CAP_CHOWN` (0) to `CAP_CHECKPOINT_RESTORE` (40).
pub const NAMES: [&str; 41] = [
    "cap_chown",
    "cap_dac_override",
    "cap_dac_read_search",
    "cap_fowner",
    "cap_fsetid",
    "cap_kill",
    "cap_setgid",
    "cap_setuid",
    "cap_setpcap",
    "cap_linux_immutable",
    "cap_net_bind_service",
    "cap_net_broadcast",
    "cap_net_admin",
    "cap_net_raw",
    "cap_ipc_lock",
    "cap_ipc_owner",
    "cap_sys_module",
    "cap_sys_rawio",
    "cap_sys_chroot",
    "cap_sys_ptrace",
    "cap_sys_pacct",
    "cap_sys_admin",
    "cap_sys_boot",
    "cap_sys_nice",
    "cap_sys_resource",
    "cap_sys_time",
    "cap_sys_tty_config",
    "cap_mknod",
    "cap_lease",
    "cap_audit_write",
    "cap_audit_control",
    "cap_setfcap",
    "cap_mac_override",
    "cap_mac_admin",
    "cap_syslog",
    "cap_wake_alarm",
    "cap_block_suspend",
    "cap_audit_read",
    "cap_perfmon",
    "cap_bpf",
    "cap_checkpoint_restore",
];

/// Reason why a text is not a set of file capabilities.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// No such capability.
    #[error("unknown capability `{0}`")]
    Unknown(String),
    /// Not of the form `cap_x,cap_y+ep`.
    #[error("`{0}` is not of the form `cap_net_raw+ep`")]
    Syntax(String),
    /// A file has one effective flag for all its capabilities.
    #[error("`{0}` makes some capabilities effective and some not, which a file cannot have")]
    PartlyEffective(String),
}

/// Three sets, one bit for each capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileCapabilities {
    /// Granted to the thread.
    pub permitted: u64,
    /// Granted if the thread's own inheritable set has them.
    pub inheritable: u64,
    /// In effect from the start: none, or all of the others.
    pub effective: u64,
}

impl FileCapabilities {
    /// Applies the clauses of `text` to the sets, as cap_from_text(3) does from left to right.
    pub fn apply(mut self, text: &str) -> Result<FileCapabilities, CapabilityError> {
        for clause in text.split_ascii_whitespace() {
            self = self.clause(clause)?;
        }
        let all = self.permitted | self.inheritable;
        if self.effective != 0 && all & !self.effective != 0 {
            return Err(CapabilityError::PartlyEffective(text.into()));
        }
        Ok(self)
    }

    fn clause(mut self, clause: &str) -> Result<FileCapabilities, CapabilityError> {
        let syntax = || CapabilityError::Syntax(clause.into());
        let start = clause.find(['=', '+', '-']).ok_or_else(syntax)?;
        let (list, mut actions) = clause.split_at(start);
        let set = match list {
            "" if actions.starts_with('=') => all(),
            "" => return Err(syntax()),
            _ => named(list)?,
        };
        while let Some(operator) = actions.chars().next() {
            let end = actions[1..].find(['=', '+', '-']).map_or(actions.len(), |end| end + 1);
            let flags = &actions[1..end];
            if operator != '=' && flags.is_empty() {
                return Err(syntax());
            }
            self.action(operator, flags, set).ok_or_else(syntax)?;
            actions = &actions[end..];
        }
        Ok(self)
    }

    /// One operator with its flags; nothing if a flag is unknown.
    fn action(&mut self, operator: char, flags: &str, set: u64) -> Option<()> {
        if operator == '=' {
            self.permitted &= !set;
            self.inheritable &= !set;
            self.effective &= !set;
        }
        for flag in flags.chars() {
            let target = match flag {
                'p' => &mut self.permitted,
                'i' => &mut self.inheritable,
                'e' => &mut self.effective,
                _ => return None,
            };
            *target = if operator == '-' { *target & !set } else { *target | set };
        }
        Some(())
    }

    /// Reads the value of the attribute in revision 2 or 3; nothing for other bytes.
    pub fn from_xattr(bytes: &[u8]) -> Option<FileCapabilities> {
        let word = |index: usize| {
            let word = bytes.get(index * 4..index * 4 + 4)?;
            Some(u32::from_le_bytes(word.try_into().ok()?))
        };
        let magic = word(0)?;
        if !matches!(magic >> 24, 2 | 3) {
            return None;
        }
        let permitted = u64::from(word(1)?) | u64::from(word(3)?) << 32;
        let inheritable = u64::from(word(2)?) | u64::from(word(4)?) << 32;
        let effective = if magic & FLAG_EFFECTIVE != 0 { permitted | inheritable } else { 0 };
        Some(FileCapabilities { permitted, inheritable, effective })
    }

    /// The value of the attribute: `magic_etc`, then permitted and inheritable for each 32 capabilities, all
    /// little-endian.
    pub fn to_xattr(self) -> [u8; 20] {
        let words = [
            REVISION_2 | if self.effective != 0 { FLAG_EFFECTIVE } else { 0 },
            self.permitted as u32,
            self.inheritable as u32,
            (self.permitted >> 32) as u32,
            (self.inheritable >> 32) as u32,
        ];
        let mut bytes = [0; 20];
        for (chunk, word) in bytes.chunks_exact_mut(4).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// Every known capability.
fn all() -> u64 {
    (1 << NAMES.len()) - 1
}

/// The set of a comma-separated list of names.
fn named(list: &str) -> Result<u64, CapabilityError> {
    list.split(',').try_fold(0, |set, name| {
        if name.eq_ignore_ascii_case("all") {
            return Ok(all());
        }
        let number = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
        number.map(|bit| set | 1 << bit).ok_or_else(|| CapabilityError::Unknown(name.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_accumulate() {
        let caps = FileCapabilities::default().apply("cap_net_raw+ep").unwrap();
        assert_eq!(caps.to_xattr()[..8], [1, 0, 0, 2, 0, 0x20, 0, 0]);
        let caps = caps.apply("cap_checkpoint_restore=eip").unwrap();
        assert_eq!(caps.to_xattr()[12..], [0, 1, 0, 0, 0, 1, 0, 0]);
        let none = caps.apply("=").unwrap();
        assert_eq!(none, FileCapabilities::default());
        assert_eq!(none.apply("all=eip cap_bpf-eip").unwrap().permitted, all() & !(1 << 39));
    }

    #[test]
    fn bad_texts_are_reported() {
        let message = |text: &str| FileCapabilities::default().apply(text).unwrap_err().to_string();
        assert_eq!(message("cap_net_rau+ep"), "unknown capability `cap_net_rau`");
        assert_eq!(message("cap_net_raw"), "`cap_net_raw` is not of the form `cap_net_raw+ep`");
        assert_eq!(message("cap_net_raw+x"), "`cap_net_raw+x` is not of the form `cap_net_raw+ep`");
        assert_eq!(
            message("cap_net_raw+ep cap_chown+p"),
            "`cap_net_raw+ep cap_chown+p` makes some capabilities effective and some not, which a file cannot have"
        );
    }
}
