//! `hubbleflow model`: looks at a model, or makes one.
use models::{Config, Precision, config::Shape};

use crate::{
    Error, bundled,
    command::ModelCommand,
    console::{print, show},
};

/// `hubbleflow model`
pub(crate) fn model(command: ModelCommand) -> Result<u8, Error> {
    match command {
        ModelCommand::Inspect { dir, json } => {
            show(json, &models::inspect(&bundled::resolve(dir)?)?)?
        }
        ModelCommand::Check {
            dir,
            device,
            precision,
        } => {
            let device = device.resolve(0)?;
            let precision = precision.or(Precision::fastest(device));
            let checked = models::check(&bundled::resolve(dir)?, device, precision)?;
            print(&checked)?;
            if !checked.finite {
                return Ok(1);
            }
        }
        ModelCommand::Init {
            dir,
            preset,
            depth,
            bands,
            mags,
            px,
            seed,
        } => {
            let mut config =
                Config::preset(&preset).expect("the command line admits presets alone");
            config.encoder.depth = depth.unwrap_or(config.encoder.depth);
            let config = config.shaped(&Shape {
                bands,
                mags,
                cutout_px: px,
            });
            let usage = |reason| Error::Usage(format!("there is no such network: {reason}"));
            config.validate().map_err(usage)?;
            models::init::init(&dir, &config, &seed)?;
            print(format_args!(
                "{}: an initialised model; it has learned nothing, and its redshifts mean nothing",
                dir.display()
            ))?;
        }
    }
    Ok(0)
}
