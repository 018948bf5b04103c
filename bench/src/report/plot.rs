//! Horizontal bars as SVG, one group of bars a row.

use std::fmt::Write;

use super::table::number;

/// Values this many times apart are drawn on a scale of powers of ten.
const DECADES: f64 = 20.0;

const WIDTH: f64 = 860.0;
/// Where the bars begin: left of it stand the names of the groups.
const LEFT: f64 = 250.0;
/// Room for the value behind the longest bar.
const RIGHT: f64 = 90.0;
const BAR: f64 = 15.0;
const GAP: f64 = 14.0;
const TOP: f64 = 84.0;
/// Legend entries on one line.
const LEGEND: usize = 7;

/// One subject of the plot.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// Of its bars.
    pub(crate) colour: &'static str,
}

/// The bars that belong together.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// One of each series; `None` where it was not measured.
    pub(crate) values: Vec<Option<f64>>,
}

/// What is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    /// Of all values, and which way is better.
    pub(crate) subtitle: String,
    pub(crate) series: Vec<Series>,
    pub(crate) groups: Vec<Group>,
}

/// Where a value lies between the ends of the axis.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scale {
    Linear {
        end: f64,
    },
    /// From 10^first to 10^last.
    Logarithmic {
        first: i32,
        last: i32,
    },
}

impl Scale {
    fn of(values: &[f64]) -> Self {
        let most = values.iter().copied().fold(0.0, f64::max);
        let positive = values.iter().copied().filter(|value| *value > 0.0);
        let least = positive.fold(f64::INFINITY, f64::min);
        if least.is_finite() && most / least > DECADES {
            return Self::Logarithmic {
                first: decade_below(least),
                last: decade_above(most),
            };
        }
        Self::Linear { end: round_end(most) }
    }

    /// From 0 to 1.
    fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { end } => value / end,
            Self::Logarithmic { first, last } => {
                let decades = f64::from(last - first);
                (value.max(f64::MIN_POSITIVE).log10() - f64::from(first)) / decades
            }
        };
        place.clamp(0.0, 1.0)
    }

    /// The values that a line of the grid marks.
    fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { end } => (0..=4).map(|quarter| end * f64::from(quarter) / 4.0).collect(),
            Self::Logarithmic { first, last } => (first..=last).map(|power| 10_f64.powi(power)).collect(),
        }
    }
}

/// The power of ten that lies below a value, so that its bar has a length.
fn decade_below(value: f64) -> i32 {
    let mut power = -12;
    while 10_f64.powi(power + 1) < value {
        power += 1;
    }
    power
}

fn decade_above(value: f64) -> i32 {
    let mut power = -12;
    while 10_f64.powi(power) < value {
        power += 1;
    }
    power
}

/// A round number that is not below the value and not far above it.
fn round_end(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let decade = 10_f64.powi(decade_below(value));
    let steps = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 5.0, 6.0, 8.0, 10.0];
    let step = steps.into_iter().find(|step| step * decade >= value);
    step.unwrap_or(10.0) * decade
}

impl Plot {
    /// The whole picture. It brings its own white ground, so that it can be read on a dark page too.
    pub(crate) fn svg(&self) -> String {
        let values: Vec<f64> = self
            .groups
            .iter()
            .flat_map(|group| group.values.iter().flatten().copied())
            .collect();
        let scale = Scale::of(&values);
        let bottom = TOP + self.groups.iter().map(height_of).sum::<f64>();
        let height = bottom + 34.0;
        let mut svg = String::new();
        let _ = write!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" font-family="system-ui, sans-serif" font-size="12" fill="#1f2328">
<title>{}</title>
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
<text x="16" y="26" font-size="17" font-weight="600">{}</text>
<text x="16" y="46" fill="#59636e">{}{}</text>
"##,
            escaped(&self.title),
            escaped(&self.title),
            escaped(&self.subtitle),
            match scale {
                Scale::Linear { .. } => "",
                Scale::Logarithmic { .. } => "; logarithmic",
            }
        );
        self.legend(&mut svg);
        grid(&mut svg, scale, bottom);
        self.bars(&mut svg, scale);
        svg.push_str("</svg>\n");
        svg
    }

    fn legend(&self, svg: &mut String) {
        let step = (WIDTH - 32.0) / float(self.series.len().clamp(1, LEGEND));
        for (index, series) in self.series.iter().enumerate() {
            let x = 16.0 + step * float(index % LEGEND);
            let _ = writeln!(
                svg,
                r#"<rect x="{x:.1}" y="58" width="11" height="11" fill="{}"/><text x="{:.1}" y="68">{}</text>"#,
                series.colour,
                x + 16.0,
                escaped(&series.name)
            );
        }
    }

    fn bars(&self, svg: &mut String, scale: Scale) {
        let mut y = TOP + GAP / 2.0;
        for group in &self.groups {
            let bars = float(bars_of(group)) * BAR;
            let _ = writeln!(
                svg,
                r#"<text x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 10.0,
                y + bars / 2.0 + 4.0,
                escaped(&group.name)
            );
            for (series, value) in self.series.iter().zip(&group.values) {
                let Some(value) = value else { continue };
                let width = (WIDTH - LEFT - RIGHT) * scale.place(*value);
                let _ = writeln!(
                    svg,
                    r#"<rect x="{LEFT}" y="{:.1}" width="{width:.1}" height="{:.1}" fill="{}"/><text x="{:.1}" y="{:.1}" font-size="11">{}</text>"#,
                    y + 1.0,
                    BAR - 2.0,
                    series.colour,
                    LEFT + width + 5.0,
                    y + BAR - 4.0,
                    number(*value)
                );
                y += BAR;
            }
            y += GAP;
        }
    }
}

fn bars_of(group: &Group) -> usize {
    group.values.iter().flatten().count()
}

fn height_of(group: &Group) -> f64 {
    float(bars_of(group)) * BAR + GAP
}

fn grid(svg: &mut String, scale: Scale, bottom: f64) {
    for tick in scale.ticks() {
        let x = LEFT + (WIDTH - LEFT - RIGHT) * scale.place(tick);
        let _ = writeln!(
            svg,
            r##"<line x1="{x:.1}" y1="{TOP}" x2="{x:.1}" y2="{bottom:.1}" stroke="#e4e8ec"/><text x="{x:.1}" y="{:.1}" text-anchor="middle" font-size="11" fill="#59636e">{}</text>"##,
            bottom + 16.0,
            tick_text(tick)
        );
    }
}

/// A power of ten or a part of a round number, without digits that say nothing.
fn tick_text(tick: f64) -> String {
    let text = number(tick);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Of a count of things that are drawn.
fn float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(values: &[Option<f64>]) -> Plot {
        Plot {
            title: "a < b".to_owned(),
            subtitle: "req/s".to_owned(),
            series: vec![
                Series {
                    name: "one".to_owned(),
                    colour: "#111111",
                };
                values.len()
            ],
            groups: vec![Group {
                name: "group".to_owned(),
                values: values.to_vec(),
            }],
        }
    }

    #[test]
    fn values_of_one_size_are_drawn_from_zero() {
        assert_eq!(Scale::of(&[10.0, 95.0]), Scale::Linear { end: 100.0 });
        assert_eq!(Scale::of(&[]), Scale::Linear { end: 1.0 });
    }

    #[test]
    fn values_that_span_decades_are_drawn_by_powers_of_ten() {
        let scale = Scale::of(&[3.0, 50_000.0]);
        assert_eq!(scale, Scale::Logarithmic { first: 0, last: 5 });
        assert!((scale.place(1000.0) - 0.6).abs() < 1e-9);
        assert_eq!(scale.ticks().len(), 6);
    }

    /// A bar without a length would look like a value of zero.
    #[test]
    fn the_least_value_of_a_logarithmic_scale_has_a_length() {
        let scale = Scale::of(&[10.0, 1000.0]);
        assert!(scale.place(10.0) > 0.1);
    }

    #[test]
    fn what_was_not_measured_has_no_bar() {
        let bars = |values: &[Option<f64>]| plot(values).svg().matches("<rect x=\"250\"").count();
        assert_eq!(bars(&[Some(1.0), None, Some(2.0)]), 2);
        assert_eq!(bars(&[None]), 0);
    }

    #[test]
    fn names_are_text_and_not_markup() {
        assert!(plot(&[Some(1.0)]).svg().contains("<title>a &lt; b</title>"));
    }
}
