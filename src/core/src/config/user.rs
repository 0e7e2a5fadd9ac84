//! Settings of users of the host.

use super::remark::{Log, Reason};
use super::section::{Section, Text};
use super::value;
use super::yaml::{Key, Node};

/// A user of the host who logs in to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Name on the host.
    pub name: Text,
    /// Where a login leads to.
    pub to: Login,
    /// How one proves to be the user.
    pub auth: Auth,
}

/// Where a login leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A shell of the host.
    Host,
    /// A container.
    Container {
        /// Its name.
        container: Text,
        /// User in it, as a name, a number, or `USER:GROUP`; that of the image if there is none.
        user: Option<String>,
        /// Program and arguments of a session; the shell of the user in the container if there is none.
        shell: Vec<String>,
        /// The user is made in the container if it is not there.
        create: bool,
    },
}

/// How a user logs in.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Auth {
    /// Keys of root are keys of this user too.
    pub copy_root_keys: bool,
    /// Public keys, as lines of `authorized_keys`.
    pub ssh_keys: Vec<String>,
    /// Password.
    pub password: Password,
}

/// Password of a user.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Password {
    /// None is right; keys work.
    #[default]
    None,
    /// None is asked for on a console. `sshd` refuses such a login unless it is told otherwise.
    Empty,
    /// In clear text, which the file should not have.
    Clear(String),
    /// As a hash, the form of `/etc/shadow`.
    Hash(String),
}

/// Passwords do not appear in messages.
impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Password::None => "None",
            Password::Empty => "Empty",
            Password::Clear(_) => "Clear",
            Password::Hash(_) => "Hash",
        })
    }
}

pub(super) fn read(key: &Key, node: &Node, log: &mut Log) -> Option<User> {
    let name = Text { value: key.name.clone(), place: key.place };
    if let Err(reason) = value::user_name(&key.name) {
        log.error(key.place, reason.message, reason.hint);
    }
    let mut section = Section::open(format!("user `{}`", key.name), key.place, node, log)?;
    let container = section.text("container");
    let user = section.parsed("containerUser", value::container_user);
    let shell = shell(&mut section);
    let create = section.flag("createContainerUser").unwrap_or_default();
    let host = section.flag("host").unwrap_or_default();
    let root = section.flag("allowRoot").unwrap_or_default();
    if key.name == "root" && !host && !root {
        let hint = "write `allowRoot: true` if there is another way to a shell of the host";
        let message = "user `root` would have no shell of the host any more";
        section.log.error(key.place, message, Some(hint.into()));
    }
    if root && key.name != "root" {
        let place = section.place_of("allowRoot");
        section.refuse(place, "allowRoot", Reason::new("it is for the user `root`").hint("take it out"));
    }
    let to = match (container, host) {
        (Some(container), false) => {
            if create && user.as_ref().is_none_or(|user| user.contains(':')) {
                let place = section.place_of("createContainerUser");
                let reason = Reason::new("there is no `containerUser` to make").hint("name it");
                section.refuse(place, "createContainerUser", reason);
            }
            Some(Login::Container { container, user, shell, create })
        }
        (None, true) => {
            for key in ["containerUser", "containerShell", "createContainerUser"] {
                if section.has(key) {
                    let place = section.place_of(key);
                    section.refuse(
                        place,
                        key,
                        Reason::new("this user has a shell of the host, by `host: true`"),
                    );
                }
            }
            Some(Login::Host)
        }
        (Some(container), true) => {
            let reason = Reason::new("there is `container` too").hint("keep one of them");
            section.refuse(container.place, "host", reason);
            None
        }
        (None, false) => {
            if !section.has("container") {
                let hint = "write `container: NAME`, or `host: true` for a shell of the host";
                section.refuse(key.place, "container", Reason::new("it is missing").hint(hint));
            }
            None
        }
    };
    let auth = match section.take("auth") {
        Some((_, node)) => auth(&key.name, node, section.log),
        None => Some(Auth::default()),
    };
    section.close(&[]);
    Some(User { name, to: to?, auth: auth? })
}

fn shell(section: &mut Section<'_>) -> Vec<String> {
    let shell = section.words("containerShell");
    if shell.first().is_some_and(String::is_empty) {
        let place = section.place_of("containerShell");
        section.refuse(place, "containerShell", Reason::new("the program has no name"));
    }
    shell
}

fn auth(user: &str, node: &Node, log: &mut Log) -> Option<Auth> {
    let mut section = Section::open(format!("`auth` of user `{user}`"), node.place, node, log)?;
    let copy_root_keys = section.flag("copyRootKeys").unwrap_or_default();
    let ssh_keys = section.list("sshKeys", ssh_key).into_iter().map(|(key, _)| key).collect();
    let password = section.text("password").filter(|text| !text.value.is_empty());
    let empty = section.flag("allowEmptyPassword").unwrap_or_default();
    let locked = section.flag("locked").unwrap_or_default();
    let given = [("password", password.is_some()), ("allowEmptyPassword", empty), ("locked", locked)];
    let mut given = given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key);
    if let (Some(first), Some(second)) = (given.next(), given.next()) {
        let place = section.place_of(second);
        let message = format!("there is `{first}` too, and only one of them can be");
        section.refuse(place, second, Reason::new(message).hint("keep one of them; keys work with each"));
    }
    let password = match password {
        Some(text) => password_of(&mut section, &text),
        None if empty => Password::Empty,
        None => Password::None,
    };
    section.close(&[]);
    Some(Auth { copy_root_keys, ssh_keys, password })
}

fn password_of(section: &mut Section<'_>, text: &Text) -> Password {
    if text.value.contains(['\n', '\r']) {
        section.refuse(text.place, "password", Reason::new("a password has one line"));
    }
    if is_hash(&text.value) {
        return Password::Hash(text.value.clone());
    }
    let message = format!("`password` of {}: it is readable in this file", section.what);
    let hint = "write its hash, which `openssl passwd -6` prints";
    section.log.note(text.place, message, Some(hint.into()));
    Password::Clear(text.value.clone())
}

/// `$METHOD$...$HASH`, as crypt(5) has it.
fn is_hash(text: &str) -> bool {
    let methods = ["$1$", "$5$", "$6$", "$2a$", "$2b$", "$2y$", "$y$", "$gy$", "$7$"];
    let known = methods.iter().any(|method| text.starts_with(method));
    let letters = text.bytes().all(|byte| byte.is_ascii_graphic() && !b":;*!\\".contains(&byte));
    known && letters && text.matches('$').count() >= 3 && text.len() >= 20
}

/// A line of `authorized_keys`: options, type, key, comment. The key is checked for its letters only.
fn ssh_key(text: &str) -> Result<String, Reason> {
    let text = text.trim();
    if text.contains(['\n', '\r']) {
        return Err(Reason::new("a key has one line").hint("write each key as an entry of its own"));
    }
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let type_at = words.iter().position(|word| {
        let rest = word.strip_prefix("sk-").unwrap_or(word);
        ["ssh-", "ecdsa-sha2-"].iter().any(|start| rest.starts_with(start))
    });
    let key = type_at.and_then(|at| words.get(at + 1));
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    // Each key of OpenSSH begins with the length of its type, less than 64 KiB.
    match key.is_some_and(|key| key.starts_with("AAAA") && key.len() > 40 && key.bytes().all(letter)) {
        true => Ok(text.into()),
        false => {
            let begin: String = text.chars().take(20).collect();
            Err(Reason::new(format!("`{begin}...` is no public key of OpenSSH"))
                .hint("take the line of a file such as `~/.ssh/id_ed25519.pub`"))
        }
    }
}
