//! The report is one self-contained page, and shows the numbers of the metrics.
use std::{fs, path::Path};

use serde_json::Value;
use testkit::{
    outputs::drops,
    program::Program,
    survey::{run_catalog, survey},
    tree::{folder, text},
};

use crate::{calibrated, quantiles};

/// Lists the elements of a page. Panics unless each is closed in the right order.
fn elements(page: &str) -> Vec<String> {
    const VOID: [&str; 2] = ["meta", "!DOCTYPE"];
    let (mut open, mut all): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for tag in page.split('<').skip(1) {
        let (tag, _text) = tag.split_once('>').expect("a tag ends");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(
                open.pop().as_deref(),
                Some(name),
                "</{name}> does not close the element that was opened last"
            );
            continue;
        }
        let name = tag.split([' ', '/']).next().unwrap_or_default().to_owned();
        all.push(name.clone());
        if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} are never closed");
    all
}

#[test]
fn the_report_is_one_page_with_its_plots() {
    let (out, place) = (folder(), folder());
    run_catalog(survey(), &out).ends(0);
    let file = place.path().join("report.html");
    let said = Program::new(["report", &text(out.path()), "--html", &text(&file)]).ends(0);
    assert_eq!(said.stdout.trim(), text(&file));
    let page = fs::read_to_string(&file).unwrap();
    let elements = elements(&page);
    let count = |name: &str| elements.iter().filter(|element| *element == name).count();
    // The tables of the drops and of their flags.
    assert_eq!((count("html"), count("svg"), count("table")), (1, 6, 2));
    assert!(count("polygon") > 0, "no tile on the sky");
    for link in ["http:", "https:", "src=", "href=", "@import", "<script"] {
        assert!(!page.contains(link), "the page needs a resource: {link}");
    }
    let status = Program::new(["status", &text(out.path()), "--json"])
        .ends(0)
        .json();
    let metrics: &Value = &status["metrics"];
    let shown = format!("<b>{}</b><span>n</span>", metrics["all"]["n"]);
    assert!(page.contains(&shown), "no {shown}");
    // The cells of the density plot hold all objects but the farthest.
    let n = metrics["all"]["n"].as_u64().unwrap();
    let cells = page
        .split("<title>")
        .filter(|text| text.contains("objects at z_spec"));
    let in_cells: u64 = cells
        .map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap())
        .sum();
    assert!(
        in_cells <= n && in_cells * 100 >= n * 98,
        "{in_cells} of {n} objects are in the density"
    );
    // The small model is not trained, so its errors are large.
    let sigma = metrics["all"]["sigma_nmad"].as_f64().unwrap();
    assert!(
        page.contains(&format!("<b>{sigma:.5}</b><span>sigma_nmad</span>")),
        "sigma_nmad {sigma}"
    );
    for drop in drops(out.path()) {
        assert!(
            page.contains(&format!("<tr><td>{drop}</td>")),
            "{drop} is not in the table"
        );
    }
    assert!(
        page.contains("cutouts are rendered, not observed"),
        "the page does not say what the catalog is"
    );
}

/// The page on an output.
fn report(out: &Path) -> String {
    let file = out.join("_report.html");
    Program::new(["report", &text(out), "--html", &text(&file)]).ends(0);
    fs::read_to_string(&file).unwrap()
}

#[test]
fn the_report_shows_intervals_and_distributions_where_there_are_some() {
    let (at, of_quantiles, of_points, catalog) = (folder(), folder(), folder(), folder());
    quantiles::model(at.path());
    quantiles::run(at.path(), of_quantiles.path()).ends(0);
    calibrated::run_point_model("--galaxies 600", catalog.path(), of_points.path());
    let pages = [&of_quantiles, &of_points].map(|out| report(out.path()));
    for (shown, has) in [
        ("the distributions, added up", [true, false]),
        ("<h2>Probability integral transform</h2>", [true, false]),
        ("<span>crps of z</span>", [true, false]),
        ("<span>coverage_68</span>", [true, false]),
        ("<span>calibrated_coverage_68</span>", [true, true]),
        ("<h2>Coverage by r magnitude</h2>", [true, true]),
        (
            "<h2>Width of the intervals by r magnitude</h2>",
            [true, true],
        ),
        (r#"class="own""#, [true, false]),
    ] {
        let found = pages.each_ref().map(|page| page.contains(shown));
        assert_eq!(found, has, "{shown}");
    }
    let status = Program::new(["status", &text(of_quantiles.path()), "--json"]).ends(0);
    let coverage = status.json()["metrics"]["all"]["coverage_68"].as_f64();
    let coverage = format!("<b>{:.2} %</b><span>coverage_68", 100.0 * coverage.unwrap());
    assert!(pages[0].contains(&coverage), "no {coverage}");
    pages.iter().for_each(|page| {
        elements(page);
    });
}

/// An output of a model with quantiles and, after `--model-change`, of a model without.
#[test]
fn the_report_tells_objects_of_two_kinds_of_models_apart() {
    let (at, out) = (folder(), folder());
    quantiles::model(at.path());
    let with_quantiles = quantiles::run(at.path(), out.path());
    with_quantiles.with("--drop drop-0001").ends(0);
    run_catalog(survey(), &out).with("--model-change").ends(0);
    let page = report(out.path());
    let status = Program::new(["status", &text(out.path()), "--json"]).ends(0);
    let by_drop = &status.json()["metrics"]["by_drop"];
    let [with, without] = ["drop-0001", "drop-0002"].map(|drop| by_drop[drop]["n"].clone());
    let shown =
        format!("the distributions, added up: of {with} objects; the other {without} have none");
    assert!(page.contains(&shown), "no {shown}");
    elements(&page);
}

#[test]
fn an_output_without_a_ledger_has_no_report() {
    let (out, place) = (folder(), folder());
    let file = place.path().join("report.html");
    let said = Program::new(["report", &text(out.path()), "--html", &text(&file)]).ends(1);
    said.says(&["has no ledger"]);
    assert!(!file.exists());
}
