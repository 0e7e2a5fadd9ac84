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
//!                                          ^    flash: write, mark, sync, read back, commit boot-critical bytes last
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
//! Purposes of the other modules:
//!
//! - [`project`] is what the user names: chosen layers, workspace, board and source. [`stage`] gathers what a plan is about:
//!   the root tree, the trees of the partitions and the raw blobs. [`artifact`] composes, into temporary files, images and
//!   boot texts whose length must be known before a partition can be placed; it is the only code before the plan that writes.
//! - [`precheck`] tells at `configure` what `assemble` and the running system will miss. [`lint`] checks the layout against the rules of the board's boot ROM and boot loader, which are data as the boards are.
//!   [`prepare`] measures the contents, has the plan made, and keeps the payloads beside it.
//! - [`source`] is where the bytes of a medium come from, and holds what is claimed of an image against it. [`network`] reads
//!   addresses, [`device`] lists disks, what they hold, and what speaks against writing them. [`recognize`] names the format
//!   of a range of a medium, and reads what a disk says about itself.
//! - [`readback`] compares a medium with what was written and diagnoses wrong bytes. [`inspect`] reads media with readers that
//!   share no code with the writers, names what is damaged, and separates it from changes of normal use.
//! - [`event`] is the progress of a run, [`bmap`] the blocks of an image that matter, [`manifest`] the record of what was
//!   written, [`persist`] the files for the first boot.
//! - [`containers`] reads the configurations of Skiff Core that layers and users bring, with the code of the device.
//! - [`install`] updates the system on a medium that has one, [`ota`] that of a running device with two slots.
//! - [`cache`] keeps compressed blocks between builds, here and in a
//!   store that machines share; it changes how long a build takes and nothing else.
//! - [`interrupt`] turns Ctrl-C into an error of the next write. [`storage::PowerCut`] lists every state in which a power cut
//!   can leave a medium. [`cli`] has one thin file for each verb; [`report`] prints.
//!
//! The modules, from the top down; each uses only those of lines below its own, which a test checks:
//!
//! ```text
//! cli
//! install
//! compose
//! precheck prepare
//! lint project
//! stage
//! artifact report rootfs
//! buildroot demo flash inspect ota plan
//! board containers device process readback source workspace
//! bmap boot cache event interrupt layer manifest network persist recognize
//! error fs storage table tree value
//! ```
//!
//! More packages live below `src/`. `skiff-disk` (`src/disk`) has the filesystems, partition tables, trees and targets, for
//! anyone who writes disk images; this crate re-exports it. `skiff-init` (`src/init`) is a program for the device: the first
//! process of boards whose root is a squashfs. `skiff-update` (`src/update`) has signed bundles, deltas, and the agent that
//! applies them to a device with two slots. `skiff-signatures` (`src/signatures`) has the first bytes of formats, one line
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
//! - no clock and no randomness: timestamps and the identity seed are inputs. Exceptions: [`cache`] looks at the age of its
//!   blocks and has time-outs, waits for media and steps are measured, and [`flash::health`] records when a run ended;
//! - a byte of a target is written once per run, and again only to mend what was read back wrong or where a mark stood, so
//!   that what was meant to be there is always known.

pub mod artifact;
pub mod bmap;
pub mod board;
pub mod boot;
pub mod buildroot;
pub mod cache;
#[doc(hidden)] // of the program, not of the library
pub mod cli;
pub mod compose;
pub mod containers;
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
pub mod ota;
pub mod persist;
pub mod plan;
pub mod precheck;
pub mod prepare;
pub mod process;
pub mod project;
pub mod readback;
pub mod recognize;
#[doc(hidden)] // of the program, not of the library
pub mod report;
pub mod rootfs;
pub mod source;
pub mod stage;
pub mod workspace;

pub use skiff_disk::{Error, Result, error, fs, storage, table, tree, value};
