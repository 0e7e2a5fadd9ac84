//! Contents of the configuration directory, computed from layers without writing anything.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;

use super::closing::{Closing, WHO, left_out, replaced};
use super::external::External;
use super::paths::{Located, link, locate};
use super::{Inputs, patches};
use crate::buildroot::hooks;
use crate::error::{Io, Result};
use crate::layer::fragment::{self, Fragment, FragmentVariables, Kind};
use crate::layer::merge::Merged;
use crate::workspace::{Workspace, write_changed};

pub(super) const CFLAGS: &str = "cflags";
pub(super) const REQUEST: &str = "buildroot/config";
const USERS: &str = "users";
const PRE: &str = "pre_build.sh";
const POST: &str = "post_build.sh";
const NOTICE: &str = "DO_NOT_EDIT";
/// As SkiffOS keeps it.
const VERSION: &str = "skiff_version";

/// The files of a configuration directory.
#[derive(Debug)]
pub struct Configuration {
    /// By their paths in it.
    pub files: BTreeMap<&'static str, File>,
    /// Request for Kconfig.
    pub request: Merged,
    /// External trees of Buildroot, in order.
    pub externals: Vec<External>,
    /// Directories of the layers.
    pub(super) located: Vec<Located>,
    /// Names of Buildroot's own images that layers ask for and that are left out.
    pub images_left_out: Vec<String>,
    /// Lines of fragments that are neither settings nor remarks.
    pub malformed: usize,
    /// Notes for the user.
    pub notes: Vec<String>,
    /// Changes that the user should make.
    pub warnings: Vec<String>,
}

/// A file that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its contents.
    pub bytes: Vec<u8>,
    /// True for a program.
    pub executable: bool,
}

impl Configuration {
    /// Reads the layers.
    pub fn from_layers(inputs: &Inputs<'_>) -> Result<Configuration> {
        let located = locate(inputs.workspace, inputs.layers)?;
        let externals = External::all(inputs.workspace, &located)?;
        let flags = cflags(inputs)?;
        let closing = closing(inputs, &located, &flags)?;
        let variables = variables(inputs, &closing);
        let mut request = merged(inputs, &located, Kind::Buildroot, &variables)?;
        request.append(WHO, &closing.text(&request));
        let hooks = inputs.board.filter(|_| !inputs.selection.asked.keep_images);
        let hooks = hooks.map(|board| hooks::left_out(board, inputs.layers)).unwrap_or_default();
        let mut configuration = Configuration {
            files: BTreeMap::new(),
            images_left_out: left_out(&request),
            malformed: 0,
            notes: hooks.iter().map(ToString::to_string).collect(),
            warnings: replaced(&request),
            request,
            externals,
            located,
        };
        for kind in [Kind::Kernel, Kind::UBoot, Kind::Busybox] {
            let merged = merged(inputs, &configuration.located, kind, &FragmentVariables::default())?;
            configuration.note_ignored(&merged);
            configuration.add(fragment_file(kind), merged.text());
        }
        configuration.add_rest(inputs, &flags)?;
        Ok(configuration)
    }

    fn add_rest(&mut self, inputs: &Inputs<'_>, flags: &str) -> Result<()> {
        let request = std::mem::take(&mut self.request);
        self.note_ignored(&request);
        self.add(REQUEST, request.text());
        self.request = request;
        let users = fragment::users(inputs.layers)?;
        self.add(USERS, &users.into_iter().map(|part| part.text).collect::<String>());
        self.add(CFLAGS, &format!("{flags}\n"));
        self.add(VERSION, &format!("{}\n", inputs.version.0));
        self.add(NOTICE, "Made by skiff-image from the layers; what is changed here is lost. Change the layers, or overrides/.\n");
        for (name, phase) in [(PRE, "pre"), (POST, "post")] {
            let file = File { bytes: script(inputs, phase).into_bytes(), executable: true };
            self.files.insert(name, file);
        }
        Ok(())
    }

    fn add(&mut self, name: &'static str, text: &str) {
        self.files.insert(name, File { bytes: text.into(), executable: false });
    }

    fn note_ignored(&mut self, merged: &Merged) {
        self.malformed += merged.ignored().len();
        self.notes.extend(merged.ignored().iter().map(ToString::to_string));
    }

    /// Writes what differs; says what did.
    pub(super) fn write(&self, workspace: &Workspace) -> Result<Vec<PathBuf>, Io> {
        let mut changed = link(workspace, &self.located)?;
        for (name, file) in &self.files {
            let path = workspace.config().join(name);
            if write_changed(&path, &file.bytes, file.executable)? {
                changed.push(path);
            }
        }
        Ok(changed)
    }
}

/// File for the merged fragments of a kind.
fn fragment_file(kind: Kind) -> &'static str {
    match kind {
        Kind::Buildroot => REQUEST,
        Kind::Kernel => "kernel/config",
        Kind::UBoot => "uboot/config",
        Kind::Busybox => "busybox/config",
    }
}

fn cflags(inputs: &Inputs<'_>) -> Result<String> {
    let parts = fragment::cflags(inputs.layers)?;
    Ok(parts.into_iter().map(|part| part.text).collect::<Vec<_>>().join(" "))
}

fn merged(
    inputs: &Inputs<'_>,
    located: &[Located],
    kind: Kind,
    variables: &FragmentVariables,
) -> Result<Merged> {
    let fragments = fragment::read(inputs.layers, kind)?.into_iter();
    let fragments: Vec<_> = fragments.map(|fragment| expanded(fragment, located, variables)).collect();
    Ok(Merged::from_fragments(&fragments))
}

fn expanded(fragment: Fragment, located: &[Located], variables: &FragmentVariables) -> Fragment {
    let layer = located.iter().find(|layer| layer.name == fragment.layer);
    let path = layer.map(|layer| layer.path.to_string_lossy().into_owned()).unwrap_or_default();
    fragment.expand(&variables.with_layer(&path))
}

fn closing(inputs: &Inputs<'_>, located: &[Located], flags: &str) -> Result<Closing> {
    let file = |name: &str| vec![inputs.workspace.config().join(name)];
    let lists = vec![
        ("BR2_GLOBAL_PATCH_DIR", parts(located, "buildroot_patches")),
        ("BR2_PACKAGE_BUSYBOX_CONFIG_FRAGMENT_FILES", file(fragment_file(Kind::Busybox))),
        ("BR2_TARGET_UBOOT_CONFIG_FRAGMENT_FILES", file(fragment_file(Kind::UBoot))),
        ("BR2_TARGET_UBOOT_PATCH", patches::directories(located, "uboot_patches")?),
        ("BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES", file(fragment_file(Kind::Kernel))),
        ("BR2_LINUX_KERNEL_PATCH", patches::directories(located, "kernel_patches")?),
        ("BR2_ROOTFS_OVERLAY", parts(located, "root_overlay")),
        ("BR2_ROOTFS_POST_BUILD_SCRIPT", file(PRE)),
        ("BR2_ROOTFS_POST_IMAGE_SCRIPT", file(POST)),
        ("BR2_ROOTFS_USERS_TABLES", file(USERS)),
        ("BR2_CCACHE_DIR", vec![inputs.ccache.into()]),
    ];
    let cflags = (!flags.is_empty()).then(|| flags.to_owned());
    Ok(Closing { lists, cflags, keep_images: inputs.selection.asked.keep_images })
}

/// The directories of this name, as Buildroot is given them.
fn parts(located: &[Located], name: &str) -> Vec<PathBuf> {
    let there =
        located.iter().filter(|layer| layer.target.as_ref().unwrap_or(&layer.path).join(name).is_dir());
    there.map(|layer| layer.path.join(name)).collect()
}

/// Variables of `configs-base/` of SkiffOS with their values.
fn variables(inputs: &Inputs<'_>, closing: &Closing) -> FragmentVariables {
    const OF_SYMBOLS: [(&str, &str); 7] = [
        ("REPLACEME_BR_PATCHES", "BR2_GLOBAL_PATCH_DIR"),
        ("REPLACEME_BUSYBOX_FRAGMENTS", "BR2_PACKAGE_BUSYBOX_CONFIG_FRAGMENT_FILES"),
        ("REPLACEME_KERNEL_FRAGMENTS", "BR2_LINUX_KERNEL_CONFIG_FRAGMENT_FILES"),
        ("REPLACEME_KERNEL_PATCHES", "BR2_LINUX_KERNEL_PATCH"),
        ("REPLACEME_UBOOT_FRAGMENTS", "BR2_TARGET_UBOOT_CONFIG_FRAGMENT_FILES"),
        ("REPLACEME_UBOOT_PATCHES", "BR2_TARGET_UBOOT_PATCH"),
        ("REPLACEME_ROOTFS_OVERLAY", "BR2_ROOTFS_OVERLAY"),
    ];
    let of_symbols = OF_SYMBOLS.map(|(word, symbol)| (word.to_owned(), closing.list(symbol)));
    let directory = inputs.workspace.config().to_string_lossy().into_owned();
    let (version, commit) = inputs.version;
    of_symbols
        .into_iter()
        .chain([
            ("REPLACEME_FINAL_CONFIG_DIR".into(), directory),
            ("REPLACEME_SKIFF_VERSION_COMMIT".into(), commit.into()),
            ("REPLACEME_SKIFF_VERSION".into(), version.into()),
        ])
        .collect()
}

/// Script that Buildroot runs before or after its images. It calls this program, which runs the hooks of the layers.
fn script(inputs: &Inputs<'_>, phase: &str) -> String {
    let program = quoted_for_shell(inputs.program.as_os_str());
    let root = quoted_for_shell(inputs.workspace.root().as_os_str());
    let workspace = quoted_for_shell(OsStr::new(inputs.workspace.name()));
    format!("#!/bin/sh\nexec {program} hook {phase} --workspace {workspace} --root {root}\n")
}

fn quoted_for_shell(text: &OsStr) -> String {
    format!("'{}'", text.to_string_lossy().replace('\'', r"'\''"))
}
