//! Pieces of a chart, on the `svg` crate: colours that follow the reader's light or dark theme, and text.
//!
//! Drawn by hand because a plotting library knows neither bars against a mark of 100 % nor themes.

use std::path::Path;

use svg::node::element::{Circle, Line, Rectangle, Style, Text};
use svg::{Document, Node};

const STYLE: &str = "
text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; font-size: 12px; fill: #1f2328; }
.title { font-size: 17px; font-weight: 600; }
.strong { font-weight: 600; }
.muted { fill: #656d76; font-size: 11px; }
.small { fill: #656d76; font-size: 10px; }
.track { fill: #d8dee4; }
.page { fill: #ffffff; }
.axis { stroke: #afb8c1; stroke-width: 1; }
.grid { stroke: #d8dee4; stroke-width: 1; }
.good { fill: #1a7f5a; }
.bad { fill: #bc4c00; }
.c0 { fill: #0969da; stroke: #0969da; } .c1 { fill: #1a7f5a; stroke: #1a7f5a; }
.c2 { fill: #9a6700; stroke: #9a6700; } .c3 { fill: #cf222e; stroke: #cf222e; }
.c4 { fill: #8250df; stroke: #8250df; } .c5 { fill: #57606a; stroke: #57606a; }
.hollow { fill-opacity: 0.25; }
.link { fill: none; stroke-width: 1.2; stroke-opacity: 0.45; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .muted, .small { fill: #9198a1; } .track { fill: #30363d; } .page { fill: #0d1117; }
.axis { stroke: #6e7681; } .grid { stroke: #30363d; } .good { fill: #3fb98a; } .bad { fill: #f0883e; }
.c0 { fill: #58a6ff; stroke: #58a6ff; } .c1 { fill: #3fb98a; stroke: #3fb98a; } .c2 { fill: #d29922; stroke: #d29922; }
.c3 { fill: #ff7b72; stroke: #ff7b72; } .c4 { fill: #bc8cff; stroke: #bc8cff; } .c5 { fill: #9198a1; stroke: #9198a1; }
}
";

/// Where a text is fixed.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// At its left end.
    Start,
    /// In its middle.
    Middle,
    /// At its right end.
    End,
}

/// A drawing of a fixed size in pixels.
pub struct Chart {
    document: Document,
}

impl Chart {
    /// An empty drawing with a page behind it.
    pub fn new(width: f64, height: f64) -> Chart {
        let document = Document::new()
            .set("viewBox", (0, 0, width, height))
            .set("width", width)
            .set("height", height)
            .add(Style::new(STYLE));
        let mut chart = Chart { document };
        chart.rectangle("page", [0.0, 0.0, width, height], 6.0);
        chart
    }

    /// Anything else.
    pub fn add(&mut self, node: impl Into<Box<dyn Node>>) {
        self.document.append(node);
    }

    /// A text whose base line is at `y`.
    pub fn text(&mut self, class: &str, anchor: Anchor, (x, y): (f64, f64), text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.add(
            Text::new(text)
                .set("class", class)
                .set("text-anchor", anchor)
                .set("x", round(x))
                .set("y", round(y)),
        );
    }

    /// A filled rectangle: x, y, width, height.
    pub fn rectangle(&mut self, class: &str, [x, y, width, height]: [f64; 4], radius: f64) {
        let rectangle = Rectangle::new().set("x", round(x)).set("y", round(y)).set("rx", radius);
        self.add(rectangle.set("width", round(width)).set("height", round(height)).set("class", class));
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let line = Line::new().set("x1", round(x1)).set("y1", round(y1));
        self.add(line.set("x2", round(x2)).set("y2", round(y2)).set("class", class));
    }

    /// A disc.
    pub fn disc(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        self.add(Circle::new().set("cx", round(x)).set("cy", round(y)).set("r", radius).set("class", class));
    }

    /// Writes the drawing.
    pub fn save(&self, path: &Path) {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).expect("the directory of the chart can be made");
        }
        svg::save(path, &self.document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        eprintln!("chart: {}", path.display());
    }
}

/// A tenth of a pixel is as exact as anybody can see.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
