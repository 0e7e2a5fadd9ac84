//! Consoles that kernel command lines name, and the port that the running system lets users log in on.

use super::medium::PlannedMedium;
use crate::board::Board;
use crate::buildroot::config::Config;
use crate::error::Result;
use crate::stage::TemplateVariables;
use crate::value::Arch;

/// A `console=PORT[,SPEED...]` of a kernel command line (Linux `Documentation/admin-guide/serial-console.rst`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Console<'a> {
    /// The whole word.
    pub word: &'a str,
    /// Name of the device in `/dev`.
    pub port: &'a str,
    /// Its speed; nothing if the kernel keeps its own.
    pub baud: Option<u32>,
}

/// The consoles of a command line in their order.
pub(super) fn of_command_line(line: &str) -> impl Iterator<Item = Console<'_>> {
    line.split_whitespace().filter_map(|word| {
        let (port, options) = match word.strip_prefix("console=")?.split_once(',') {
            Some((port, options)) => (port, options),
            None => (word.strip_prefix("console=")?, ""),
        };
        let digits = options.find(|c: char| !c.is_ascii_digit()).unwrap_or(options.len());
        Some(Console { word, port, baud: options[..digits].parse().ok() })
    })
}

impl Console<'_> {
    /// Returns whether it is a port, and not a screen or a variable of the boot loader.
    pub fn is_serial(&self) -> bool {
        let number = self.port.strip_prefix("tty");
        let is_screen = number.is_some_and(|number| number.chars().all(|c| c.is_ascii_digit()));
        !is_screen && !self.port.contains(['$', '{'])
    }
}

/// Symbols of the port that Buildroot starts a login on, and of its speed (`system/Config.in`).
const PORT: &str = "BR2_TARGET_GENERIC_GETTY_PORT";
const SPEED: &str = "BR2_TARGET_GENERIC_GETTY_BAUDRATE";

/// Reason against the port of the login: the kernel writes to other ports, or at another speed. A sentence
/// without a full stop; nothing if they agree, or if one of them says nothing.
///
/// # Errors
/// A text of the board has a variable that is not there.
pub fn login_apart(board: &Board, arch: Arch, config: &Config) -> Result<Option<String>> {
    let port = config.get(PORT).filter(|_| config.is_set("BR2_TARGET_GENERIC_GETTY")).unwrap_or_default();
    // `console` is wherever the kernel writes to, and the port of a USB gadget comes with its driver: there systemd
    // starts a second login on the console of the kernel.
    if port.is_empty() || port == "console" || port.starts_with("ttyGS") {
        return Ok(None);
    }
    let variables = TemplateVariables::assumed(board, arch)?;
    let board = variables.fill(board.clone())?;
    let medium = PlannedMedium::for_board(&board, arch, &variables, None)?;
    let lines: Vec<&str> = medium.texts.iter().flat_map(|text| text.command_lines()).collect();
    let consoles: Vec<Console<'_>> = lines.iter().flat_map(|line| of_command_line(line)).collect();
    if consoles.is_empty() || consoles.iter().any(|console| console.port.contains('$')) {
        return Ok(None);
    }
    let Some(same) = consoles.iter().find(|console| console.port == port) else {
        let mut ports: Vec<String> = consoles.iter().map(|console| format!("`{}`", console.port)).collect();
        ports.sort();
        ports.dedup();
        let ports = ports.join(", ");
        return Ok(Some(format!("the login is on `{port}` ({PORT}), but the kernel writes to {ports}")));
    };
    let speed = config.get(SPEED).and_then(|speed| speed.parse::<u32>().ok()).filter(|speed| *speed != 0);
    Ok(match (speed, same.baud) {
        (Some(login), Some(kernel)) if login != kernel => Some(format!(
            "the login on `{port}` has {login} baud ({SPEED}), but the kernel writes at {kernel}"
        )),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_as_the_kernel_does() {
        let line = "root=/dev/ram0 console=tty1 console=ttyS2,1500000n8 console=${console} console=ttyAMA10";
        let found: Vec<_> =
            of_command_line(line).map(|found| (found.port, found.baud, found.is_serial())).collect();
        let expected = [
            ("tty1", None, false),
            ("ttyS2", Some(1_500_000), true),
            ("${console}", None, false),
            ("ttyAMA10", None, true),
        ];
        assert_eq!(found, expected);
    }
}
