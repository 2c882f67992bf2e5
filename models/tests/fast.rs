//! The network that predicts on a CPU against the network as it was published.

#![allow(clippy::unwrap_used)]

use models::{AstroMae, Branch, Config, Model, Precision, init};
use tch::{Device, Kind, Tensor};

fn loaded(config: &Config, precision: Precision) -> AstroMae {
    let dir = tempfile::tempdir().unwrap();
    init::init(dir.path(), config, "").unwrap();
    AstroMae::load(dir.path(), Device::Cpu, precision).unwrap()
}

/// Largest difference of the redshifts of a made-up batch, and their scale.
fn difference(model: &AstroMae, batch: usize, px: usize) -> (f64, f64) {
    let inputs = init::inputs(batch, px).unwrap();
    let plain = model.taps(&inputs).unwrap().z_phot.to_kind(Kind::Float);
    let fast = model.forward(&inputs).unwrap();
    assert_eq!(fast.size(), [batch as i64]);
    let difference = (&fast - &plain).abs().max().double_value(&[]);
    (difference, plain.abs().max().double_value(&[]))
}

#[test]
fn timing() {
    tch::set_num_threads(1);
    for preset in ["astromae", "astromae-pcm3", "astromae-plain"] {
        let began = std::time::Instant::now();
        let model = loaded(&Config::preset(preset).unwrap(), Precision::Fp32);
        println!("{preset} loads {:?}", began.elapsed());
        println!("{:?}", difference(&model, 64, 32));
        let inputs = init::inputs(128, 32).unwrap();
        model.forward(&inputs).unwrap();
        for _ in 0..3 {
            let cpu = || {
                let mut t = libc::timespec {
                    tv_sec: 0,
                    tv_nsec: 0,
                };
                unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut t) };
                t.tv_sec as f64 + t.tv_nsec as f64 * 1e-9
            };
            let began = cpu();
            model.forward(&inputs).unwrap();
            model.forward(&inputs).unwrap();
            println!("{preset}: {:.0} a CPU second", 256.0 / (cpu() - began));
        }
    }
    let _ = (Branch::Encoder, Tensor::new());
}
