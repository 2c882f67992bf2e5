//! `hubbleflow report`: one page that needs nothing else, on how good the predictions are.
//!
//! Everything on it comes from committed rows: the metrics as they are written, and counts in bins for the plots.
mod flags;
mod histograms;
mod plots;
mod uncertainty;

use std::{collections::BTreeSet, fmt::Write};

use connectors::{Ledger, Location, Output, committed::standing, ledger::RowCounts};
use operators::{Metrics, metrics::Numbers, score::fold_up_to};
use tokio::runtime::Handle;

use hubbleflow::{
    OutputError, StoreOptions,
    status::{DropStatus, Status, status},
};

use crate::{
    Error,
    page::{self, escape, grouped, section},
};
use histograms::Histograms;
use uncertainty::MagChart;

/// Makes the page on an output, as it is now.
///
/// # Errors
/// The store's, or [`hubbleflow::Error::Output`] where nothing is committed or the metrics are not known.
pub async fn report(out: &str, options: &StoreOptions) -> Result<String, Error> {
    let status = status(out, None, options).await?;
    let Some(metrics) = &status.metrics else {
        let reason = status.metrics_unknown.as_deref();
        let reason = reason.unwrap_or("no drop is committed");
        return Err(unreadable(out, format!("no metrics: {reason}")));
    };
    let output = Output::new(Location::open(out, options)?);
    let ledger = Ledger::open(output.location()).await?;
    let origins: BTreeSet<String> = standing(ledger.entries(), status.sequence)
        .values()
        .flat_map(|entry| &entry.inputs)
        .filter_map(|input| input.origin.clone())
        .collect();
    let (sequence, runtime) = (metrics.sequence, Handle::current());
    let count = move || fold_up_to(&output, ledger, sequence, &runtime, Histograms::add);
    let counted = tokio::task::spawn_blocking(count).await;
    let counted = counted.expect("counting does not panic: what cannot be read is an error");
    let histograms = counted.map_err(|reason| unreadable(out, reason))?;
    Ok(report_page(&status, metrics, &origins, &histograms))
}

fn unreadable(out: &str, reason: String) -> Error {
    let out = out.to_owned();
    hubbleflow::Error::from(OutputError::Unreadable { out, reason }).into()
}

fn report_page(
    status: &Status,
    metrics: &Metrics,
    origins: &BTreeSet<String>,
    histograms: &Histograms,
) -> String {
    let title = format!("Photometric redshifts in {}", escape(&status.output));
    let (head, charts) = (head(status, metrics, origins), charts(metrics, histograms));
    let (numbers, drops) = (numbers(&metrics.all), drops(status, metrics));
    let flags = flags::table(status);
    page::page(
        &title,
        &format!("{head}\n{numbers}"),
        &format!("{charts}\n{drops}\n{flags}"),
    )
}

/// Where the scores come from.
fn head(status: &Status, metrics: &Metrics, origins: &BTreeSet<String>) -> String {
    let models: BTreeSet<&str> = status
        .drops
        .iter()
        .filter(|drop| drop.rows.written > 0)
        .map(|drop| &drop.model_id[..drop.model_id.len().min(12)])
        .collect();
    let models = models.into_iter().collect::<Vec<_>>().join(", ");
    let mut head = format!(
        "<p>{} predicted objects against their latest spec-z, from the rows of {} drops committed up to entry {} ({}); model {models}; \
         hubbleflow {}. dz = (z_phot - z_spec) / (1 + z_spec).</p>",
        grouped(metrics.all.n),
        status.drops.len(),
        metrics.sequence,
        escape(&metrics.drop),
        env!("CARGO_PKG_VERSION"),
    );
    for origin in origins {
        let _ = write!(
            head,
            r#"<p class="note"><b>The catalog says of itself:</b> {}. These are scores on such data, and on no other.</p>"#,
            escape(origin)
        );
    }
    head
}

/// The numbers over all objects.
fn numbers(all: &Numbers) -> String {
    let number = |value: Option<f64>| match value {
        None => "–".to_owned(),
        Some(value) if value != 0.0 && value.abs() < 1e-3 => format!("{value:.2e}"),
        Some(value) if value.abs() < 10.0 => format!("{value:.5}"),
        Some(value) => format!("{value:.1}"),
    };
    let percent = |value: Option<f64>| {
        value.map_or("–".to_owned(), |value| format!("{:.2} %", 100.0 * value))
    };
    let cards = [
        ("n", grouped(all.n)),
        ("sigma_nmad", number(all.sigma_nmad)),
        ("bias", number(all.bias)),
        ("bias_median", number(all.bias_median)),
        ("sigma_iqr", number(all.sigma_iqr)),
        ("outlier_fraction_0.05", percent(all.outlier_fraction_005)),
        ("outlier_fraction_0.15", percent(all.outlier_fraction_015)),
        ("mse of z", number(all.mse)),
        ("mae of z", number(all.mae)),
        ("r2 of z", number(all.r2)),
    ];
    let given = |name, value: Option<String>| value.map(|value| (name, value));
    let cards_of_intervals = [
        given("crps of z", all.crps.map(|crps| number(Some(crps)))),
        given("coverage_68", all.coverage_68.map(|of| percent(Some(of)))),
        given("coverage_95", all.coverage_95.map(|of| percent(Some(of)))),
        given(
            "calibrated_coverage_68",
            all.calibrated_coverage_68.map(|of| percent(Some(of))),
        ),
        given(
            "calibrated_coverage_95",
            all.calibrated_coverage_95.map(|of| percent(Some(of))),
        ),
    ];
    let cards = cards
        .into_iter()
        .chain(cards_of_intervals.into_iter().flatten());
    page::cards(cards)
}

fn charts(metrics: &Metrics, histograms: &Histograms) -> String {
    let spread = r#"<i class="p"></i>running median, <span>band: 16 to 84 %</span><i class="o"></i>0.05<i class="f"></i>0.15"#;
    let of_redshifts = format!(
        r#"Scored objects<i class="s"></i>z_spec<i class="p"></i>z_phot{}"#,
        stacked(histograms)
    );
    let mut sections = vec![
        section(
            "Photo-z against spec-z",
            r#"Objects a cell, on a logarithmic scale<i class="k"></i>one to one<i class="o"></i>|dz| = 0.05<i class="f"></i>0.15"#,
            &plots::density(histograms),
        ),
        section(
            "Redshift distribution",
            &of_redshifts,
            &plots::n_of_z(histograms),
        ),
        section(
            "Error against spec-z",
            spread,
            &plots::dz_against_z_spec(histograms),
        ),
    ];
    if let Some(band) = metrics.by_mag.band.as_deref().map(escape) {
        let title = format!("Error against {band} magnitude");
        let chart = plots::dz_against_mag(histograms, &band);
        sections.push(section(&title, spread, &chart));
    }
    sections.extend(
        intervals(metrics, histograms)
            .map(|(title, legend, chart)| section(&title, &legend, &chart)),
    );
    sections.extend([
        section(
            "The sky: objects",
            "Scored objects a tile (HEALPix order 5, 3.4 square degrees)",
            &plots::sky_of_counts(metrics),
        ),
        section(
            "The sky: bias",
            r#"Mean dz a tile of ten objects or more<i class="s"></i>too far<i class="p"></i>too near"#,
            &plots::sky_of_bias(metrics),
        ),
    ]);
    sections.join("\n")
}

/// The legend of the sum of all distributions, if there are some.
fn stacked(histograms: &Histograms) -> String {
    let [with, without] = [
        histograms.with_distribution,
        histograms.without_distribution(),
    ];
    let objects = |count| grouped(count as i64);
    match (with, without) {
        (0, _) => String::new(),
        (_, 0) => r#"<i class="e"></i>the distributions, added up"#.to_owned(),
        _ => format!(
            r#"<i class="e"></i>the distributions, added up: of {} objects; the other {} have none"#,
            objects(with),
            objects(without)
        ),
    }
}

/// What there is to show of intervals and distributions: titles, legends and charts.
fn intervals(
    metrics: &Metrics,
    histograms: &Histograms,
) -> impl Iterator<Item = (String, String, String)> {
    let pit = uncertainty::pit(&metrics.all).map(|chart| {
        let title = "Probability integral transform".to_owned();
        let legend = r#"<i class="p"></i>objects by the probability that their distribution gives to redshifts up to z_spec<i class="k"></i>flat, if the distributions are right, <span>band: two standard deviations by chance</span>"#;
        (title, legend.to_owned(), chart)
    });
    let lines = |chart: &MagChart| match chart.shows_own {
        true => {
            r#"<i class="s"></i>the model's own, of objects that have one<i class="p"></i>calibrated, of all objects"#
        }
        false => r#"<i class="p"></i>calibrated"#,
    };
    let band = metrics.by_mag.band.as_deref().map(escape);
    let coverage = band.as_deref().and_then(|band| {
        let chart = uncertainty::coverage(metrics, histograms, band)?;
        let legend = format!(
            r#"Objects whose z_spec lies in the interval of 68%, and in that of 95%{}<i class="k"></i>0.68 and 0.95"#,
            lines(&chart)
        );
        Some((format!("Coverage by {band} magnitude"), legend, chart.svg))
    });
    let width = band.as_deref().and_then(|band| {
        let chart = uncertainty::width(metrics, histograms, band)?;
        let legend = format!("Half of the interval of 68%: its median{}", lines(&chart));
        let title = format!("Width of the intervals by {band} magnitude");
        Some((title, legend, chart.svg))
    });
    [pit, coverage, width].into_iter().flatten()
}

/// A row for each drop, and one for all.
fn drops(status: &Status, metrics: &Metrics) -> String {
    let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.5}"));
    let row = |drop: &str, rows: &RowCounts, numbers: Option<&Numbers>| {
        let doors = [rows.read, rows.written, rows.learned, rows.rejected];
        let doors = doors.map(|rows| format!("<td>{}</td>", grouped(rows as i64)));
        let scores = match numbers {
            None => "<td>–</td>".repeat(4),
            Some(numbers) => format!(
                "<td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
                grouped(numbers.n),
                number(numbers.bias),
                number(numbers.sigma_nmad),
                number(numbers.outlier_fraction_015)
            ),
        };
        format!("<tr><td>{drop}</td>{}{scores}</tr>\n", doors.concat())
    };
    let each = |DropStatus { drop, rows, .. }: &DropStatus| {
        row(&escape(drop), rows, metrics.by_drop.get(drop))
    };
    let rows: String = status.drops.iter().map(each).collect();
    let all = row("all", &status.rows, Some(&metrics.all));
    format!(
        r#"<section class="wide"><h2>The drops</h2><p>Rows by the door they left through; scores of the objects whose latest prediction came with the drop</p>
<table><thead><tr><th>drop</th><th>read</th><th>written</th><th>learned</th><th>rejected</th><th>n</th><th>bias</th><th>sigma_nmad</th><th>outlier_fraction_0.15</th></tr></thead>
<tbody>
{rows}{all}</tbody></table></section>"#
    )
}
