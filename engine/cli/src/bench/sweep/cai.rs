//! The figures that CAI (Staylor et al. 2025, arXiv:2501.06249) has published, each with its source.
//!
//! Paths are in the repository UVA-MLSys/AI-for-Astronomy at commit ba033be. A figure is copied from there, or the mean of the
//! runs there. No figure is read off a plot.

/// A figure of CAI's.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// What is varied.
    pub experiment: &'static str,
    /// What it ran on.
    pub hardware: &'static str,
    /// The data in GB, as the source says it.
    pub data_gb: f64,
    /// The size of the files that the data is cut into.
    pub partition_mb: Option<u32>,
    /// Galaxies that the model takes at a time.
    pub batch: u32,
    /// Lambda functions at a time.
    pub lambdas: Option<u32>,
    /// What the source calls inference time, or the time of the whole.
    pub seconds: Option<f64>,
    /// The source's own throughput.
    pub bits_per_second: Option<f64>,
    /// The source's own cost in dollars.
    pub cost: Option<f64>,
    /// What is timed.
    pub timed: &'static str,
    /// Where it stands.
    pub source: &'static str,
}

const LAMBDA: &str = "AWS Lambda";
const GPU: &str = "a GPU of the HPC cluster Rivanna";
const CPU: &str = "CPUs of the HPC cluster Rivanna";

/// `inference_duration` of aws/collect_logs.ipynb.
const STAGE: &str = "the stage of all Lambdas: their start, download, model and predictions";
const MACHINE: &str = "the whole state machine";
const COLUMN: &str = "the column Inference Time, of torch's profiler";
const LOOP: &str = "the loop over batches of data in memory, repeated";
const RATE: &str = "bits by the seconds of the same run, which the source does not give";

const BY_SIZE: &str =
    "code/Anomaly Detection/Plots/Cloud for CosmicAI(CURRENT - vary datasize).csv";
const BY_BATCH: &str =
    "code/Anomaly Detection/Plots/Cloud for CosmicAI(CURRENT - vary batch size).csv";
const BY_PARTITION: &str = "aws/results/total_execution_time.csv; cost: README.md, “Cost estimate”";

const fn row(experiment: &'static str, hardware: &'static str, data_gb: f64) -> Published {
    Published {
        experiment,
        hardware,
        data_gb,
        partition_mb: None,
        batch: 512,
        lambdas: None,
        seconds: None,
        bits_per_second: None,
        cost: None,
        timed: "",
        source: "",
    }
}

const fn size_on_lambda(data_gb: f64, lambdas: u32, seconds: f64, bits: f64) -> Published {
    Published {
        partition_mb: Some(25),
        lambdas: Some(lambdas),
        seconds: Some(seconds),
        bits_per_second: Some(bits),
        timed: STAGE,
        source: BY_SIZE,
        ..row("data size", LAMBDA, data_gb)
    }
}

const fn size_on(hardware: &'static str, data_gb: f64, seconds: f64, bits: f64) -> Published {
    Published {
        seconds: Some(seconds),
        bits_per_second: Some(bits),
        timed: COLUMN,
        source: BY_SIZE,
        ..row("data size", hardware, data_gb)
    }
}

const fn partition(megabytes: u32, lambdas: u32, seconds: f64, cost: f64) -> Published {
    Published {
        partition_mb: Some(megabytes),
        lambdas: Some(lambdas),
        seconds: Some(seconds),
        cost: Some(cost),
        timed: MACHINE,
        source: BY_PARTITION,
        ..row("partition size", LAMBDA, 12.6)
    }
}

const fn batch_on(hardware: &'static str, batch: u32, bits: f64) -> Published {
    Published {
        batch,
        bits_per_second: Some(bits),
        timed: RATE,
        source: BY_BATCH,
        ..row("batch", hardware, 1.0)
    }
}

const fn batch_on_lambda(batch: u32, bits: f64) -> Published {
    Published {
        partition_mb: Some(25),
        lambdas: Some(41),
        ..batch_on(LAMBDA, batch, bits)
    }
}

const fn large(hardware: &'static str, seconds: f64, bits: f64, source: &'static str) -> Published {
    Published {
        seconds: Some(seconds),
        bits_per_second: Some(bits),
        timed: LOOP,
        source,
        ..row("large scale", hardware, 1024.0)
    }
}

/// All of them, in the order in which they are shown.
pub(super) const PUBLISHED: [Published; 35] = [
    Published {
        partition_mb: Some(25),
        lambdas: Some(517),
        seconds: Some(28.0),
        bits_per_second: Some(18.04e9),
        timed: "the stage of all Lambdas; the bits a second are the sum of the rates of all Lambdas (aws/stats.py)",
        source: "abstract of arXiv:2501.06249v3; aws/results/result_stats.csv",
        ..row("headline", LAMBDA, 12.6)
    },
    size_on_lambda(1.0, 41, 15.35, 555_732_008.3),
    size_on_lambda(2.0, 82, 20.15, 840_373_409.6),
    size_on_lambda(4.0, 164, 22.13, 1_536_635_331.0),
    size_on_lambda(6.0, 246, 23.66, 2_157_385_789.0),
    size_on_lambda(8.0, 328, 22.8, 3_007_800_161.0),
    size_on_lambda(10.0, 410, 25.48, 3_308_993_248.0),
    size_on_lambda(12.6, 517, 28.08, 3_872_419_032.0),
    size_on(GPU, 1.0, 17.576, 513_008_475.2),
    size_on(GPU, 12.6, 140.815, 758_226_257.8),
    size_on(CPU, 1.0, 148.592, 58_657_237.94),
    size_on(CPU, 12.6, 1793.202, 60_721_723.4),
    partition(25, 517, 56.82, 0.16),
    partition(50, 259, 44.89, 0.20),
    partition(75, 173, 49.35, 0.30),
    partition(100, 130, 68.56, 0.38),
    batch_on_lambda(32, 2.50e8),
    batch_on_lambda(64, 3.36e8),
    batch_on_lambda(128, 4.18e8),
    batch_on_lambda(256, 5.03e8),
    batch_on_lambda(512, 5.42e8),
    batch_on(GPU, 32, 5.66e7),
    batch_on(GPU, 64, 1.05e8),
    batch_on(GPU, 128, 1.92e8),
    batch_on(GPU, 256, 4.20e8),
    batch_on(GPU, 512, 6.07e8),
    batch_on(CPU, 32, 7.10e6),
    batch_on(CPU, 64, 1.71e7),
    batch_on(CPU, 128, 3.98e7),
    batch_on(CPU, 256, 5.80e7),
    batch_on(CPU, 512, 7.46e7),
    Published {
        partition_mb: Some(100),
        seconds: Some(180.57),
        timed: "the stage of all Lambdas; aws/results/result_stats.csv counts 833.75 Gbit (104 GB) for such a run",
        source: "aws/results/state_machine_logs.csv",
        ..row("large scale", LAMBDA, 1000.0)
    },
    Published {
        partition_mb: Some(100),
        seconds: Some(236.81),
        timed: MACHINE,
        source: "aws/results/state_machine_logs.csv",
        ..row("large scale", LAMBDA, 1000.0)
    },
    large(
        "one A100 GPU of Rivanna",
        2327.38,
        3.809e9,
        "code/Anomaly Detection/Inference/cuda/total.json; submit-gpu.sh",
    ),
    large(
        "one process on CPUs of Rivanna",
        196_334.76,
        4.515e7,
        "code/Anomaly Detection/Inference/cpu/total.json; submit.sh",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_source() {
        for figure in PUBLISHED {
            let given = [figure.seconds, figure.bits_per_second, figure.cost];
            assert!(given.iter().any(Option::is_some), "{figure:?}");
            assert!(!figure.source.is_empty(), "{figure:?}");
            assert!(!figure.timed.is_empty(), "{figure:?}");
        }
    }

    /// The rates of `vary datasize.csv` are bits by seconds: the data of a row gives the same bytes a GB in all rows.
    #[test]
    fn rates_by_size_are_bits_by_seconds() {
        let rows = PUBLISHED.iter().filter(|of| of.timed == STAGE);
        for figure in rows {
            let (seconds, rate) = (figure.seconds, figure.bits_per_second);
            let bits = seconds.zip(rate).map(|(seconds, rate)| seconds * rate);
            let bytes_a_gb = bits.map_or(0.0, |bits| bits / 8.0 / figure.data_gb);
            assert!((1.03e9..1.09e9).contains(&bytes_a_gb), "{bytes_a_gb}");
        }
    }
}
