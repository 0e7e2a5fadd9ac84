//! The plan as a table for people.

use std::fmt;

use super::{Action, Plan, Step};
use crate::board::{TableKind, Update};

/// Prints the plan: a header, then one line for each step.
pub fn table(plan: &Plan, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let disk = &plan.disk;
    writeln!(
        f,
        "board {} ({}), disk {} in sectors of {}",
        plan.board, plan.arch, disk.len, disk.sector_size
    )?;
    let table = match disk.table {
        TableKind::Mbr => format!("MBR {}", disk.id),
        TableKind::Gpt => format!("GPT {}", disk.id),
        TableKind::None if disk.id.is_empty() => "no partition table".into(),
        TableKind::None => format!("no partition table, for the partition {}", disk.id),
    };
    writeln!(f, "{table}, seed \"{}\", timestamp {}", plan.seed.0, plan.timestamp)?;
    let rows: Vec<[String; 6]> = plan.steps.iter().map(|step| row(step, disk.sector_size.into())).collect();
    let head = ["first sector", "sectors", "size", "name", "update", "what"].map(String::from);
    let mut widths = head.clone().map(|cell| cell.len());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let [a, b, c, d, e, _] = widths;
    let mut lines: Vec<String> = std::iter::once(&head)
        .chain(&rows)
        .map(|[first, sectors, size, name, update, what]| {
            format!("{first:>a$}  {sectors:>b$}  {size:>c$}  {name:<d$}  {update:<e$}  {what}")
        })
        .collect();
    if plan.steps.iter().any(|step| step.critical) {
        lines.push("* written last, when everything else was read back and found right".into());
    }
    f.write_str(&lines.join("\n"))
}

fn row(step: &Step, sector_size: u64) -> [String; 6] {
    let sector = |bytes: u64| match bytes % sector_size {
        0 => (bytes / sector_size).to_string(),
        rest => format!("{}+{rest}", bytes / sector_size),
    };
    let mark = if step.critical { "*" } else { "" };
    [
        sector(step.offset.0),
        sector(step.len.0),
        step.len.to_string(),
        format!("{}{mark}", step.name),
        update(step.update).into(),
        what(&step.action),
    ]
}

fn update(update: Update) -> &'static str {
    match update {
        Update::Files => "files",
        Update::Whole => "whole",
        Update::Never => "never",
    }
}

fn what(action: &Action) -> String {
    match action {
        Action::Table => "partition table".into(),
        Action::Blob { file, from, .. } if from.0 == 0 => file.clone(),
        Action::Blob { file, from, .. } => format!("{file} from byte {}", from.0),
        Action::Filesystem { number, filesystem, label, id, nodes, content } => {
            let label = if label.is_empty() { String::new() } else { format!(" `{label}`") };
            let id = if id.is_empty() { String::new() } else { format!(" {id}") };
            format!("#{number} {filesystem}{label}{id}, {nodes} nodes, {content}")
        }
        Action::Image { number, file } => format!("#{number} {file}"),
        Action::Unformatted { number } => format!("#{number} not formatted"),
    }
}
