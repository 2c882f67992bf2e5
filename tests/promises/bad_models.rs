//! Nothing silent: a bad model is reported, and predictions of two models are not mixed by accident.
use std::{
    fs,
    path::Path,
    sync::{LazyLock, mpsc},
    time::Duration,
};

use hubbleflow::{Job, JobSettings};
use models::{Inputs, Model, ModelOutput, Needs};
use tch::{Device, Kind, Tensor};
use testkit::{
    galaxy_rows::write_good_drop,
    outputs::committed,
    program::Program,
    protected::ProtectedOutput,
    s3::S3,
    survey::{model, other_model},
    tree::{copy_tree, folder, text, write_file},
};

#[test]
fn a_model_that_cannot_be_loaded_changes_nothing() {
    let protected = ProtectedOutput::new();
    write_good_drop(protected.catalog.path(), "drop-2", 200);
    let run = |model: &Path| {
        Program::on(
            "run",
            &text(protected.catalog.path()),
            &text(protected.out.path()),
            model,
        )
        .ends(1)
    };
    let broken = folder();
    let file = |name: &str| text(&broken.path().join(name));
    let config = fs::read_to_string(model().join("config.json")).unwrap();
    let weights = fs::read(model().join("model.safetensors")).unwrap();

    run(broken.path()).says(&[&file("config.json")]);
    write_file(broken.path().join("config.json"), &config);
    run(broken.path()).says(&[&file("model.safetensors")]);
    write_file(
        broken.path().join("model.safetensors"),
        &weights[..weights.len() / 2],
    );
    run(broken.path()).says(&[&file("model.safetensors"), "truncated", "copy it again"]);
    write_file(broken.path().join("model.safetensors"), &weights);
    let deeper = config.replace("\"depth\": 1", "\"depth\": 2");
    assert_ne!(config, deeper);
    write_file(broken.path().join("config.json"), deeper);
    run(broken.path()).says(&[
        "tensor `",
        "config.json and the weights do not belong together",
    ]);
    write_file(broken.path().join("config.json"), "{\"architecture\": ");
    run(broken.path()).says(&[&file("config.json")]);
    protected.holds(&["drop-1"]);
}

/// A model that predicts a constant, or panics.
#[derive(Clone)]
struct Constant {
    panics: bool,
}

impl Model for Constant {
    fn id(&self) -> &str {
        "constant"
    }

    fn name(&self) -> &str {
        "constant"
    }

    fn needs(&self) -> &Needs {
        static NEEDS: LazyLock<Needs> = LazyLock::new(|| Needs::of_mags(["u", "g", "r", "i", "z"]));
        &NEEDS
    }

    fn forward(
        &self,
        inputs: &Inputs,
        _wanted: &[ModelOutput],
    ) -> Result<Vec<Tensor>, models::Error> {
        assert!(!self.panics, "this model cannot predict");
        let mags = inputs.mags.as_ref().unwrap();
        let kind = (Kind::Float, Device::Cpu);
        Ok(vec![Tensor::full([mags.size()[0]], 0.1, kind)])
    }

    fn replica(&self) -> Result<Box<dyn Model>, models::Error> {
        Ok(Box::new(self.clone()))
    }
}

#[test]
fn a_panic_in_your_own_model_ends_the_run() {
    let (catalog, out) = (folder(), folder());
    write_good_drop(catalog.path(), "drop-1", 100);
    let run = |panics: bool| {
        let settings = JobSettings {
            workers: 3,
            threads: Some(2),
            ..JobSettings::default()
        };
        let builder = Job::builder(&text(catalog.path()), &text(out.path())).settings(settings);
        let (tell, told) = mpsc::channel();
        // A run that never ends fails the test after two minutes.
        std::thread::spawn(move || {
            let job = builder.own_model(Constant { panics }).build().unwrap();
            let _the_test_may_have_given_up = tell.send(job.run());
        });
        told.recv_timeout(Duration::from_secs(120))
            .expect("the run comes to an end")
    };
    let error = run(true).unwrap_err().to_string();
    for words in [
        "drop-1/a.parquet",
        "the model panicked",
        "this model cannot predict",
    ] {
        assert!(error.contains(words), "{error}");
    }
    assert!(committed(out.path()).is_empty());
    assert_eq!(run(false).unwrap().rows_written, 8);
}

#[test]
fn two_models_are_mixed_only_on_request() {
    let protected = ProtectedOutput::new();
    write_good_drop(protected.catalog.path(), "drop-2", 200);
    let run = || {
        Program::on(
            "run",
            &text(protected.catalog.path()),
            &text(protected.out.path()),
            other_model(),
        )
    };
    let refused = run().ends(1);
    refused.says(&["holds predictions of model", "drop-1", "--model-change"]);
    let id = |model: &Path| {
        Program::new(["model", "inspect", &text(model), "--json"])
            .ends(0)
            .json()["id"]
            .as_str()
            .unwrap()[..12]
            .to_owned()
    };
    refused.says(&[&id(model()), &id(other_model())]);
    Program::on(
        "plan",
        &text(protected.catalog.path()),
        &text(protected.out.path()),
        other_model(),
    )
    .ends(1)
    .says(&["--model-change"]);
    protected.holds(&["drop-1"]);
    run().with("--model-change").ends(0);
    protected.holds(&["drop-1", "drop-2"]);
}

#[test]
fn a_model_without_finite_predictions_fails_its_check() {
    let place = folder();
    copy_tree(model(), place.path());
    let weights = place.path().join("model.safetensors");
    let bytes = fs::read(&weights).unwrap();
    // A safetensors file is the length of the header, the header, and the numbers.
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let filled = |byte| {
        let mut bytes = bytes.clone();
        bytes[8 + header..].fill(byte);
        write_file(&weights, bytes);
        Program::new(["model", "check", &text(place.path())]).ends(1)
    };
    // All weights are NaN.
    filled(0xff).says(&["tensor `", "holds numbers that are not finite"]);
    // All weights are finite (6e4 in float16, 1e36 in float32), but their sums are not.
    let check = filled(0x7b);
    let said = format!("{}{}", check.stdout, check.stderr);
    assert!(said.contains("NOT FINITE"), "{said}");
}

#[test]
fn control_characters_in_a_model_name_are_not_printed() {
    let place = folder();
    copy_tree(model(), place.path());
    let config = fs::read_to_string(place.path().join("config.json")).unwrap();
    let named = config.replacen("\"name\": \"", "\"name\": \"\\u001b[2J\\u009b", 1);
    assert_ne!(config, named);
    write_file(place.path().join("config.json"), named);
    for command in ["inspect", "check"] {
        let told = Program::new(["model", command, &text(place.path())]).ends(0);
        assert!(!told.stdout.contains(['\u{1b}', '\u{9b}']), "{command}");
    }
}

#[test]
fn a_model_in_a_bucket_is_inspected_and_checked() {
    let s3 = S3::start();
    copy_tree(model(), &s3.bucket().join("model"));
    for command in ["inspect", "check"] {
        let on = |dir| Program::new(["model", command, dir]).on_s3(&s3);
        let there = on("s3://sky/model").ends(0);
        assert!(there.stdout.contains("astromae"), "{}", there.stdout);
        on("s3://sky/other")
            .ends(1)
            .says(&["s3://sky/other/config.json", "not found"]);
    }
}
