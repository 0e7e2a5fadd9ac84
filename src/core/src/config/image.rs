//! Settings of images.

use super::remark::{Log, Reason};
use super::section::{Section, Text};
use super::yaml::{Key, Node};
use super::{number, value};

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Reference, as the file has it.
    pub reference: Text,
    /// Asked of a registry.
    pub pull: Option<Pull>,
    /// Built on the device.
    pub build: Option<Build>,
    /// Absolute path of an archive of an image (of OCI, or of `docker save`) on the device.
    pub archive: Option<String>,
    /// Absolute path of a tar archive with a root filesystem.
    pub import: Option<String>,
}

/// When and from where an image is pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// When.
    pub policy: PullPolicy,
    /// Registry that is put before the reference.
    pub registry: Option<String>,
    /// Tries after the first that failed.
    pub retries: u32,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum PullPolicy {
    /// At every `apply`.
    Always,
    /// When it is not there.
    #[default]
    IfNotPresent,
    /// When it is not there and its build failed.
    IfBuildFails,
}

/// How an image is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Absolute path of a directory or `.tar.gz`, or the address of a `.tar.gz`.
    pub source: String,
    /// Path of the Dockerfile in the source.
    pub dockerfile: String,
    /// Values of `ARG`s; those without one take that of the Dockerfile.
    pub arguments: Vec<(String, String)>,
    /// Keeps the intermediate containers.
    pub preserve_intermediate: bool,
    /// Makes one layer of all.
    pub squash: bool,
}

/// Tries of a pull after the first, if the file does not say.
const RETRIES: u32 = 5;

pub(super) fn read(key: &Key, node: &Node, log: &mut Log) -> Option<Image> {
    let reference = Text { value: key.name.clone(), place: key.place };
    if let Err(reason) = self::reference(&key.name) {
        log.error(key.place, reason.message, reason.hint);
    }
    let mut section = Section::open(format!("image `{}`", key.name), key.place, node, log)?;
    let pull = section.take("pull");
    let build = section.take("build");
    let archive = section.parsed("archive", value::path);
    let import = section.parsed("import", value::path);
    let ways = ["pull", "build", "archive", "import"];
    if ways.iter().all(|way| !section.has(way)) {
        let message = format!("image `{}` has none of `pull`, `build`, `archive` and `import`", key.name);
        section.log.error(key.place, message, Some("`pull: {}` asks its registry for it".into()));
    }
    if archive.is_some() && import.is_some() {
        let place = section.place_of("import");
        section.refuse(place, "import", Reason::new("there is an `archive` too").hint("keep one of them"));
    }
    let pull = pull.and_then(|(_, node)| self::pull(&key.name, node, section.log));
    let build = build.and_then(|(_, node)| self::build(&key.name, node, section.log));
    section.close(&[]);
    Some(Image { reference, pull, build, archive, import })
}

fn pull(image: &str, node: &Node, log: &mut Log) -> Option<Pull> {
    let mut section = Section::open(format!("`pull` of image `{image}`"), node.place, node, log)?;
    let note = "it is called `pullPolicy`, and Skiff Core took no notice of it; now it counts";
    let policy = section.take_or("pullPolicy", "policy", note);
    let policy = policy.and_then(|(key, node)| policy_of(&mut section, &key.name, node)).unwrap_or_default();
    let registry = section.parsed("registry", registry);
    let retries = section.parsed("retries", |text| {
        let number = text.parse().ok().filter(|number| *number <= 1000);
        number.ok_or_else(|| Reason::new(format!("`{text}` is no number from 0 to 1000")))
    });
    section.close(&[]);
    Some(Pull { policy, registry, retries: retries.unwrap_or(RETRIES) })
}

fn policy_of(section: &mut Section<'_>, key: &str, node: &Node) -> Option<PullPolicy> {
    const WORDS: [&str; 3] = ["always", "ifnotpresent", "ifbuildfails"];
    let super::yaml::Body::Scalar(word) = &node.body else {
        section.refuse(
            node.place,
            key,
            Reason::new(format!("a text is wanted, and this is {}", node.kind())),
        );
        return None;
    };
    match word.to_lowercase().as_str() {
        "always" => Some(PullPolicy::Always),
        "ifnotpresent" => Some(PullPolicy::IfNotPresent),
        "ifbuildfails" => Some(PullPolicy::IfBuildFails),
        "ifnotexists" => {
            let message = format!("`{key}` of {}: `{word}` is called `ifnotpresent`", section.what);
            section.log.note(node.place, message, None);
            Some(PullPolicy::IfNotPresent)
        }
        _ => {
            let reason = Reason::new(format!("`{word}` is no pull policy")).among(word, &WORDS);
            section.refuse(node.place, key, reason);
            None
        }
    }
}

fn build(image: &str, node: &Node, log: &mut Log) -> Option<Build> {
    let mut section = Section::open(format!("`build` of image `{image}`"), node.place, node, log)?;
    let source = section.parsed("source", source);
    if source.is_none() && !section.has("source") {
        let place = section.place;
        let hint = "the directory with the Dockerfile, such as `/opt/skiff/coreenv/base`";
        section.refuse(place, "source", Reason::new("it is missing").hint(hint));
    }
    let dockerfile = section.parsed("dockerfile", |text| match text.split('/').any(|part| part == "..") {
        true => Err(Reason::new(format!("`{text}` leads out of the source"))),
        false => Ok(text.trim_start_matches('/').to_string()),
    });
    let arguments = section.pairs("buildArgs").into_iter();
    let arguments = arguments.map(|(name, value)| (name.value, value.value)).collect();
    let preserve_intermediate = section.flag("preserveIntermediate").unwrap_or_default();
    let squash = section.flag("squash").unwrap_or_default();
    if section.flag("scratchBuild") == Some(true) {
        let place = section.place_of("scratchBuild");
        let hint = "take it out: images for several architectures have replaced it";
        section.refuse(place, "scratchBuild", Reason::new("images are not rebased any more").hint(hint));
    }
    section.close(&[("root", "Skiff Core never used it: take it out, and let `source` name the directory")]);
    let dockerfile = dockerfile.unwrap_or_else(|| "Dockerfile".into());
    Some(Build { source: source?, dockerfile, arguments, preserve_intermediate, squash })
}

/// Directory, archive, or address of an archive.
fn source(text: &str) -> Result<String, Reason> {
    let address = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    if text.starts_with("git://") || text.starts_with("git@") || (address && text.ends_with(".git")) {
        return Err(Reason::new(format!("`{text}`: repositories of git are not cloned on devices"))
            .hint("give the address of a `.tar.gz` of a version of it"));
    }
    match (address, text.ends_with(".tar.gz")) {
        (true, true) => Ok(text.into()),
        (true, false) => Err(Reason::new(format!("`{text}` is no address of a `.tar.gz`"))),
        (false, _) => value::path(text),
    }
}

/// `HOST[:PORT][/PATH]`.
fn registry(text: &str) -> Result<String, Reason> {
    let host = text.split('/').next().unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    if text.contains("://") {
        return Err(Reason::new(format!("`{text}` is an address")).hint("write the name alone, as `quay.io`"));
    }
    let port = host.split_once(':').is_none_or(|(_, port)| number::port_number(port).is_ok());
    match value::host_name(name).is_ok() && port && !text.ends_with('/') {
        true => Ok(text.into()),
        false => Err(Reason::new(format!("`{text}` is no registry")).hint("write its name, as `quay.io`")),
    }
}

/// `[REGISTRY/]PATH[:TAG][@DIGEST]`, by the grammar of OCI's distribution specification.
pub(super) fn reference(text: &str) -> Result<(), Reason> {
    let wrong = |why: &str| {
        Err(Reason::new(format!("`{text}` is no reference of an image: {why}"))
            .hint("write it as `quay.io/NAME/IMAGE:latest`, with `@sha256:DIGEST` to pin it"))
    };
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if hex.len() != 64 || !hex.bytes().all(digit) {
            return wrong("a digest is `sha256:` and 64 hexadecimal digits in lower case");
        }
    }
    let (path, tag) = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (name, None),
    };
    let tag_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if tag.is_some_and(|tag| {
        tag.is_empty() || tag.len() > 128 || b".-".contains(&tag.as_bytes()[0]) || !tag.bytes().all(tag_byte)
    }) {
        return wrong(
            "a tag has at most 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two",
        );
    }
    let component = |part: &str| {
        let end =
            |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        end(part.bytes().next()) && end(part.bytes().last()) && part.bytes().all(inner)
    };
    let mut parts: Vec<&str> = path.split('/').collect();
    // The first part is a registry if it looks like a host.
    if parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost") {
        if registry(parts[0]).is_err() {
            return wrong("its registry is no name of a host");
        }
        parts.remove(0);
    }
    match parts.iter().all(|part| component(part)) {
        true => Ok(()),
        false => wrong("a name has letters a to z, digits, `_`, `.`, `-` and `/`"),
    }
}
