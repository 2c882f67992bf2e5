//! A chart as inline SVG: axes with round numbers, and marks in the colours of the page, light or dark.
use std::fmt::Write;

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// A chart that is being drawn, over some range of x and y.
#[derive(Debug)]
pub struct Chart {
    x: [f64; 2],
    y: [f64; 2],
    /// Where x is named, and by what; `None` for round numbers.
    x_ticks: Option<Vec<(f64, String)>>,
    marks: String,
}

impl Chart {
    /// An empty chart; a range of no width is widened.
    pub fn new(x: [f64; 2], y: [f64; 2]) -> Self {
        let wide = |[low, high]: [f64; 2]| [low, if high > low { high } else { low + 1.0 }];
        Self {
            x: wide(x),
            y: wide(y),
            x_ticks: None,
            marks: String::new(),
        }
    }

    /// The same chart with names at these x, in place of round numbers.
    pub fn with_x_ticks(self, ticks: Vec<(f64, String)>) -> Self {
        Self {
            x_ticks: Some(ticks),
            ..self
        }
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let part = |value: f64, [low, high]: [f64; 2]| (value - low) / (high - low);
        (
            LEFT + part(x, self.x) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - part(y, self.y) * (HEIGHT - TOP - BOTTOM),
        )
    }

    /// A rectangle from one corner to the other, as dense as `opacity`.
    pub fn cell(&mut self, from: (f64, f64), to: (f64, f64), opacity: f64, title: &str) {
        let ((left, bottom), (right, top)) = (self.at(from.0, from.1), self.at(to.0, to.1));
        // A hair wider than it is, so that no seams show.
        let (width, height) = (right - left + 0.3, bottom - top + 0.3);
        self.mark(format!(
            r#"<rect x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}" class="cell" fill-opacity="{opacity:.3}"><title>{title}</title></rect>"#
        ));
    }

    /// A line through points, if there are any.
    pub fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        if points.is_empty() {
            return;
        }
        let path = self.path(points);
        self.mark(format!(r#"<path d="{path}" class="{class}"/>"#));
    }

    /// The area between two lines over the same x: points x, low, high.
    pub fn band(&mut self, class: &str, points: &[(f64, f64, f64)]) {
        let low = points.iter().map(|&(x, low, _)| (x, low));
        let high = points.iter().rev().map(|&(x, _, high)| (x, high));
        let path = self.path(&low.chain(high).collect::<Vec<_>>());
        self.mark(format!(r#"<path d="{path}Z" class="{class}"/>"#));
    }

    /// A dot at a point, which says `title` when it is pointed at.
    pub fn dot(&mut self, x: f64, y: f64, title: &str) {
        let (x, y) = self.at(x, y);
        self.mark(format!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="3.5" class="dot"><title>{title}</title></circle>"#
        ));
    }

    fn path(&self, points: &[(f64, f64)]) -> String {
        let mut path = String::new();
        for (place, &(x, y)) in points.iter().enumerate() {
            let (x, y) = self.at(x, y);
            let step = if place == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{step}{x:.1} {y:.1}");
        }
        path
    }

    fn mark(&mut self, mark: String) {
        self.marks.push_str(&mark);
        self.marks.push('\n');
    }

    /// The chart with its axes; what lies outside is cut off.
    pub fn finish(self, x_label: &str, y_label: &str, what: &str) -> String {
        let (left, bottom) = self.at(self.x[0], self.y[0]);
        let (right, top) = self.at(self.x[1], self.y[1]);
        let mut axes = String::new();
        let x_ticks = self.x_ticks.clone();
        for (value, label) in x_ticks.unwrap_or_else(|| ticks(self.x)) {
            let (x, _) = self.at(value, self.y[0]);
            let _ = write!(
                axes,
                r#"<path d="M{x:.1} {bottom:.1}V{top:.1}" class="grid"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{label}</text>"#,
                bottom + 16.0
            );
        }
        for (value, label) in ticks(self.y) {
            let (_, y) = self.at(self.x[0], value);
            let _ = write!(
                axes,
                r#"<path d="M{left:.1} {y:.1}H{right:.1}" class="grid"/><text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"#,
                left - 7.0,
                y + 4.0
            );
        }
        let (width, height) = (right - left, bottom - top);
        let (middle, centre) = (f64::midpoint(left, right), f64::midpoint(top, bottom));
        let (foot, marks) = (HEIGHT - 8.0, self.marks);
        // Each chart's frame is named by what it shows.
        let clip: String = what.chars().filter(char::is_ascii_alphanumeric).collect();
        format!(
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{what}">
<clipPath id="{clip}"><rect x="{left}" y="{top}" width="{width:.1}" height="{height:.1}"/></clipPath>
{axes}
<g clip-path="url(#{clip})">
{marks}</g>
<rect x="{left}" y="{top}" width="{width:.1}" height="{height:.1}" class="frame"/>
<text x="{middle:.1}" y="{foot:.1}" text-anchor="middle" class="label">{x_label}</text>
<text transform="translate(14 {centre:.1}) rotate(-90)" text-anchor="middle" class="label">{y_label}</text>
</svg>"#
        )
    }
}

/// Some five round numbers in a range, and how they are written.
pub fn ticks([low, high]: [f64; 2]) -> Vec<(f64, String)> {
    let rough = (high - low) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|round| round * power);
    let step = steps.into_iter().find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(power * 10.0);
    let decimals = (0..6).find(|&decimals| {
        let scaled = step * 10_f64.powi(decimals);
        (scaled - scaled.round()).abs() < 1e-6
    });
    let decimals = decimals.unwrap_or(6) as usize;
    let first = (low / step - 1e-9).ceil() as i64;
    (first..)
        .map(|number| number as f64 * step)
        .take_while(|value| *value <= high + step * 1e-9)
        .map(|value| (value, format!("{:.decimals$}", value + 0.0)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::ticks;

    #[test]
    fn ticks_are_round() {
        let labels =
            |range| -> Vec<String> { ticks(range).into_iter().map(|(_, label)| label).collect() };
        assert_eq!(labels([0.0, 0.4]), ["0.0", "0.1", "0.2", "0.3", "0.4"]);
        assert_eq!(labels([14.2, 17.9]), ["15", "16", "17"]);
        assert_eq!(
            labels([-0.05, 0.05]),
            ["-0.04", "-0.02", "0.00", "0.02", "0.04"]
        );
        assert_eq!(
            labels([0.0, 12_000.0]),
            ["0", "2500", "5000", "7500", "10000"]
        );
    }
}
