//! A network that PyTorch has traced predicts what PyTorch predicts with it.
use testkit::{
    program::Program,
    python::run_script,
    tree::{folder, text},
};

const ENVIRONMENT: &str = ".venv-torch";

#[test]
#[ignore = "needs PyTorch: make test-torch"]
fn a_network_traced_by_pytorch_predicts_the_same_redshifts() {
    let made = folder();
    let place = |name: &str| text(&made.path().join(name));
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/torchscript.md");
    run_script(ENVIRONMENT, "traced.py", ["save", page, &place("models")]);
    for model in ["small", "resnet"] {
        let check = Program::new(["model", "check", &place(&format!("models/{model}"))]).ends(0);
        assert!(check.stdout.contains("gives z_phot"), "{}", check.stdout);
        Program::new(["model", "inspect", &place(&format!("models/{model}"))]).ends(0);
    }
    let flags = "--galaxies 300 --drops 2 --bad-rows 0 --corrections 0 --withdrawals 0";
    Program::new(["sample", &place("catalog")])
        .with(flags)
        .ends(0);
    let model = made.path().join("models/resnet");
    Program::on("run", &place("catalog"), &place("out"), &model).ends(0);
    let paths = [place("models"), place("catalog"), place("out")];
    let args = ["compare"]
        .into_iter()
        .chain(paths.iter().map(String::as_str));
    run_script(ENVIRONMENT, "traced.py", args);
}
