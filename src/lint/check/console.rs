//! Check of the serial console: the kernel writes where the boot loader does, at its speed.

use super::super::console::{Console, of_command_line};
use super::super::medium::PlannedMedium;
use crate::board::LoaderConsole;

/// Differences of the kernel command lines from the boot loader of this SoC.
pub fn agrees(medium: &PlannedMedium<'_>, loaders: &[LoaderConsole]) -> Vec<String> {
    let soc = medium.board.soc.as_ref();
    let named = loaders.iter().find(|loader| soc.is_some_and(|soc| loader.soc.contains(soc)));
    let Some(loader) = named.or_else(|| loaders.iter().find(|loader| loader.soc.is_empty())) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for text in &medium.texts {
        for line in text.command_lines() {
            found.extend(differences(loader, line).into_iter().map(|(word, is)| {
                format!("`{}` has `{word}` but the boot loader's console is {is}", text.name)
            }));
        }
    }
    found
}

/// Words of a command line that differ, each with what it should say.
fn differences<'l>(loader: &LoaderConsole, line: &'l str) -> Vec<(&'l str, String)> {
    let consoles: Vec<Console<'_>> = of_command_line(line).collect();
    let mut found = Vec::new();
    let serial = consoles.iter().filter(|console| console.is_serial());
    let (same, others): (Vec<&Console<'_>>, Vec<&Console<'_>>) =
        serial.partition(|console| loader.port.iter().any(|port| port == console.port));
    match (same.as_slice(), others.first()) {
        ([], Some(other)) => found.push((other.word, format!("`{}`", loader.port[0]))),
        _ => {
            let wrong = same.iter().filter(|console| console.baud.is_some_and(|baud| baud != loader.baud));
            found.extend(wrong.map(|console| (console.word, format!("at {} baud", loader.baud))));
        }
    }
    let early = line.split_whitespace().filter(|word| word.starts_with("earlycon="));
    for word in early {
        let address = word.split(',').find(|part| part.starts_with("0x")).and_then(number);
        if let (Some(address), Some(wanted)) = (address, loader.earlycon.as_deref())
            && number(wanted) != Some(address)
        {
            found.push((word, format!("at {wanted}")));
        }
    }
    found
}

fn number(hex: &str) -> Option<u64> {
    u64::from_str_radix(hex.strip_prefix("0x")?, 16).ok()
}
