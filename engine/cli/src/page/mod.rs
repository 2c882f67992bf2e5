//! Pages that need nothing else: a title, cards, charts and tables in the style of the house.
mod chart;

pub use chart::Chart;

/// A page of this title. `head` comes first, and then the sections of `body`, in two columns where they fit.
pub fn page(title: &str, head: &str, body: &str) -> String {
    let style = include_str!("page.css");
    format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{head}
<div class="charts">
{body}
</div>
</main>
</body>
</html>
"#
    )
}

/// A chart below its title and its legend.
pub fn section(title: &str, legend: &str, chart: &str) -> String {
    format!("<section><h2>{title}</h2><p>{legend}</p>{chart}</section>")
}

/// Numbers with their names.
pub fn cards(cards: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let cards: String = cards
        .into_iter()
        .map(|(name, value)| format!("<div><b>{value}</b><span>{name}</span></div>"))
        .collect();
    format!(r#"<div class="numbers">{cards}</div>"#)
}

/// A number with its thousands apart.
pub fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// Text as HTML.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
