//! `skiff-image` is a compiler: it reads configuration layers, a Buildroot output directory and a board
//! descriptor, computes a [`plan::Plan`] (plain data that can be printed, compared and tested), and a small
//! executor turns the plan into bytes on a target.
//!
//! ```text
//! configs/ layers      boards/*.toml    Buildroot O= directory or rootfs.tar
//!    | layer              | board           | rootfs               read only; all text is parsed here
//!    v                    v                 v
//!  Layers -----------------------------> Tree   tree: overlay, tables, presets; contents by reference
//!                                          |    fs::*::layout      metadata only
//!                 Board + Tree             v
//!                                      Staged    artifact: composes to temporary files what must exist to be placed
//!                                          |    prepare: contents of partitions, and their sizes
//!                 Board + sizes            v
//!                                        Plan ---> `skiff-image plan`, the manifest, tests
//!                                          |    compose: the only code that writes images
//!                                          v
//!                                       Target  file | block device | memory | faulty
//!                                          ^    flash: write, sync, read back, commit boot-critical bytes last
//!                                        Source  a composition, or a ready image: file, pipe, address
//! ```
//!
//! The Buildroot output can be made here, too, in a [`workspace`]:
//!
//! ```text
//! configs/ overrides/  --layer::fragment, layer::merge-->  Merged: text for Kconfig, and who set each symbol
//!                                                            |  buildroot::configure   files, only if they change
//! a tree of Buildroot  --buildroot::source: checked------->  .config
//!                                                            |  buildroot::effective   what Kconfig dropped, and why
//!                                                            |  buildroot::drive       packages, hooks, release files
//!                                                            v
//!                                                          Buildroot O= directory
//! ```
//!
//! `buildroot::configure` costs nothing when nothing changed, and is called before anything is built. Hooks and commands
//! of layers find the environment that SkiffOS gives them (`layer::environment`). [`process`] starts programs:
//! Buildroot's make, git, and what layers bring; composing and flashing start none.
//!
//! [`stage`] gathers what a plan is about: the root tree, the artifacts, the trees of the partitions and the raw blobs.
//! [`artifact`] composes images and boot texts, because a partition that holds them cannot be placed before their length
//! is known; [`prepare`] measures the contents of the partitions, has [`plan`] compute the plan from the board and the
//! sizes, and keeps what the steps are made of beside it. [`lint`] holds the layout against the rules of the board's
//! boot ROM and boot loader, which are data as the boards are, before anything is decided to be right. [`manifest`] remembers what was written;
//! [`inspect`] reads media with readers that share no code with the writers, names what is damaged, and tells that from
//! what use changes. [`source`] is where the bytes of a medium come from, [`network`] what an address sends, [`device`]
//! which disks there are, what speaks against writing them and what they hold now, [`recognize`] what a range of a medium
//! is formatted with, [`readback`] whether a medium holds what was written and what wrong bytes say about it. [`event`] is
//! how a run reports its progress, [`bmap`] says which blocks of an image matter. [`persist`] is what a medium knows before its first boot. [`install`] updates the system on a medium that has one. [`cache`] keeps compressed blocks between
//! builds, here and in a store that machines share; it changes how long a build takes and nothing else. [`interrupt`]
//! turns Ctrl-C into an error of the next write, [`storage::PowerCut`] lists every state in which a power cut can leave a
//! medium. [`cli`] has one thin file for each verb, [`report`] prints.
//!
//! The modules, from the top down; each uses only those of lines below its own, which a test checks:
//!
//! ```text
//! cli
//! install
//! compose
//! prepare
//! lint
//! stage
//! artifact report rootfs
//! buildroot demo flash inspect plan
//! board device process readback source workspace
//! bmap boot cache event interrupt layer manifest network persist recognize
//! error fs storage table tree value
//! ```
//!
//! More packages live below `src/`. `skiff-disk` (`src/disk`) has the filesystems, partition tables, trees and targets, for
//! anyone who writes disk images; this crate re-exports it. `skiff-init` (`src/init`) is a program for the device: the first
//! process of boards whose root is a squashfs. `skiff-signatures` (`src/signatures`) has the first bytes of formats, one line
//! each, for all of them. `skiff-diagnostic-derive` (`src/diagnostic-derive`) states kind, hint and code of an error beside its
//! message.
//!
//! Above `Plan` only [`artifact`] writes, to temporary files; below `Plan` nothing decides. What the code never does:
//!
//! - [`plan`] opens no file; `layout` functions read metadata only;
//! - nothing but [`storage`] touches a device;
//! - nothing but `report` and `main.rs` prints;
//! - no board is named in Rust code: boards are data in `boards/`;
//! - nothing but [`process`] starts a program;
//! - no clock and no randomness: timestamps and the identity seed are inputs (only [`cache`] looks at the time, to know
//!   what was not used for long, and how long a store is waited for; how long a medium is waited for and how long steps
//!   take is measured, too, and [`flash::health`] says when a run ended);
//! - a byte of a target is written once per run, and again only to mend what was read back wrong, so that what was meant
//!   to be there is always known.

pub mod artifact;
pub mod bmap;
pub mod board;
pub mod boot;
pub mod buildroot;
pub mod cache;
#[doc(hidden)] // of the program, not of the library
pub mod cli;
pub mod compose;
#[doc(hidden)] // of the program, not of the library
pub mod demo;
pub mod device;
pub mod event;
pub mod flash;
pub mod inspect;
pub mod install;
pub mod interrupt;
pub mod layer;
pub mod lint;
pub mod manifest;
pub mod network;
pub mod persist;
pub mod plan;
pub mod prepare;
pub mod process;
pub mod readback;
pub mod recognize;
#[doc(hidden)] // of the program, not of the library
pub mod report;
pub mod rootfs;
pub mod source;
pub mod stage;
pub mod workspace;

pub use skiff_disk::{Error, Result, error, fs, storage, table, tree, value};
