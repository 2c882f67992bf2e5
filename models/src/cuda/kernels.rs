//! Kernels of our own, which `models/kernels` has in source and compiled.

use std::ffi::{CString, c_int, c_void};
use std::io::Read;

use flate2::read::GzDecoder;
use tch::{TchError, Tensor};

use super::compiled::{ANY_GPU, Compiled, HOPPER};
use super::shim::{Symbol, capability};

/// The compute capability of Hopper GPUs (H100, H200), for which there are kernels with instructions of its own.
const HOPPER_CAPABILITY: i32 = 90;
/// The first compute capability with products of bfloat16: Ampere.
const CAPABILITY_MIN: i32 = 80;

/// The kernels for a GPU, loaded for good.
#[derive(Debug)]
pub(crate) struct Kernels(Vec<Kernel>);

/// A kernel, loaded for good on its GPU.
#[derive(Debug)]
pub(crate) struct Kernel {
    compiled: &'static Compiled,
    symbol: Symbol,
}

impl Kernels {
    /// Loads the kernels of the GPU with this number, or gives `None` if the GPU is too old for them.
    pub(crate) fn load(device: usize) -> Result<Option<Self>, TchError> {
        match capability(device)? {
            HOPPER_CAPABILITY => Self::of_set(device, &HOPPER).map(Some),
            CAPABILITY_MIN.. => Self::of_set(device, &ANY_GPU).map(Some),
            _ => Ok(None),
        }
    }

    /// Loads the kernels of a set.
    pub(super) fn of_set(device: usize, set: &'static [Compiled]) -> Result<Self, TchError> {
        let kernels = set.iter().map(|compiled| Kernel::load(device, compiled));
        Ok(Self(kernels.collect::<Result<_, _>>()?))
    }

    /// The kernel with this name.
    pub(crate) fn named(&self, name: &str) -> &Kernel {
        let mut kernels = self.0.iter();
        let found = kernels.find(|kernel| kernel.compiled.name == name);
        found.unwrap_or_else(|| panic!("invariant: there is a kernel {name}"))
    }
}

impl Kernel {
    fn load(device: usize, compiled: &'static Compiled) -> Result<Self, TchError> {
        let function = CString::new(compiled.function).expect("invariant: a name has no zero byte");
        let mut image = Vec::new();
        let read = GzDecoder::new(compiled.image).read_to_end(&mut image);
        read.expect("invariant: the image was compressed when it was compiled");
        // A PTX is a C string.
        image.push(0);
        let symbol = Symbol::load(device, &image, &function, compiled.shared_bytes)?;
        Ok(Self { compiled, symbol })
    }

    /// The number of programs that compute this number of rows, pixels or blocks of pixels.
    pub(crate) fn programs(&self, count: i64) -> i64 {
        (count + self.compiled.block - 1) / self.compiled.block
    }

    /// Starts `x` times `y` programs on this thread's stream.
    ///
    /// # Safety
    /// The arguments must be those of the kernel's source, in its order, first tensors and then numbers: tensors of the
    /// shapes and kinds that the source names, contiguous, on the kernel's GPU, and int32 numbers, of which those that
    /// `compile.py` marks with `n` are multiples of 16.
    pub(crate) unsafe fn launch(
        &self,
        [x, y]: [i64; 2],
        tensors: &[&Tensor],
        numbers: &[i64],
    ) -> Result<(), TchError> {
        // A pointer takes all eight bytes, an int32 the first four, on the little-endian hosts that have CUDA.
        let pointers = tensors.iter().map(|tensor| tensor.data_ptr() as u64);
        let numbers = numbers.iter().map(|&number| u64::from(number as u32));
        // Triton adds two pointers, to memory that our kernels do not ask for.
        let mut values: Vec<u64> = pointers.chain(numbers).chain([0, 0]).collect();
        let mut arguments: Vec<*mut c_void> = values.iter_mut().map(ptr).collect();
        let grid = [x, y].map(|programs| programs as c_int);
        let (threads, shared_bytes) = (self.compiled.threads, self.compiled.shared_bytes);
        // SAFETY: the caller vouches for the arguments.
        unsafe {
            self.symbol
                .launch(grid, threads, shared_bytes, &mut arguments)
        }
    }
}

fn ptr(value: &mut u64) -> *mut c_void {
    std::ptr::from_mut(value).cast()
}
