//! The firmware of a Raspberry Pi, played: QEMU has none, and takes from here what the firmware would load. Everything
//! comes out of the card's FAT, by what the two texts on it say.

use std::fs;
use std::path::{Path, PathBuf};

use super::medium::fat;
use super::qemu::Machine;
use super::tools::command;
use super::tools::run;

/// A model, as far as its firmware and QEMU tell it from others.
pub struct Model {
    /// Program of QEMU.
    pub qemu: &'static str,
    /// Its machine.
    pub machine: &'static str,
    /// Device tree that the firmware looks for on the card.
    pub tree: &'static str,
    /// Whether a boot loader in an EEPROM does what otherwise `bootcode.bin` on the card does.
    pub has_eeprom: bool,
}

/// Raspberry Pi 2.
pub const PI_2: Model =
    Model { qemu: "qemu-system-arm", machine: "raspi2b", tree: "bcm2709-rpi-2-b.dtb", has_eeprom: false };

/// Raspberry Pi 3.
pub const PI_3: Model =
    Model { qemu: "qemu-system-aarch64", machine: "raspi3b", tree: "bcm2710-rpi-3-b.dtb", has_eeprom: false };

/// Raspberry Pi 4.
pub const PI_4: Model =
    Model { qemu: "qemu-system-aarch64", machine: "raspi4b", tree: "bcm2711-rpi-4-b.dtb", has_eeprom: true };

/// What the firmware found on a card.
pub struct Loaded {
    kernel: PathBuf,
    initramfs: PathBuf,
    tree: PathBuf,
    cmdline: String,
}

impl Model {
    /// What the firmware loads from the card `image`, to files in `directory`; or the name of what is missing.
    pub fn load(&self, image: &Path, directory: &Path) -> Result<Loaded, String> {
        let card = Card { volume: fat(image, 1), directory };
        if !self.has_eeprom {
            card.take("bootcode.bin")?;
        }
        let config = card.text("config.txt")?;
        for name in ["start_file=", "fixup_file="] {
            card.take(value(&config, name)?)?;
        }
        Ok(Loaded {
            kernel: card.take(value(&config, "kernel=")?)?,
            initramfs: card.take(value(&config, "initramfs ")?)?,
            tree: card.take(self.tree)?,
            // `serial0` is a name of the firmware's; with the overlay `miniuart-bt` it is the PL011.
            cmdline: card.text("cmdline.txt")?.trim().replace("serial0", "ttyAMA0"),
        })
    }

    /// The machine with the card in it, and what the firmware loaded from there.
    pub fn machine(&self, image: &Path, loaded: &Loaded) -> Machine {
        let text = |path: &Path| path.to_str().expect("target/ has a plain name").to_owned();
        Machine::new(self.qemu, &["-M", self.machine])
            .with(["-kernel", &text(&loaded.kernel), "-initrd", &text(&loaded.initramfs)])
            .with(["-dtb", &text(&loaded.tree), "-append", &loaded.cmdline])
            .with_card(image)
    }
}

impl Loaded {
    /// Takes out of the device tree of a Pi 4 what QEMU's does not have, and moves the card to where QEMU's has it:
    /// the kernel panics at the display's clocks and interrupts, and the card is at the older of two controllers.
    pub fn fit_qemu(&self) {
        let tree = &self.tree;
        for node in nodes(tree).iter().filter(|node| node.contains("@7ef")) {
            run(command("fdtput").args(["-t", "s"]).arg(tree).args([
                &format!("/soc/{node}"),
                "status",
                "disabled",
            ]));
        }
        let card = "/soc/mmc@7e300000";
        // What is not there need not be taken out: the tree has changed between versions of Linux.
        let _ = command("fdtput").arg("-d").arg(tree).args([card, "mmc-pwrseq"]).status();
        let _ = command("fdtput").arg("-d").arg(tree).args([card, "non-removable"]).status();
        let _ = command("fdtput").arg("-r").arg(tree).arg(format!("{card}/wifi@1")).status();
        run(command("fdtput").arg(tree).args([card, "bus-width", "4"]));
    }
}

/// Names of the nodes below `/soc`.
fn nodes(tree: &Path) -> Vec<String> {
    run(command("fdtget").arg("-l").arg(tree).arg("/soc")).lines().map(str::to_owned).collect()
}

/// The first partition of a card.
struct Card<'a> {
    volume: String,
    directory: &'a Path,
}

impl Card<'_> {
    fn take(&self, name: &str) -> Result<PathBuf, String> {
        let to = self.directory.join(name);
        let copy = command("mcopy")
            .args(["-n", "-o", "-i", &self.volume, &format!("::/{name}")])
            .arg(&to)
            .output()
            .expect("mcopy runs");
        let found = copy.status.success() && fs::metadata(&to).is_ok_and(|meta| meta.len() > 0);
        if found { Ok(to) } else { Err(name.to_owned()) }
    }

    fn text(&self, name: &str) -> Result<String, String> {
        Ok(fs::read_to_string(self.take(name)?).expect("a text of the firmware is ASCII"))
    }
}

fn value<'t>(config: &'t str, name: &str) -> Result<&'t str, String> {
    config.lines().find_map(|line| line.strip_prefix(name)).ok_or_else(|| name.to_owned())
}
