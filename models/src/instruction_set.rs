//! The instruction sets that `fast/loops/loops.cpp` is compiled for, and which of them this processor has.

use std::fmt;
use std::str::FromStr;

use tch::Kind;

use crate::error::Error;

/// The instructions of a processor that our loops use. The last digits of a prediction depend on them.
///
/// ```
/// use hubbleflow_models::device::InstructionSet;
/// let set: InstructionSet = "avx512_bf16".parse().unwrap();
/// assert_eq!((set, set.to_string()), (InstructionSet::Avx512Bf16, "avx512_bf16".to_owned()));
/// assert!(InstructionSet::Any.is_available());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InstructionSet {
    /// The instructions that every processor of this architecture has.
    Any,
    /// AVX2 and fused multiply-add.
    Avx2,
    /// AVX-512: F, BW, DQ and VL.
    Avx512,
    /// AVX-512 with products of pairs of bfloat16.
    Avx512Bf16,
    /// AVX-512 and tiles of bfloat16 (AMX).
    Amx,
}

impl InstructionSet {
    /// All instruction sets, the fastest last.
    pub const ALL: [Self; 5] = [
        Self::Any,
        Self::Avx2,
        Self::Avx512,
        Self::Avx512Bf16,
        Self::Amx,
    ];

    /// Whether this processor has these instructions and the system lets this process use them.
    pub fn is_available(self) -> bool {
        match self {
            Self::Any => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => {
                Self::Avx512.is_available() && is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Self::Avx512Bf16.is_available() && may_use_tiles(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// Checks that this processor has these instructions.
    ///
    /// # Errors
    /// [`Error::Device`] if it does not. The message names the instruction sets that it has.
    pub(crate) fn check(self) -> Result<(), Error> {
        if self.is_available() {
            return Ok(());
        }
        let there = Self::ALL.into_iter().filter(|set| set.is_available());
        let there: Vec<String> = there.map(|set| set.to_string()).collect();
        Err(Error::Device(format!(
            "this machine has no {self} instructions: use one of {}, or a machine that has them",
            there.join(", ")
        )))
    }

    /// Whether this processor computes faster in bfloat16 than in float32 with these instructions. Intel's cores multiply
    /// pairs of bfloat16 at half the rate of float32 (`vdpbf16ps`: one in two cycles), AMD's at twice the rate.
    pub(crate) fn favours_bfloat16(self) -> bool {
        match self {
            Self::Amx => true,
            Self::Avx512Bf16 => is_made_by_amd(),
            _ => false,
        }
    }

    /// The fastest instruction set of this processor for numbers of `kind`. Products of bfloat16 do not help float32.
    pub(crate) fn fastest_for(kind: Kind) -> Self {
        let useful = |set: &Self| kind == Kind::BFloat16 || *set <= Self::Avx512;
        let mut best_first = Self::ALL.into_iter().rev().filter(useful);
        best_first
            .find(|set| set.is_available())
            .expect("invariant: every processor has the instruction set `any`")
    }
}

/// Whether AMD made the processor: no other maker has the instructions SSE4a.
fn is_made_by_amd() -> bool {
    #[cfg(target_arch = "x86_64")]
    let has_sse4a = is_x86_feature_detected!("sse4a");
    #[cfg(not(target_arch = "x86_64"))]
    let has_sse4a = false;
    has_sse4a
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512_bf16",
            Self::Amx => "amx",
        })
    }
}

impl FromStr for InstructionSet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut all = Self::ALL.into_iter();
        all.find(|set| set.to_string() == text).ok_or_else(|| {
            Error::Device(format!(
                "no instruction set `{text}`: use {}",
                Self::ALL.map(|set| set.to_string()).join(", ")
            ))
        })
    }
}

/// Whether the processor multiplies tiles of bfloat16 and the kernel lets this process do so. A process must ask Linux first,
/// because the tiles of a thread are 8 kB that Linux has to save.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn may_use_tiles() -> bool {
    use std::arch::x86_64::__cpuid_count;
    use std::sync::OnceLock;

    /// `ARCH_REQ_XCOMP_PERM` of Linux's `asm/prctl.h`, and the number of the state of the tiles.
    const REQUEST: libc::c_long = 0x1023;
    const TILES: libc::c_long = 18;
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        // Bits of leaf 7: AMX-BF16 and AMX-TILE.
        let features = __cpuid_count(7, 0).edx;
        let has_tiles = features & (1 << 22) != 0 && features & (1 << 24) != 0;
        // SAFETY: the call takes two numbers, and changes only what this process may use.
        has_tiles && unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILES) } == 0
    })
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn may_use_tiles() -> bool {
    false
}
