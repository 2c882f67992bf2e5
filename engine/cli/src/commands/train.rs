//! `hubbleflow train`: makes a model from a catalog.
use hubbleflow::{StoreOptions, train};

use crate::{
    Error,
    command::TrainCommand,
    console::{json, print},
    train_progress::TrainConsole,
};

/// Trains; prints the report as JSON.
pub(crate) async fn train(command: TrainCommand, options: &StoreOptions) -> Result<u8, Error> {
    let console = TrainConsole::default();
    let report = match &command {
        TrainCommand::Pretrain(args) => {
            train::pretrain(&args.settings(), options, &console).await?
        }
        TrainCommand::Finetune(args) => {
            train::finetune(&args.settings()?, options, &console).await?
        }
    };
    print(json(&report))?;
    Ok(0)
}
