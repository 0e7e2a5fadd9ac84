//! What flashing costs, ours and others'.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::common::run::{Cost, Program, Variables, median_cost};
use crate::common::table::{Table, number};
use crate::image::Images;
use crate::medium::{CARD_RATES, Medium, Model};

/// Most memory that any of ours may take, in MB.
const MOST_MEMORY: f64 = 96.0;

/// One piece of work, done by several programs; ours is the first.
pub struct Row {
    /// Name on the command line.
    pub name: &'static str,
    /// What the work is.
    title: &'static str,
    model: Model,
    /// Whether the medium holds the image before some of it was changed; else it is blank.
    holds_older: bool,
    /// Whether ours leaves old bytes where the block map has none; else there are zeros.
    keeps: bool,
    programs: Vec<Program>,
    bar: Bar,
}

/// What ours has to reach.
enum Bar {
    /// At most this part of the time of the second program.
    OfOther(f64),
    /// At most so many times what the medium needs to write the image and to read what matters of it.
    OfMedium(f64),
}

/// The rows, in the order of the table.
pub fn rows() -> Vec<Row> {
    let ours = |options: &str| {
        Program::new("skiff-image flash", format!("\"$SKIFF\" --quiet flash --yes {options} \"$DEVICE\""))
    };
    let bmaptool = |image: &str| {
        let script = format!("bmaptool --quiet copy --bmap \"$BMAP\" \"${image}\" \"$DEVICE\"");
        Program::new("bmaptool copy (reads nothing back)", script)
    };
    let dd = "dd if=\"$PLAIN\" of=\"$DEVICE\" bs=4M oflag=direct conv=fsync status=none\n\
              blockdev --flushbufs \"$DEVICE\"\n\
              cmp --bytes \"$LEN\" \"$PLAIN\" \"$DEVICE\"";
    let row = |name, title, model, programs, bar| Row {
        name,
        title,
        model,
        holds_older: false,
        keeps: false,
        programs,
        bar,
    };
    let (fast, card) = (Model::Fast, Model::Card);
    let mut again = ours("--image \"$IMAGE\"");
    again.name.push_str(", all of it");
    let mut changed = ours("--only-changed --image \"$IMAGE\"");
    changed.name.push_str(" --only-changed");
    vec![
        row(
            "bmap",
            "image with a block map",
            fast,
            vec![ours("--image \"$IMAGE\""), bmaptool("IMAGE")],
            Bar::OfOther(0.70),
        ),
        row(
            "plain",
            "image without a block map",
            fast,
            vec![ours("--image \"$PLAIN\""), Program::new("dd oflag=direct, cmp", dd)],
            Bar::OfOther(0.90),
        ),
        row("zst", "zstd image", fast, vec![ours("--image \"$ZST\""), bmaptool("ZST")], Bar::OfOther(0.90)),
        row(
            "card",
            "image with a block map, card",
            card,
            vec![ours("--image \"$IMAGE\""), bmaptool("IMAGE"), Program::new("dd oflag=direct, cmp", dd)],
            Bar::OfMedium(1.10),
        ),
        Row {
            keeps: true,
            ..row(
                "keep",
                "the same, old bytes stay between",
                card,
                vec![ours("--unwritten keep --image \"$IMAGE\"")],
                Bar::OfMedium(1.10),
            )
        },
        Row {
            holds_older: true,
            ..row("changed", "1 % is new, card", card, vec![changed, again], Bar::OfOther(0.55))
        },
    ]
}

/// What is measured, and where.
pub struct Bench<'a> {
    /// The program.
    pub skiff: &'a Path,
    /// For the fast medium.
    pub large: &'a Images,
    /// For the card.
    pub small: &'a Images,
    /// Where media in memory are.
    pub directory: &'a Path,
    /// Times each program runs.
    pub rounds: usize,
}

impl Bench<'_> {
    fn images(&self, row: &Row) -> &Images {
        if row.model == Model::Fast { self.large } else { self.small }
    }

    fn variables(&self, row: &Row, device: &Path) -> Variables {
        let images = self.images(row);
        let len = PathBuf::from(images.len().to_string());
        Variables::from([
            ("SKIFF", self.skiff.into()),
            ("DEVICE", device.into()),
            ("IMAGE", images.image.clone()),
            ("PLAIN", images.plain.clone()),
            ("ZST", images.zst.clone()),
            ("BMAP", images.bmap.clone()),
            ("LEN", len),
            ("OUT", images.image.clone()),
        ])
    }

    /// Runs every program of a row once in each round, in turn; the median of each.
    pub fn measure(&self, row: &Row) -> Vec<Cost> {
        let images = self.images(row);
        // As large as the image: the others do not grow what they copy.
        let medium = Medium::new(row.model, images.len(), self.directory);
        let variables = self.variables(row, medium.path());
        let mut costs = vec![Vec::new(); row.programs.len()];
        for round in 0..self.rounds {
            for (program, costs) in row.programs.iter().zip(&mut costs) {
                if row.holds_older {
                    medium.hold_older(images)
                } else {
                    medium.blank()
                }
                images.cool();
                medium.take_use();
                let cost = program.run(&variables);
                if let Some(used) = medium.take_use() {
                    eprintln!("{used:?}");
                }
                eprintln!(
                    "{}: {}: {:.2} s, {:.2} s of processor, {:.0} MB",
                    row.title, program.name, cost.wall, cost.cpu, cost.rss_mb
                );
                if round == 0 {
                    medium.expect(images);
                }
                costs.push(cost);
            }
        }
        costs.iter().map(|costs| median_cost(costs)).collect()
    }

    /// What the medium itself needs, in seconds, to write an image, or only what matters of it, and to read what matters.
    fn least(&self, row: &Row) -> f64 {
        let images = self.images(row);
        let mapped = images.map().mapped_len();
        let written = if row.keeps { mapped } else { images.len() };
        written as f64 / CARD_RATES.write + mapped as f64 / CARD_RATES.read
    }

    /// Measured rows as Markdown.
    pub fn table(&self, measured: &[(Row, Vec<Cost>)]) -> String {
        let headings = ["work", "program", "wall s", "CPU s", "peak MB", "wall, ours/it", "bar"];
        let mut table = Table::new(&headings);
        let mut commands = String::new();
        for (row, costs) in measured {
            for (index, (program, cost)) in row.programs.iter().zip(costs).enumerate() {
                let title = if index == 0 { row.title } else { "" };
                let (ratio, bar) = self.verdict(row, index, costs);
                table.row([
                    title.into(),
                    program.name.clone(),
                    number(cost.wall),
                    number(cost.cpu),
                    format!("{:.0}", cost.rss_mb),
                    ratio,
                    bar,
                ]);
                let _ = writeln!(commands, "# {}, {}\n{}", row.title, program.name, program.script);
            }
        }
        format!("{table}\n<details><summary>Commands</summary>\n\n```sh\n{commands}```\n\n</details>\n")
    }

    /// What ours takes as a part of this program, or of the medium's own time; and whether that is good enough.
    fn verdict(&self, row: &Row, index: usize, costs: &[Cost]) -> (String, String) {
        let ours = costs[0];
        let (ratio, most) = match (index, &row.bar) {
            (0, Bar::OfMedium(most)) => (ours.wall / self.least(row), Some(*most)),
            (0, Bar::OfOther(_)) => {
                let good = if ours.rss_mb <= MOST_MEMORY { "" } else { ": missed" };
                return (String::new(), format!("{MOST_MEMORY} MB{good}"));
            }
            (1, Bar::OfOther(most)) => (ours.wall / costs[1].wall, Some(*most)),
            _ => (ours.wall / costs[index].wall, None),
        };
        let shown = if index == 0 { format!("{} of the medium's", number(ratio)) } else { number(ratio) };
        let verdict = |most: f64| format!("{}{}", number(most), if ratio <= most { "" } else { ": missed" });
        (shown, most.map(verdict).unwrap_or_default())
    }
}
