//! Results of Kconfig in an output directory: the `.config` of Buildroot and of what it builds, with the Kconfig files
//! that it was made from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::config::Config;
use super::kconfig::Definitions;
use crate::error::Io;
use crate::layer::fragment::Kind;

/// A `.config` that is there.
#[derive(Clone, Debug)]
pub struct DotConfig {
    /// The file.
    pub file: PathBuf,
    /// Symbols in the file.
    pub config: Config,
    /// The architecture as Linux names it (`# Linux/arm64 6.12 Kernel Configuration`); empty in other files.
    arch: String,
}

impl DotConfig {
    /// The `.config` of `kind` below an output directory (`O=`), if it was made already: Linux, U-Boot and BusyBox are
    /// configured when they are built.
    pub fn find(output: &Path, kind: Kind) -> Result<Option<DotConfig>, Io> {
        let Some(buildroot) = DotConfig::read(output.join(".config"))? else { return Ok(None) };
        let (package, version) = match kind {
            Kind::Buildroot => return Ok(Some(buildroot)),
            Kind::Kernel => ("linux", "BR2_LINUX_KERNEL_VERSION"),
            Kind::UBoot => ("uboot", "BR2_TARGET_UBOOT_VERSION"),
            Kind::Busybox => ("busybox", ""),
        };
        match directory(output, package, buildroot.config.get(version))? {
            Some(directory) => DotConfig::read(directory.join(".config")),
            None => Ok(None),
        }
    }

    fn read(file: PathBuf) -> Result<Option<DotConfig>, Io> {
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Io::on("read", &file)(error)),
        };
        let text = String::from_utf8_lossy(&bytes);
        let title = text.lines().find_map(|line| line.strip_prefix("# Linux/"));
        let arch = title.and_then(|title| title.split(' ').next()).unwrap_or_default().into();
        Ok(Some(DotConfig { config: Config::parse(&text), file, arch }))
    }

    /// Reads the definitions of the Kconfig files that this was made from. `tree` is Buildroot's source tree, if it is
    /// known; nothing without it.
    pub fn definitions(&self, kind: Kind, tree: Option<&Path>) -> Option<Definitions> {
        let directory = self.file.parent().unwrap_or(Path::new(""));
        let top = match kind {
            Kind::Buildroot => return tree.map(|tree| Definitions::for_buildroot(tree, directory)),
            Kind::Kernel | Kind::UBoot => "Kconfig",
            Kind::Busybox => "Config.in",
        };
        let variables = BTreeMap::from([("SRCARCH".to_owned(), self.arch.clone())]);
        Some(Definitions::read(directory, top, "CONFIG_", variables))
    }
}

/// Directory in which a package was built: of several versions the one that is named, else the last by name.
fn directory(output: &Path, package: &str, version: Option<&str>) -> Result<Option<PathBuf>, Io> {
    let build = output.join("build");
    if let Some(version) = version {
        return Ok(Some(build.join(format!("{package}-{version}"))));
    }
    let entries = match fs::read_dir(&build) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Io::on("list", &build)(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Io::on("list", &build))?.path();
        let named = path.file_name().is_some_and(|name| {
            name.to_str()
                .and_then(|name| name.strip_prefix(package))
                .is_some_and(|rest| rest.starts_with('-'))
        });
        if named && path.join(".config").is_file() {
            found.push(path);
        }
    }
    Ok(found.into_iter().max())
}

/// The source tree of Buildroot that an output directory was configured from, as the Makefile there says.
pub fn source_tree(output: &Path) -> Option<PathBuf> {
    let makefile = fs::read_to_string(output.join("Makefile")).ok()?;
    makefile.lines().find_map(|line| line.strip_prefix("MAKEARGS := -C ")).map(|tree| tree.trim().into())
}
