//! `hubbleflow model`: looks at a model, or makes one.
use hubbleflow::{
    StoreOptions,
    model::{ModelDirectory, model_directory},
};
use models::{Config, Precision};

use crate::{
    Error, bundled,
    command::ModelCommand,
    console::{print, show},
};

/// `hubbleflow model`
pub(crate) async fn model(command: ModelCommand, options: &StoreOptions) -> Result<u8, Error> {
    match command {
        ModelCommand::Inspect { dir, json } => {
            let dir = directory(&dir, options).await?;
            show(json, &models::inspect(&dir.path)?)?;
        }
        ModelCommand::Check {
            dir,
            device,
            precision,
        } => {
            let device = device.resolve(0)?;
            let precision = precision.or(Precision::fastest(device));
            let dir = directory(&dir, options).await?;
            let checked = models::check(&dir.path, device, precision)?;
            print(&checked)?;
            if !checked.finite {
                return Ok(1);
            }
        }
        ModelCommand::Init {
            dir,
            preset,
            depth,
            seed,
        } => {
            let mut config =
                Config::preset(&preset).expect("the command line admits presets alone");
            config.encoder.depth = depth.unwrap_or(config.encoder.depth);
            models::init::init(&dir, &config, &seed)?;
            print(format_args!(
                "{}: an initialised model; it has learned nothing, and its redshifts mean nothing",
                dir.display()
            ))?;
        }
    }
    Ok(0)
}

/// Finds the directory of a model that a user named.
async fn directory(name: &str, options: &StoreOptions) -> Result<ModelDirectory, Error> {
    Ok(model_directory(&bundled::resolve_url(name)?, options).await?)
}
