//! The page of a sweep: its charts, its table, and beside them what CAI has published.
use std::fmt::Write;

use super::{
    cai::{PUBLISHED, Published},
    plots,
    results::{Run, Sweep, cells, columns},
};
use crate::page::{cards, escape, page};

/// The page.
pub(super) fn sweep_page(sweep: &Sweep) -> String {
    let title = format!("Sweep of {}", escape(&sweep.catalog));
    let body = [
        plots::charts(sweep),
        points(sweep),
        failures(sweep),
        published(),
    ];
    page(&title, &head(sweep), &body.join("\n"))
}

/// What was run, and how figures are counted.
fn head(sweep: &Sweep) -> String {
    let device = sweep.device();
    let mut head = format!(
        "<p>Model {}, {device}; {}; hubbleflow {}. Each point is {} whole runs, each in a process of its own: from its start, \
         through loading the model, to the last commit. A chart varies one setting and holds the others at: {}. The numbers \
         below are of that point.</p>",
        escape(&sweep.model),
        escape(&sweep.machine.to_string()),
        env!("CARGO_PKG_VERSION"),
        sweep.repeats,
        sweep.base,
    );
    let bytes = sweep.rates.bytes_per_galaxy;
    let _ = write!(
        head,
        "<p>Throughput: galaxies written × {bytes} bytes (a galaxy as the model takes it, float32) × 8, by wall time. Peak \
         memory: the most that all processes of a run hold at one moment; a page that processes share counts for each. Idle \
         share: 1 − (seconds in which threads of the model have a batch) / (wall time × threads of the model).",
    );
    if let Some(price) = sweep.rates.price_per_machine_hour {
        let _ = write!(head, " Cost (machine): wall time / 3600 s × ${price}.");
    }
    if let Some(price) = sweep.rates.price_per_gb_second {
        let _ = write!(
            head,
            " Cost (GB s): wall time × peak memory in GB × ${price}."
        );
    }
    head.push_str("</p>");
    let base = sweep.points.iter().find(|of| of.point == sweep.base);
    let number = |name: &str, scale: f64, decimals: usize| {
        let spread = base.and_then(|of| of.of(name));
        spread.map_or_else(
            || "–".to_owned(),
            |of| format!("{:.decimals$}", of.median * scale),
        )
    };
    head + &cards([
        ("wall seconds", number("wall_seconds", 1.0, 2)),
        ("galaxies a second", number("galaxies_per_second", 1.0, 0)),
        ("Mbit a second", number("bits_per_second", 1e-6, 1)),
        ("peak MB", number("peak_rss_bytes", 1e-6, 0)),
        ("% idle of the model", number("model_idle_share", 100.0, 1)),
    ])
}

/// A row for each point.
fn points(sweep: &Sweep) -> String {
    let rows = sweep.points.iter();
    let rows = rows.map(|point| cells(point, &sweep.rates));
    let table = table("plain", &columns(&sweep.rates), rows);
    let what = "Medians of the repeats, and of the wall time its ends";
    wide("All points", what, &table)
}

/// Why runs failed, if some did.
fn failures(sweep: &Sweep) -> String {
    let failed = sweep.points.iter().flat_map(|of| {
        let runs = of.runs.iter();
        let errors = runs.filter_map(|run| match run {
            Run::Done(_) => None,
            Run::Failed { error } => Some(vec![of.point.to_string(), error.clone()]),
        });
        errors.collect::<Vec<_>>()
    });
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() {
        return String::new();
    }
    let table = table("plain text", &["point", "reason"], failed);
    let what = "The figures of these points are those of their other runs, if there are any";
    wide("Failed runs", what, &table)
}

/// CAI's figures, and why they are no ranking.
fn published() -> String {
    const WHAT: &str = "Staylor et al. 2025, <em>Scalable Cosmic AI Inference using Cloud Serverless Computing</em>, \
        arXiv:2501.06249: figures from its abstract, and from its repository UVA-MLSys/AI-for-Astronomy at ba033be. <b>They \
        are no measurements of this machine, and they differ from those above in more than the program:</b> in the hardware \
        (up to 517 Lambda functions at a time); in the weights (a checkpoint of AstroMAE of their own, run by eager PyTorch in \
        float32); in the data (cutouts of 32 pixels, cut into files of the partition size beforehand); in what is timed, \
        which the numbers below the table say; and in what is kept (timings, no predictions). Hubbleflow’s runs read \
        Parquet, and write and commit their predictions within the time. A GB of CAI’s is some 1.06 billion bytes of tensors.";
    const COLUMNS: [&str; 11] = [
        "varied",
        "on",
        "GB",
        "partition MB",
        "batch",
        "Lambdas",
        "seconds",
        "Mbit/s",
        "$",
        "timed",
        "source",
    ];
    let mut notes = Vec::new();
    let rows: Vec<_> = PUBLISHED
        .iter()
        .map(|of| published_cells(of, &mut notes))
        .collect();
    let notes: String = notes
        .iter()
        .map(|note| format!("<li>{}</li>", escape(note)))
        .collect();
    let table = table("plain", &COLUMNS, rows);
    wide(
        "What CAI has published",
        WHAT,
        &format!("{table}<ol>{notes}</ol>"),
    )
}

fn published_cells(of: &Published, notes: &mut Vec<&'static str>) -> Vec<String> {
    let whole = |number: Option<u32>| number.map_or_else(String::new, |it| it.to_string());
    let number = |number: Option<f64>, decimals: usize| {
        number.map_or_else(String::new, |it| format!("{it:.decimals$}"))
    };
    let mut note = |text: &'static str| {
        let place = notes.iter().position(|note| *note == text);
        let place = place.unwrap_or_else(|| {
            notes.push(text);
            notes.len() - 1
        });
        (place + 1).to_string()
    };
    vec![
        of.experiment.to_owned(),
        of.hardware.to_owned(),
        of.data_gb.to_string(),
        whole(of.partition_mb),
        of.batch.to_string(),
        whole(of.lambdas),
        number(of.seconds, 1),
        number(of.bits_per_second.map(|bits| bits * 1e-6), 1),
        number(of.cost, 2),
        note(of.timed),
        note(of.source),
    ]
}

/// A section as wide as the page. `what` is HTML.
fn wide(title: &str, what: &str, content: &str) -> String {
    format!(r#"<section class="wide"><h2>{title}</h2><p>{what}</p>{content}</section>"#)
}

/// A table of text.
fn table(class: &str, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let row = |cells: &[String]| {
        let cells = cells.iter();
        let cells = cells.map(|cell| format!("<td>{}</td>", escape(cell)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let head = head.iter().map(|name| format!("<th>{}</th>", escape(name)));
    let head: String = head.collect();
    let rows: String = rows.into_iter().map(|cells| row(&cells)).collect();
    format!(
        "<table class=\"{class}\"><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table>"
    )
}
