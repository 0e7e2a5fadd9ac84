//! The chart for the README: ours against the first peer of every row, which is 100 %.

use crate::common::chart::{Anchor, Chart};
use crate::common::run::Cost;
use crate::results::{Measured, Results, ratios};
use crate::row::{Row, Section};

const WIDTH: f64 = 1010.0;
const LEFT: f64 = 20.0;
/// Where the panels start, how far they are apart, and how long the bar of the peer is.
const PANELS: f64 = 310.0;
const PANEL: f64 = 174.0;
const PEER: f64 = 136.0;
/// What is longer is cut off; the number says how long it is.
const LONGEST: f64 = 1.15;
const HEAD: f64 = 92.0;
const ROW: f64 = 40.0;
const SECTION: f64 = 30.0;

/// Heading of a panel, unit, and the quantity of it.
type Panel = (&'static str, &'static str, fn(&Cost) -> f64);
const QUANTITIES: [Panel; 4] = [
    ("wall time", "s", |cost| cost.wall),
    ("CPU time", "s", |cost| cost.cpu),
    ("peak memory", "MB", |cost| cost.rss_mb),
    ("size", "MB", |cost| cost.size_mb),
];

/// A row with its results, of which there are two or more.
type MeasuredRow<'a> = (&'a Row, &'a [Measured]);

/// Draws all rows that were measured with a peer.
pub fn draw(sections: &[Section], results: &Results) -> Chart {
    let measured: Vec<(&Section, Vec<MeasuredRow>)> = sections
        .iter()
        .map(|section| {
            let rows = section.rows.iter().filter_map(|row| Some((row, results.of(section, row)?)));
            (section, rows.filter(|(_, measured)| measured.len() > 1).collect())
        })
        .filter(|(_, rows): &(_, Vec<_>)| !rows.is_empty())
        .collect();
    let rows: usize = measured.iter().map(|(_, rows)| rows.len()).sum();
    let height = HEAD + ROW * rows as f64 + SECTION * measured.len() as f64 + 12.0;
    let mut chart = Chart::new(WIDTH, height);
    draw_head(&mut chart);
    let mut y = HEAD;
    for (section, rows) in measured {
        chart.line("grid", (LEFT, y), (WIDTH - LEFT, y));
        chart.text("strong", Anchor::Start, (LEFT, y + 20.0), section.title);
        y += SECTION;
        for (row, measured) in rows {
            draw_row(&mut chart, y, row, &measured[0], &measured[1]);
            y += ROW;
        }
    }
    chart
}

fn draw_head(chart: &mut Chart) {
    chart.text("title", Anchor::Start, (LEFT, 32.0), "skiff-image against the programs it replaces");
    chart.text(
        "muted",
        Anchor::Start,
        (LEFT, 52.0),
        "coloured: ours; grey: the other, 100 %; shorter is better",
    );
    for (index, (heading, ..)) in QUANTITIES.iter().enumerate() {
        chart.text("strong", Anchor::Start, (panel(index), HEAD - 12.0), heading);
    }
}

fn draw_row(chart: &mut Chart, y: f64, row: &Row, ours: &Measured, peer: &Measured) {
    chart.text("", Anchor::Start, (LEFT, y + 12.0), &row.title);
    chart.text("muted", Anchor::Start, (LEFT, y + 27.0), &format!("against {}", peer.name));
    let ratios = ratios(&ours.cost, &peer.cost);
    for (index, ((_, unit, quantity), ratio)) in QUANTITIES.iter().zip(ratios).enumerate() {
        let x = panel(index);
        let class = if ratio <= 1.005 { "good" } else { "bad" };
        chart.rectangle("track", [x, y + 2.0, PEER, 12.0], 2.0);
        chart.rectangle(class, [x, y + 2.0, (PEER * ratio.min(LONGEST)).max(1.5), 12.0], 2.0);
        let percent =
            if ratio < 0.1 { format!("{:.1} %", ratio * 100.0) } else { format!("{:.0} %", ratio * 100.0) };
        chart.text("strong", Anchor::Start, (x, y + 27.0), &percent);
        let values = format!("{} of {} {unit}", short(quantity(&ours.cost)), short(quantity(&peer.cost)));
        chart.text("small", Anchor::End, (x + PEER, y + 27.0), &values);
    }
}

fn panel(index: usize) -> f64 {
    PANELS + PANEL * index as f64
}

/// Three digits.
fn short(value: f64) -> String {
    match value {
        value if value < 1.0 => format!("{value:.2}"),
        value if value < 10.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}
