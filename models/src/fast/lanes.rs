//! Arithmetic on lanes of numbers, for the loops that libtorch has no good kernel for.
//!
//! The loops are plain Rust on arrays, which the compiler turns into vector instructions. Each is compiled for the
//! processors with AVX-512, for those with AVX2, and for any; [`Cpu::detect`] picks at run time.

use half::bf16;
use tch::{Device, TchError, Tensor};

/// Numbers that the network is made of in memory; arithmetic is float32 always.
pub(super) trait Element: tch::kind::Element + Copy {
    fn widen(self) -> f32;
    fn narrow(value: f32) -> Self;
}

impl Element for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        value
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    /// To the nearest, ties to even. Without a branch, unlike `bf16::from_f32`.
    #[inline(always)]
    fn narrow(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let quiet_nan = (bits >> 16) | 0x40;
        bf16::from_bits(if value.is_nan() { quiet_nan } else { rounded } as u16)
    }
}

/// What a processor multiplies and adds with.
pub(super) trait Arithmetic {
    /// `a b + c`.
    fn fma(a: f32, b: f32, c: f32) -> f32;
}

/// One instruction that rounds once.
pub(super) struct Fused;
/// Two, for processors that have no such instruction.
pub(super) struct Separate;

impl Arithmetic for Fused {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl Arithmetic for Separate {
    #[inline(always)]
    fn fma(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Vector instructions of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cpu {
    Avx512,
    Avx2,
    Any,
}

impl Cpu {
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            match (fma, wide) {
                (true, true) => return Self::Avx512,
                (true, false) => return Self::Avx2,
                _ => {}
            }
        }
        Self::Any
    }
}

/// Compiles a loop, `#[inline(always)]` and generic in [`Element`] and [`Arithmetic`], for each kind of processor.
macro_rules! for_each_cpu {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:ident) => {
        $(#[$doc])*
        $vis fn $name<T: $crate::fast::lanes::Element>($($arg: $type),*) {
            use $crate::fast::lanes::{Cpu, Element, Fused, Separate};

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            fn avx512<T: Element>($($arg: $type),*) {
                $body::<T, Fused>($($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2<T: Element>($($arg: $type),*) {
                $body::<T, Fused>($($arg),*);
            }
            match Cpu::detect() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: this processor has these instructions.
                Cpu::Avx512 => unsafe { avx512::<T>($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: this processor has these instructions.
                Cpu::Avx2 => unsafe { avx2::<T>($($arg),*) },
                _ => $body::<T, Separate>($($arg),*),
            }
        }
    };
}
pub(super) use for_each_cpu;

/// `e^x` of each lane, to 2e-7 of it; below -87 it is 1e-38, above 88 it is 2e38.
#[inline(always)]
pub(super) fn exp<const L: usize, A: Arithmetic>(x: [f32; L]) -> [f32; L] {
    // Halves of an integer that float32 holds to the unit: what is added rounds, and stands in the last bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let mut y = [0.0; L];
    for lane in 0..L {
        let x = x[lane].clamp(-87.0, 88.0);
        let shifted = A::fma(x, std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = A::fma(n, -LN_2_LOW, A::fma(n, -LN_2_HIGH, x));
        // The polynomial of Cephes' expf (S. Moshier).
        let mut p = 1.987_569_1e-4;
        p = A::fma(p, r, 1.398_2e-3);
        p = A::fma(p, r, 8.333_452e-3);
        p = A::fma(p, r, 4.166_579_6e-2);
        p = A::fma(p, r, 1.666_666_5e-1);
        p = A::fma(p, r, 0.5);
        p = A::fma(p, r * r, r) + 1.0;
        // Times 2^n: its exponent is raised by n.
        y[lane] = f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23));
    }
    y
}

/// The sum of the lanes, as a tree.
#[inline(always)]
pub(super) fn sum<const L: usize>(mut x: [f32; L]) -> f32 {
    let mut half = L / 2;
    while half > 0 {
        for lane in 0..half {
            x[lane] += x[lane + half];
        }
        half /= 2;
    }
    x[0]
}

/// `L` numbers from the front of `values`.
#[inline(always)]
pub(super) fn load<const L: usize, T: Element>(values: &[T]) -> [f32; L] {
    let values: &[T; L] = values.first_chunk().expect("invariant: as many as lanes");
    let mut lanes = [0.0; L];
    for lane in 0..L {
        lanes[lane] = values[lane].widen();
    }
    lanes
}

/// Writes lanes to the front of `values`.
#[inline(always)]
pub(super) fn store<const L: usize, T: Element>(lanes: [f32; L], values: &mut [T]) {
    let values: &mut [T; L] = values
        .first_chunk_mut()
        .expect("invariant: as many as lanes");
    for lane in 0..L {
        values[lane] = T::narrow(lanes[lane]);
    }
}

/// `a b + c` of each lane, with one `a` for all.
#[inline(always)]
pub(super) fn scaled<const L: usize, A: Arithmetic>(
    a: f32,
    b: &[f32; L],
    mut c: [f32; L],
) -> [f32; L] {
    for lane in 0..L {
        c[lane] = A::fma(a, b[lane], c[lane]);
    }
    c
}

/// The numbers of a tensor.
pub(super) fn values<T: Element>(tensor: &Tensor) -> &[T] {
    check::<T>(tensor);
    // SAFETY: a contiguous tensor on the CPU of this type and number of elements, borrowed as long as the slice. Who
    // writes to tensors in this module has made them, and their handles are not shared.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<T>(), tensor.numel()) }
}

/// The numbers of a tensor that nobody else has a handle on.
pub(super) fn values_mut<T: Element>(tensor: &mut Tensor) -> &mut [T] {
    check::<T>(tensor);
    // SAFETY: as in `values`; the tensor is borrowed for this slice alone.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<T>(), tensor.numel()) }
}

fn check<T: Element>(tensor: &Tensor) {
    let fits = tensor.kind() == T::KIND && tensor.device() == Device::Cpu && tensor.is_contiguous();
    assert!(fits, "invariant: contiguous on the CPU, of {:?}", T::KIND);
}

/// A new tensor, filled by `fill`.
pub(super) fn filled<T: Element>(
    shape: &[i64],
    fill: impl FnOnce(&mut [T]),
) -> Result<Tensor, TchError> {
    let mut tensor = Tensor::f_empty(shape, (T::KIND, Device::Cpu))?;
    fill(values_mut(&mut tensor));
    Ok(tensor)
}
