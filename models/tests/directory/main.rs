//! Model directories: a directory is loaded as a whole, or refused with a message that names what is wrong.

#![allow(clippy::unwrap_used)]

mod astroclip;
mod configuration;
mod head;
mod predictions;
mod summary;
mod torchscript;
mod weights;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hubbleflow_models::{
    CONFIG_FILE, Config, Error, Inputs, Model, Precision, WEIGHTS_FILE, init, load,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use tch::Device;
use tempfile::TempDir;

/// A network with all parts of the public one, small enough to be written in every test.
fn small() -> Config {
    let mut config = Config::preset("astromae-tiny").unwrap();
    config.encoder.width = 24;
    config.encoder.depth = 1;
    config.encoder.pcm_kernel = 3;
    config.encoder.pcm_group = 6;
    config
}

fn written(config: &Config) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    init::init(dir.path(), config, "").unwrap();
    dir
}

fn open(dir: &Path) -> Result<Box<dyn Model>, Error> {
    load(dir, Device::Cpu, Precision::Fp32)
}

fn refusal(dir: &Path) -> String {
    open(dir).err().expect("the model is refused").to_string()
}

fn predictions(model: &dyn Model, inputs: &Inputs) -> Vec<f32> {
    Vec::try_from(&model.z_phot(inputs).unwrap()).unwrap()
}

/// The type, shape and bytes of each tensor, by name.
type Stored = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Changes the weights' file.
fn edit(dir: &Path, change: impl FnOnce(&mut Stored)) {
    let path = dir.join(WEIGHTS_FILE);
    let bytes = fs::read(&path).unwrap();
    let mut stored: Stored = SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            (
                name,
                (view.dtype(), view.shape().to_vec(), view.data().to_vec()),
            )
        })
        .collect();
    change(&mut stored);
    let views = stored.iter().map(|(name, (dtype, shape, data))| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Changes the configuration's file.
fn reconfigure(dir: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = dir.join(CONFIG_FILE);
    let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
}

/// Asserts that `text` holds all of `parts`.
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}
