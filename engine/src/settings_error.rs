//! Settings that cannot be used as they are.
use std::path::PathBuf;

use connectors::galaxy::{BandError, ColumnNameError, SchemaError};
use models::config::BrokenRule;

use crate::units::HumanBytes;

/// A setting that cannot be used, or settings that contradict each other: a usage error. Messages name settings as the
/// command line does.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A job was built without a model.
    #[error("a job needs a model: a directory (`model`) or one of your own (`own_model`)")]
    NoModel,
    /// A pair of column names is malformed, or names an unknown column.
    #[error(transparent)]
    ColumnNames(#[from] ColumnNameError),
    /// The bands that a model names cannot be used.
    #[error("model {model}: {source}")]
    ModelBands {
        /// The name of the model.
        model: String,
        /// The fault.
        source: BandError,
    },
    /// The catalog's cutouts have no bands for the model.
    #[error("--bands {bands}, model {model}: {source}")]
    CatalogBands {
        /// The bands of the catalog.
        bands: String,
        /// The name of the model.
        model: String,
        /// The fault.
        source: BandError,
    },
    /// A model predicts from magnitudes and names none.
    #[error("model {model}: it predicts from magnitudes, and names no band of them")]
    NoMagBands {
        /// The name of the model.
        model: String,
    },
    /// The zero point of fluxes is not a number.
    #[error(
        "--flux-zero-point {zero_point} is no magnitude; write 22.5 for nanomaggies, 31.4 for nJy"
    )]
    FluxZeroPoint {
        /// The zero point.
        zero_point: f64,
    },
    /// Embeddings are asked for, and the model gives none.
    #[error("--embeddings: model {model} gives none, only {given}")]
    NoEmbedding {
        /// The name of the model.
        model: String,
        /// The outputs of the model.
        given: String,
    },
    /// A model gives quantiles at levels that do not ascend.
    #[error(
        "model {model} gives quantiles at the levels {levels:?}, which must ascend between 0 and 1"
    )]
    Levels {
        /// The name of the model.
        model: String,
        /// The levels.
        levels: Vec<f64>,
    },
    /// A model gives nothing that can be written.
    #[error(
        "model {model} gives only {given}, and redshifts (z_phot) or an embedding can be written"
    )]
    NothingToWrite {
        /// The name of the model.
        model: String,
        /// The outputs of the model.
        given: String,
    },
    /// The sizes of a network do not fit each other.
    #[error("there is no such network: {broken}")]
    Network {
        /// The rule of networks that is broken.
        broken: BrokenRule,
    },
    /// A column cannot be kept.
    #[error(transparent)]
    Kept(#[from] SchemaError),
    /// The catalog and the output lie in each other.
    #[error(
        "catalog {catalog} and output {out}: one lies in the other, so predictions would be read as galaxies; choose an --out outside the catalog"
    )]
    OutputInCatalog {
        /// The URL of the catalog.
        catalog: String,
        /// The URL of the output.
        out: String,
    },
    /// The size of a split is 0.
    #[error("--split-bytes is 0; 25MB is a good size")]
    NoSplitBytes,
    /// No magnitude lies between the bounds.
    #[error("--mag-min {min} is not below --mag-max {max}")]
    MagBounds {
        /// The lower bound.
        min: f32,
        /// The upper bound.
        max: f32,
    },
    /// A redshift of -1 or less does not exist: 1 + z is a ratio of wavelengths.
    #[error("--z-spec-min {min} is not above -1: there is no such redshift")]
    ZSpecMin {
        /// The lower bound.
        min: f32,
    },
    /// No redshift lies between the bounds.
    #[error(
        "--z-spec-min {min} and --z-spec-max {max}: the first must be below the second, and both must be numbers"
    )]
    ZSpecBounds {
        /// The lower bound.
        min: f32,
        /// The upper bound.
        max: f32,
    },
    /// The memory does not hold four splits.
    #[error(
        "--memory {} is less than four splits of --split-bytes {}; raise the one or lower the other",
        HumanBytes(*memory_bytes), HumanBytes(*split_bytes)
    )]
    Memory {
        /// The bound on memory.
        memory_bytes: u64,
        /// The size of a split.
        split_bytes: u64,
    },
    /// The batch has no galaxies, or too many.
    #[error("a batch of {batch} galaxies; a model takes 1 to {max} at a time")]
    Batch {
        /// The number of galaxies.
        batch: u32,
        /// Upper bound.
        max: u32,
    },
    /// A process has no workers, or too many.
    #[error("--workers {workers}; a process has 1 to {max} workers")]
    Workers {
        /// The number of workers.
        workers: u32,
        /// Upper bound.
        max: u32,
    },
    /// A process can be reached from other machines, and the cluster has no key.
    #[error(
        "{host} can be reached from other machines: give all processes a --cluster-key, which `hubbleflow cluster-key FILE` makes, or --insecure to let anyone in"
    )]
    NoClusterKey {
        /// The address.
        host: String,
    },
    /// The file with the cluster's key cannot be read.
    #[error("--cluster-key {}: {source}", .file.display())]
    ClusterKeyFile {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold a key.
    #[error(
        "--cluster-key {}: no key of 32 bytes in base64; `hubbleflow cluster-key FILE` makes one", .file.display()
    )]
    ClusterKey {
        /// The file.
        file: PathBuf,
    },
    /// The place to meet lies in the catalog, or the catalog in it.
    #[error("--rendezvous {url} and the catalog lie in each other; choose another place to meet")]
    RendezvousInCatalog {
        /// The URL of the place.
        url: String,
    },
    /// Processes are to meet through a store, and no place is given.
    #[error("the processes need a place to meet; give --rendezvous URL")]
    NoRendezvous,
    /// A cluster has too many workers.
    #[error(
        "--processes {processes} of --workers {workers} each are more than {max} workers; take fewer of either"
    )]
    ClusterWorkers {
        /// The number of processes.
        processes: usize,
        /// The number of workers of a process.
        workers: usize,
        /// Upper bound.
        max: usize,
    },
    /// A process's number is not below the number of processes.
    #[error(
        "--process {process} of {processes} processes; give each process a number below their count"
    )]
    Process {
        /// The process's number.
        process: usize,
        /// The number of processes.
        processes: usize,
    },
    /// A hosts file cannot be read.
    #[error("--hosts {}: {source}", file.display())]
    HostsFile {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of a hosts file is not an address of its own.
    #[error("{}, line {number}: {line:?} {reason}", file.display())]
    HostsLine {
        /// The file.
        file: PathBuf,
        /// The line's number, from 1.
        number: usize,
        /// The line.
        line: String,
        /// The fault of the line.
        reason: &'static str,
    },
    /// The place of an export lies in the output, or the reverse.
    #[error(
        "{to} and the output {out} lie in each other, so one would be read as the other; choose another --to"
    )]
    ExportInOutput {
        /// The URL of the export.
        to: String,
        /// The URL of the output.
        out: String,
    },
    /// The place of an export holds something.
    #[error("{to} is not empty; an export goes to a place of its own")]
    ExportNotEmpty {
        /// The URL of the export.
        to: String,
    },
    /// The prefix of an ensemble's files names a folder.
    #[error("--qp {qp:?} names no files; give the beginning of their names, as in {qp}photoz-")]
    QpPrefix {
        /// The prefix.
        qp: String,
    },
    /// The files of an ensemble would be read as a part of something else.
    #[error(
        "--qp {qp} lies in {folder}, whose readers would read the ensemble too; choose another place"
    )]
    QpInFolder {
        /// The prefix.
        qp: String,
        /// The URL of the folder.
        folder: String,
    },
    /// A file of an ensemble exists.
    #[error("{file} exists; choose another --qp, or remove the file")]
    QpExists {
        /// The URL of the file.
        file: String,
    },
    /// A preset of this name does not exist.
    #[error("there is no preset {preset}")]
    Preset {
        /// The name.
        preset: String,
    },
    /// The share of masked patches is not between 0 and 1.
    #[error("--masked {masked} is not between 0 and 1")]
    Masked {
        /// The share.
        masked: f64,
    },
    /// The encoder was pretrained on cutouts of other bands.
    #[error(
        "--model-bands {asked}: the encoder in --pretrained takes {bands}; leave --model-bands out, or pretrain another"
    )]
    PretrainedBands {
        /// The bands that were asked for.
        asked: String,
        /// The bands of the encoder.
        bands: String,
    },
    /// The encoder was pretrained on cutouts of another size.
    #[error(
        "--px {asked}: the encoder in --pretrained takes {px}; leave --px out, or pretrain another"
    )]
    PretrainedPx {
        /// The size that was asked for, in pixels.
        asked: usize,
        /// The size of the encoder, in pixels.
        px: usize,
    },
    /// The encoder was pretrained on cutouts that were corrected for another extinction, or for none.
    #[error(
        "--dereddening {asked:?}: the encoder in --pretrained was pretrained with {dereddening:?}; leave --dereddening out, or pretrain another"
    )]
    PretrainedDereddening {
        /// The extinction that was asked for.
        asked: Vec<f64>,
        /// That of the encoder.
        dereddening: Vec<f64>,
    },
    /// An encoder is to be tuned, and there is none to begin with.
    #[error("--encoder tuned needs --pretrained DIR, the encoder to begin with, or --from MODEL")]
    NoEncoder,
    /// An encoder is to begin with random weights, and one was given.
    #[error("--encoder scratch begins with random weights: leave --pretrained and --from out")]
    EncoderGiven,
    /// No head takes these inputs.
    #[error(
        "--inputs {inputs}: a head takes embedding, or embedding,mags; to train a network on cutouts, leave --inputs out (--branches says what feeds its head)"
    )]
    HeadInputs {
        /// The inputs that were asked for.
        inputs: String,
    },
    /// Bands of magnitudes are named for a head that takes none.
    #[error(
        "--mags names bands, and --inputs embedding takes no magnitudes: give --inputs embedding,mags, or leave --mags out"
    )]
    MagsOfNoInput,
    /// A head is to be trained on a catalog without embeddings.
    #[error(
        "--inputs embedding: no file of {catalog} has a column `embedding`; write embeddings with `hubbleflow run CATALOG --out OUT --embeddings` and train on OUT/embeddings, or name the column: --column embedding=NAME"
    )]
    NoEmbeddings {
        /// The catalog.
        catalog: String,
    },
    /// A head is to be trained on magnitudes, and the embeddings have none beside them.
    #[error(
        "--inputs embedding,mags: {catalog} has no columns mag_<band> beside its embeddings; name the bands with --mags, or train on --inputs embedding"
    )]
    NoMagsBesideEmbeddings {
        /// The catalog.
        catalog: String,
    },
    /// A head has no encoder to train.
    #[error("a head on embeddings has no encoder: leave --encoder and --pretrained out")]
    EncoderOfHead,
    /// A head computes in float32 alone.
    #[error("--precision bf16: a head computes in fp32 alone; use fp32 or auto")]
    HeadPrecision,
    /// The loss of a point head is asked for, and the head gives quantiles.
    #[error(
        "--loss says how an error of the one redshift of --head point counts; quantiles have the pinball loss of their levels: leave --loss out, or give --head point"
    )]
    LossOfQuantiles,
    /// A training's folder holds a model.
    #[error("{}: holds a model whose training is over; choose another --out", out.display())]
    TrainingOver {
        /// The folder.
        out: PathBuf,
    },
}
