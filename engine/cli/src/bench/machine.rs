//! What a timing was made on.
use hubbleflow::settings::cores;
use serde::Serialize;

/// Features that decide which kernels compute, by their names in /proc/cpuinfo.
const FEATURES: [&str; 5] = ["avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile"];

/// A machine, as far as it matters to a timing.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Those of its instructions that decide which kernels compute.
    pub features: Vec<String>,
    /// The kernels that libtorch takes.
    pub libtorch: String,
}

impl Machine {
    /// This machine.
    pub fn here() -> Self {
        let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = info.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim())
        };
        let flags: Vec<&str> = field("flags").unwrap_or_default().split(' ').collect();
        let features = FEATURES.iter().filter(|feature| flags.contains(feature));
        Self {
            cpu: field("model name")
                .unwrap_or(std::env::consts::ARCH)
                .to_owned(),
            cores: cores(),
            features: features.map(|&feature| feature.to_owned()).collect(),
            libtorch: models::device::cpu_capability(),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (features, libtorch) = (self.features.join(" "), &self.libtorch);
        write!(
            f,
            "{}, {} cores, {features} (libtorch: {libtorch})",
            self.cpu, self.cores
        )
    }
}
