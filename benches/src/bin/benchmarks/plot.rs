//! [`draw`]: a table as bars, a group of them for each column.

use std::error::Error;

use chinwag_benches::table::{Better, Role, Table, figure};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const WIDTH: u32 = 960;
const HEIGHT: u32 = 440;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const FAINT: RGBColor = RGBColor(0xd8, 0xde, 0xe4);
/// From this many bars on, their numbers would not be legible.
const LABELS_MAX: usize = 20;
/// Numbers further apart than this are drawn on a logarithmic scale.
const SPREAD_MAX: f64 = 20.0;
/// What a letter is wide, in parts of its height: for legends, whose text is not measured.
const LETTER: f64 = 0.56;

/// Chinwag in blues and greens, others in warm colours, floors in greys.
const MAIN: RGBColor = RGBColor(0x08, 0x51, 0x9c);
const CHINWAG: [RGBColor; 5] = [
    RGBColor(0x42, 0x92, 0xc6),
    RGBColor(0x2c, 0xa2, 0x8f),
    RGBColor(0x9e, 0xca, 0xe1),
    RGBColor(0x66, 0xc2, 0xa4),
    RGBColor(0x75, 0x6b, 0xb1),
];
const PEERS: [RGBColor; 5] = [
    RGBColor(0xe6, 0x55, 0x0d),
    RGBColor(0xfd, 0xae, 0x6b),
    RGBColor(0xa6, 0x36, 0x03),
    RGBColor(0xd4, 0x42, 0x7f),
    RGBColor(0xf7, 0xce, 0x46),
];
const FLOORS: [RGBColor; 3] =
    [RGBColor(0x8c, 0x95, 0x9f), RGBColor(0x57, 0x60, 0x6a), RGBColor(0xc4, 0xca, 0xd0)];

/// The picture, as SVG.
pub(crate) fn draw(table: &Table) -> Result<String> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        root.fill(&WHITE)?;
        let colors = colors(table);
        let below = heading(&root, table, &colors)?;
        let (_, chart) = root.split_vertically(below);
        bars(&chart, table, &colors)?;
        root.present()?;
    }
    Ok(svg)
}

fn colors(table: &Table) -> Vec<RGBColor> {
    let (mut own, mut peers, mut floors) =
        (CHINWAG.iter().cycle(), PEERS.iter().cycle(), FLOORS.iter().cycle());
    let color = |role| match role {
        Role::Main => Some(&MAIN),
        Role::Chinwag => own.next(),
        Role::Peer => peers.next(),
        Role::Floor => floors.next(),
    };
    table
        .contenders
        .iter()
        .map(|contender| contender.role)
        .map(color)
        .map(|color| *color.unwrap_or(&INK))
        .collect()
}

/// Title, unit and legend; gives where they end.
fn heading(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    table: &Table,
    colors: &[RGBColor],
) -> Result<i32> {
    let better = match table.better {
        Better::Lower => "lower is better",
        Better::Higher => "higher is better",
    };
    let is_log = scale(table).is_some_and(|scale| scale.is_log);
    let scale = if is_log { ", logarithmic" } else { "" };
    root.draw(&Text::new(table.title.clone(), (16, 12), (FONT, 20).into_font().color(&INK)))?;
    let unit = format!("{}; {better}{scale}", table.unit);
    root.draw(&Text::new(unit, (16, 38), (FONT, 14).into_font().color(&INK)))?;
    let (mut x, mut y) = (16, 64);
    for (contender, color) in table.contenders.iter().zip(colors) {
        let width = 24 + pixels(contender.name.chars().count() as f64 * 14.0 * LETTER) + 14;
        if x + width > pixels(f64::from(WIDTH)) - 8 {
            (x, y) = (16, y + 20);
        }
        root.draw(&Rectangle::new([(x, y), (x + 14, y + 14)], color.filled()))?;
        root.draw(&Text::new(
            contender.name.clone(),
            (x + 20, y),
            (FONT, 14).into_font().color(&INK),
        ))?;
        x += width;
    }
    Ok(y + 24)
}

/// What the axis shows: numbers as they are, or their logarithms to ten.
#[derive(Clone, Copy)]
struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
}

impl Scale {
    /// Where a number is.
    fn place(self, value: f64) -> f64 {
        if self.is_log { value.log10() } else { value }
    }

    /// The number of a place.
    fn value(self, place: f64) -> f64 {
        if self.is_log { 10_f64.powf(place) } else { place }
    }

    /// How many lines: one for each power of ten, or some.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "numbers have at most 600 powers of ten between them"
    )]
    fn lines(self) -> usize {
        if self.is_log { (self.high - self.low).floor() as usize + 1 } else { 6 }
    }
}

/// From all that is drawn; none without numbers.
fn scale(table: &Table) -> Option<Scale> {
    let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
    for rounds in table.contenders.iter().flat_map(|contender| &contender.rounds) {
        if !rounds.is_empty() {
            let (least, most) = deciles(rounds);
            (low, high) = (low.min(least), high.max(most));
        }
    }
    if !(high > 0.0 && low.is_finite()) {
        return None;
    }
    if low > 0.0 && high / low > SPREAD_MAX {
        // A bar begins at a power of ten well below it; above the highest is room for its number.
        let (low, high) = ((low / 1.5).log10().floor(), high.log10());
        Some(Scale { low, high: high + (high - low) * 0.08, is_log: true })
    } else {
        Some(Scale { low: 0.0, high: high * 1.12, is_log: false })
    }
}

fn bars(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    table: &Table,
    colors: &[RGBColor],
) -> Result<()> {
    let Some(scale) = scale(table) else { return Ok(()) };
    let groups = table.groups.len();
    let mut builder = ChartBuilder::on(area);
    builder.margin(8).margin_right(16).x_label_area_size(50).y_label_area_size(76);
    let mut chart = builder.build_cartesian_2d(0.0..groups as f64, scale.low..scale.high)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .bold_line_style(FAINT)
        .light_line_style(WHITE)
        .axis_style(FAINT)
        .y_labels(scale.lines())
        .y_label_style((FONT, 13).into_font().color(&INK))
        .y_label_formatter(&|place| tick(scale.value(*place)))
        .draw()?;
    let rows = table.contenders.len();
    let is_labelled = rows * groups <= LABELS_MAX;
    // Of a group's place, a part stays free between it and the next.
    let width = 0.86 / rows as f64;
    for group in 0..groups {
        for (row, color) in colors.iter().enumerate() {
            let Some(median) = table.median(row, group) else { continue };
            let left = group as f64 + 0.07 + width * row as f64;
            let (middle, right) = (left + width * 0.5, left + width * 0.92);
            let top = scale.place(median);
            chart
                .draw_series([Rectangle::new([(left, scale.low), (right, top)], color.filled())])?;
            let rounds = &table.contenders[row].rounds[group];
            let (least, most) = deciles(rounds);
            if rounds.len() > 1 {
                let line = vec![(middle, scale.place(least)), (middle, scale.place(most))];
                chart.draw_series([PathElement::new(line, INK.stroke_width(1))])?;
            }
            if is_labelled {
                let style =
                    (FONT, 12).into_font().color(&INK).pos(Pos::new(HPos::Center, VPos::Bottom));
                let at = (middle, scale.place(most.max(median)));
                let above = EmptyElement::at(at) + Text::new(figure(median), (0, -3), style);
                chart.draw_series([above])?;
            }
        }
    }
    let plot = chart.plotting_area().get_pixel_range();
    let origin = area.get_base_pixel();
    let (left, right) = (f64::from(plot.0.start - origin.0), f64::from(plot.0.end - origin.0));
    labels(area, table, plot.1.end - origin.1 + 6, (left, right))
}

/// The groups' names below the bars, in as many lines as they need.
fn labels(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    table: &Table,
    top: i32,
    (left, right): (f64, f64),
) -> Result<()> {
    let slot = (right - left) / table.groups.len() as f64;
    let letters = slot / (13.0 * LETTER);
    let style = (FONT, 13).into_font().color(&INK).pos(Pos::new(HPos::Center, VPos::Top));
    for (at, group) in table.groups.iter().enumerate() {
        let x = left + (at as f64 + 0.5) * slot;
        let mut lines = vec![String::new()];
        for word in group.split(' ') {
            let line = lines.last_mut().expect("it begins with one");
            if !line.is_empty() && (line.len() + word.len()) as f64 >= letters {
                lines.push(word.into());
            } else {
                line.push_str(if line.is_empty() { "" } else { " " });
                line.push_str(word);
            }
        }
        for (line, y) in lines.into_iter().zip((top..).step_by(15)) {
            area.draw(&Text::new(line, (pixels(x), y), style.clone()))?;
        }
    }
    Ok(())
}

/// What a tenth of the rounds is below, and what a tenth is above. Not of none.
fn deciles(rounds: &[f64]) -> (f64, f64) {
    let mut sorted = rounds.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    (sorted[last / 10], sorted[last - last / 10])
}

/// A number beside the axis: short.
fn tick(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, "M"),
        1e4..1e6 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    // What a logarithm has lost and got back.
    let rounded = (value * 1e6).round() / 1e6;
    format!("{rounded}{unit}")
}

/// Whole pixels of what fits a picture.
#[expect(clippy::cast_possible_truncation, reason = "a picture has a thousand pixels")]
fn pixels(length: f64) -> i32 {
    length.round() as i32
}
