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
         through loading the model, to the last commit. A point differs in one setting from: {}.</p>",
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
        ("CPU seconds", number("cpu_seconds", 1.0, 1)),
        ("peak MB", number("peak_rss_bytes", 1e-6, 0)),
        ("% idle of the model", number("model_idle_share", 100.0, 1)),
    ])
}

/// A row for each point.
fn points(sweep: &Sweep) -> String {
    let head = columns(&sweep.rates).into_iter().map(str::to_owned);
    let rows = sweep.points.iter();
    let rows = rows.map(|point| cells(point, &sweep.rates));
    table(
        "All points",
        "Medians of the repeats, and of the wall time its ends",
        head.collect(),
        rows,
    )
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
    let head = ["point", "reason"].map(str::to_owned);
    let what = "The figures of these points are those of their other runs, if there are any";
    table("Failed runs", what, head.into(), failed)
}

/// CAI's figures, and why they are no ranking.
fn published() -> String {
    const WHAT: &str = "Staylor et al. 2025, <i>Scalable Cosmic AI Inference using Cloud Serverless Computing</i>, \
        arXiv:2501.06249; the table is of figures from its abstract and from its repository, UVA-MLSys/AI-for-Astronomy at \
        ba033be. <b>They are no measurements of this machine, and they differ from those above in more than the program:</b> \
        the hardware (up to 517 Lambda functions at a time); the weights (a checkpoint of AstroMAE of their own, run by eager \
        PyTorch in float32); the data (cutouts of 32 pixels, cut into files of the partition size beforehand); what is timed \
        (a column says so); and what is kept (timings, no predictions). Hubbleflow’s runs read Parquet, and write and commit \
        their predictions within the time. A GB of CAI’s is about 1.06 billion bytes of tensors.";
    let head = [
        "varied",
        "on",
        "GB",
        "partition MB",
        "batch",
        "Lambdas",
        "seconds",
        "Mbit/s",
        "$",
        "what is timed",
        "source",
    ];
    let head = head.map(str::to_owned);
    let rows = PUBLISHED.iter().map(published_cells);
    table("What CAI has published", WHAT, head.into(), rows)
}

fn published_cells(of: &Published) -> Vec<String> {
    let whole = |number: Option<u32>| number.map_or_else(String::new, |it| it.to_string());
    let number = |number: Option<f64>, decimals: usize| {
        number.map_or_else(String::new, |it| format!("{it:.decimals$}"))
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
        of.timed.to_owned(),
        of.source.to_owned(),
    ]
}

/// A table as wide as the page. `what` is HTML; cells are text.
fn table(
    title: &str,
    what: &str,
    head: Vec<String>,
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let row = |cells: Vec<String>, tag: &str| {
        let cells = cells.iter();
        let cells = cells.map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
        format!("<tr>{}</tr>", cells.collect::<String>())
    };
    let head = row(head, "th");
    let rows: Vec<String> = rows.into_iter().map(|cells| row(cells, "td")).collect();
    format!(
        "<section class=\"wide\"><h2>{title}</h2><p>{what}</p>\n<table class=\"plain\"><thead>{head}</thead>\n<tbody>\n{}\n\
         </tbody></table></section>",
        rows.join("\n")
    )
}
