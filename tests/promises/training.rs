//! A model from a catalog: pretrained, fine-tuned, run. A training that is killed continues and ends at the same weights.
use std::{fs, path::Path, thread::sleep, time::Duration};

use serde_json::Value;
use testkit::{
    program::Program,
    rows::{floats, rows},
    survey::{run_catalog, survey},
    tree::{folder, text},
};

const STATE: &str = "state.safetensors";

fn pretrain(out: &Path) -> Program {
    let flags = "--depth 1 --epochs 1 --batch 16 --threads 1 --learn-preprocess";
    Program::new(["train", "pretrain", &text(survey()), "--out", &text(out)]).with(flags)
}

/// Fine-tunes on most of the survey. With the paper's fractions too few rows of this small survey would remain.
fn finetune(out: &Path) -> Program {
    finetune_on(out, "0:0.7").with("--epochs 6")
}

fn finetune_on(out: &Path, training: &str) -> Program {
    let flags = "--depth 1 --batch 16 --threads 1 --learn-preprocess --state-every 1 \
                 --validation 0.7:0.85 --test 0.85:1";
    Program::new(["train", "finetune", &text(survey()), "--out", &text(out)])
        .with(flags)
        .args(["--training", training])
}

/// Continues a training, and kills it after it has written its next state.
pub(crate) fn kill_further_on(training: Program, out: &Path) {
    let state = || {
        fs::metadata(out.join(STATE))
            .and_then(|state| state.modified())
            .ok()
    };
    let (before, mut child) = (state(), training.spawn());
    while state() == before {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "the training ended before it was killed");
        sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn log(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("log.jsonl")).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// Trains a model a little further, and returns the report.
fn train_further(model: &Path, out: &Path) -> Value {
    let flags = "--epochs 1 --batch 16 --rate 1e-5 --threads 1 \
                 --training 0:0.7 --validation 0.7:0.85 --test 0.85:1";
    Program::new(["train", "finetune", &text(survey()), "--out", &text(out)])
        .with(flags)
        .args(["--from", &text(model)])
        .ends(0)
        .json()
}

#[test]
fn a_model_that_was_pretrained_and_fine_tuned_predicts_better_than_the_mean() {
    let dir = folder();
    let [encoder, model, out] = ["encoder", "model", "out"].map(|name| dir.path().join(name));
    pretrain(&encoder).ends(0);
    run_catalog(survey(), &out)
        .args(["--model", &text(&encoder)])
        .ends(2);
    let report = finetune(&model)
        .args(["--pretrained", &text(&encoder)])
        .ends(0)
        .json();
    assert!(report["test"]["sigma_nmad"].as_f64().unwrap() > 0.0);
    // A new model gives quantiles.
    assert!(report["test"]["crps"].as_f64().unwrap() > 0.0);
    assert!(report["test"]["coverage_68"].as_f64().unwrap() > 0.0);
    let inspected = Program::new(["model", "inspect", &text(&model)]).ends(0);
    assert!(
        inspected
            .stdout
            .contains("23 quantiles from 0.005 to 0.995"),
        "{}",
        inspected.stdout
    );
    assert!(!model.join(STATE).exists());
    let log = log(&model);
    assert_eq!(log.last().unwrap()["report"]["test"], report["test"]);
    assert_eq!(
        log.iter()
            .filter(|line| line["validation"].is_object())
            .count(),
        6
    );

    // A training that starts from a trained model starts with the error of that model.
    let after = train_further(&model, &dir.path().join("further"));
    let mse = |report: &Value| report["test"]["mse"].as_f64().unwrap();
    let ratio = mse(&after) / mse(&report);
    assert!((ratio - 1.0).abs() < 0.2, "{ratio} times the error");

    // A run predicts with the trained weights and the learned preprocessing.
    Program::on("run", &text(survey()), &text(&out), &model).ends(0);
    let photoz = rows(out.join("photoz"));
    let pairs = floats(&photoz, "z_phot")
        .into_iter()
        .zip(floats(&photoz, "z_spec"));
    let pairs: Vec<(f32, f32)> = pairs
        .filter_map(|(phot, spec)| Some((phot?, spec?)))
        .collect();
    let mean = pairs.iter().map(|(_, spec)| spec).sum::<f32>() / pairs.len() as f32;
    let squares = |of: fn(f32, f32, f32) -> f32| {
        pairs
            .iter()
            .map(|&(phot, spec)| of(phot, spec, mean).powi(2))
            .sum::<f32>()
    };
    let (error, variance) = (
        squares(|phot, spec, _| phot - spec),
        squares(|_, spec, mean| spec - mean),
    );
    assert!(error < 0.5 * variance, "{error} of {variance}");
}

#[test]
fn a_training_that_was_killed_goes_on_and_ends_at_the_same_weights() {
    let dir = folder();
    let [whole, killed] = ["whole", "killed"].map(|name| dir.path().join(name));
    finetune(&whole).ends(0);
    for _ in 0..2 {
        kill_further_on(finetune(&killed), &killed);
    }
    finetune(&killed).ends(0).says(&["going on after step"]);
    for file in ["model.safetensors", "config.json"] {
        let [a, b] = [&whole, &killed].map(|dir| fs::read(dir.join(file)).unwrap());
        assert!(a == b, "{file}");
    }
}

#[test]
fn impossible_trainings_are_refused() {
    let dir = folder();
    let out = dir.path().join("model");
    finetune(&out)
        .with("--encoder tuned")
        .ends(2)
        .says(&["--pretrained"]);
    finetune_on(&out, "0.5:0.5")
        .ends(1)
        .says(&["0 training rows"]);
    finetune_on(&out, "0.5").ends(2).says(&["0.8:0.9"]);
    finetune(&out)
        .with("--from bundled")
        .ends(2)
        .says(&["--learn-preprocess"]);
    finetune_on(&out, "0:0.7").with("--epochs 1").ends(0);
    // A model is not overwritten, and the state of a different training is not continued.
    finetune(&out).ends(2).says(&["whose training is over"]);
    assert!(out.join("model.safetensors").exists());
    let other = dir.path().join("other");
    kill_further_on(finetune(&other), &other);
    finetune(&other)
        .with("--seed 7")
        .ends(1)
        .says(&["of another training"]);
}

/// A model keeps its head, unless another is asked for: then its last layer begins anew, and the rest stays.
#[test]
fn a_head_of_another_kind_begins_anew_and_the_training_says_so() {
    let dir = folder();
    let [point, quantiles, back] = ["point", "quantiles", "back"].map(|name| dir.path().join(name));
    let from = |model: &Path, out: &Path, flags: &str| {
        let train = Program::new(["train", "finetune", &text(survey()), "--out", &text(out)]);
        let same = "--epochs 4 --batch 16 --threads 1 --encoder frozen \
                    --training 0:0.7 --validation 0.7:0.85 --test 0.85:1";
        train.with(same).with(flags).args(["--from", &text(model)])
    };
    let made = finetune_on(&point, "0:0.7").with("--epochs 1 --head point --loss huber");
    let report = made.ends(0).json();
    assert!(report["test"]["crps"].is_null(), "{report}");
    let said = "the head of the model is point, the new one 23 quantiles from 0.005 to 0.995: \
                its last layer begins anew";
    let report = from(&point, &quantiles, "--head quantiles").ends(0);
    report.says(&[said]);
    let coverage = report.json()["test"]["coverage_68"].as_f64().unwrap();
    // The rest of the network has learned, and the first quantiles are those of the training rows.
    assert!(coverage > 0.3, "{coverage}");
    let kept = from(&quantiles, &back, "").ends(0);
    assert!(!kept.stderr.contains("begins anew"), "{}", kept.stderr);
    assert!(kept.json()["test"]["crps"].as_f64().unwrap() > 0.0);
    let again = dir.path().join("again");
    from(&quantiles, &again, "--head point")
        .ends(0)
        .says(&["the head of the model is 23 quantiles from 0.005 to 0.995, the new one point"]);
    let config = fs::read_to_string(again.join("config.json")).unwrap();
    assert!(!config.contains("quantiles"), "{config}");
    let loss = from(&quantiles, &dir.path().join("no"), "--loss mse");
    loss.ends(2).says(&["--loss", "--head point"]);
}
