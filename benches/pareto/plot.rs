//! Size against the processor time of the build, and against the time of a read.

use crate::common::chart::{Anchor, Chart};
use crate::grid::{Point, is_best};

const WIDTH: f64 = 1010.0;
const HEIGHT: f64 = 500.0;
const TOP: f64 = 96.0;
const BOTTOM: f64 = 440.0;
/// Left and right ends of both panels.
const PANELS: [(f64, f64); 2] = [(64.0, 490.0), (564.0, 990.0)];

/// One panel: where it is, and what is to the right.
struct Panel<'a> {
    left: f64,
    right: f64,
    heading: &'a str,
    price: fn(&Point) -> f64,
}

/// A scale from values to pixels; logarithmic if so said.
struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    logarithmic: bool,
}

/// Draws all points of a tree.
pub fn draw(name: &str, points: &[Point]) -> Chart {
    let mut chart = Chart::new(WIDTH, HEIGHT);
    chart.text("title", Anchor::Start, (20.0, 32.0), &format!("Size, build and reads: {name}"));
    chart.text(
        "muted",
        Anchor::Start,
        (20.0, 52.0),
        "full: no other is smaller and cheaper; left and low is better; lines join levels of zstd",
    );
    draw_legend(&mut chart, points);
    let headings = [
        ("processor time of the build, s", (|point| point.cpu) as fn(&Point) -> f64),
        ("read of 4 KiB from a card of 20 MB/s, ms", card),
    ];
    for ((left, right), (heading, price)) in PANELS.into_iter().zip(headings) {
        Panel { left, right, heading, price }.draw(&mut chart, points);
    }
    chart
}

fn card(point: &Point) -> f64 {
    point.reads.as_ref().map_or(f64::NAN, |reads| reads.card_ms())
}

/// Block sizes, the smallest first.
fn blocks(points: &[Point]) -> Vec<(u64, String)> {
    let mut blocks: Vec<(u64, String)> =
        points.iter().map(|point| (point.cell.block_bytes(), point.cell.block.clone())).collect();
    blocks.sort();
    blocks.dedup();
    blocks
}

/// The colour of a block size.
fn class_of(point: &Point, points: &[Point]) -> String {
    let index = blocks(points).iter().position(|(_, block)| *block == point.cell.block).unwrap_or_default();
    format!("c{}", index % 6)
}

fn draw_legend(chart: &mut Chart, points: &[Point]) {
    for (index, (_, block)) in blocks(points).iter().rev().enumerate() {
        let x = WIDTH - 30.0 - 76.0 * index as f64;
        let class = format!("c{}", (blocks(points).len() - 1 - index) % 6);
        chart.text("", Anchor::End, (x, 32.0), block);
        chart.disc(&class, (x - 46.0, 28.0), 5.0);
    }
}

impl Panel<'_> {
    fn draw(&self, chart: &mut Chart, points: &[Point]) {
        let points: Vec<&Point> = points.iter().filter(|point| (self.price)(point).is_finite()).collect();
        chart.text(
            "strong",
            Anchor::Start,
            (self.left, TOP - 16.0),
            &format!("size in MB against {}", self.heading),
        );
        chart.line("axis", (self.left, BOTTOM), (self.right, BOTTOM));
        chart.line("axis", (self.left, TOP), (self.left, BOTTOM));
        if points.is_empty() {
            return chart.text("muted", Anchor::Start, (self.left + 12.0, TOP + 20.0), "not measured");
        }
        let prices: Vec<f64> = points.iter().map(|point| (self.price)(point)).collect();
        let sizes: Vec<f64> = points.iter().map(|point| point.size_mb).collect();
        let across = Scale::over(&prices, (self.left + 12.0, self.right - 12.0), true);
        let up = Scale::over(&sizes, (BOTTOM - 12.0, TOP + 12.0), false);
        self.draw_marks(chart, &across, &up);
        let place = |point: &Point| (across.place((self.price)(point)), up.place(point.size_mb));
        draw_links(chart, &points, &place);
        self.draw_points(chart, &points, &place);
    }

    fn draw_marks(&self, chart: &mut Chart, across: &Scale, up: &Scale) {
        for value in across.marks() {
            let x = across.place(value);
            chart.line("grid", (x, TOP), (x, BOTTOM));
            chart.text("muted", Anchor::Middle, (x, BOTTOM + 16.0), &shown(value));
        }
        for value in up.marks() {
            let y = up.place(value);
            chart.line("grid", (self.left, y), (self.right, y));
            chart.text("muted", Anchor::End, (self.left - 6.0, y + 4.0), &shown(value));
        }
    }

    fn draw_points(&self, chart: &mut Chart, points: &[&Point], place: &dyn Fn(&Point) -> (f64, f64)) {
        let all: Vec<Point> = points.iter().map(|point| (*point).clone()).collect();
        let mut labels: Vec<(f64, f64)> = Vec::new();
        for point in points {
            let best = is_best(point, &all, |point| vec![point.size_mb, (self.price)(point)]);
            let (x, y) = place(point);
            let class = class_of(point, &all);
            chart.disc(&if best { class } else { format!("{class} hollow") }, (x, y), 4.5);
            // A label that would cover another is left out.
            if (best || !point.cell.codec.starts_with("zstd"))
                && labels.iter().all(|(lx, ly)| (lx - x).abs() > 46.0 || (ly - y).abs() > 11.0)
            {
                let (anchor, dx) =
                    if x > self.right - 60.0 { (Anchor::End, -8.0) } else { (Anchor::Start, 8.0) };
                chart.text("small", anchor, (x + dx, y - 3.0), &point.cell.codec.replace(':', " "));
                labels.push((x, y));
            }
        }
    }
}

/// Joins the levels of zstd at each block size.
fn draw_links(chart: &mut Chart, points: &[&Point], place: &dyn Fn(&Point) -> (f64, f64)) {
    let all: Vec<Point> = points.iter().map(|point| (*point).clone()).collect();
    let zstd: Vec<&&Point> = points.iter().filter(|point| point.cell.codec.starts_with("zstd")).collect();
    for (_, block) in blocks(&all) {
        let levels: Vec<&&&Point> = zstd.iter().filter(|point| point.cell.block == block).collect();
        for pair in levels.windows(2) {
            chart.line(&format!("{} link", class_of(pair[0], &all)), place(pair[0]), place(pair[1]));
        }
    }
}

impl Scale {
    fn over(values: &[f64], (start, end): (f64, f64), logarithmic: bool) -> Scale {
        let from = values.iter().copied().fold(f64::INFINITY, f64::min);
        let to = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Scale { from, to, start, end, logarithmic }
    }

    fn place(&self, value: f64) -> f64 {
        let scaled = |value: f64| if self.logarithmic { value.ln() } else { value };
        let range = scaled(self.to) - scaled(self.from);
        let part = if range > 0.0 { (scaled(value) - scaled(self.from)) / range } else { 0.5 };
        self.start + (self.end - self.start) * part
    }

    /// Round values in the range: 1, 2 and 5 times powers of ten, or steps of such a number.
    fn marks(&self) -> Vec<f64> {
        let in_range = |value: &f64| (self.from..=self.to).contains(value);
        let rounds = (-3..7).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
        if self.logarithmic {
            return rounds.filter(in_range).collect();
        }
        let wanted = (self.to - self.from) / 5.0;
        let step = rounds.into_iter().find(|step| *step >= wanted).unwrap_or(wanted);
        let first = (self.from / step).ceil() as i64;
        (first..).map(|count| count as f64 * step).take_while(|value| *value <= self.to).collect()
    }
}

fn shown(value: f64) -> String {
    if value < 1.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}
