//! The network on a stream of a GPU, for one thread.
//!
//! A batch goes through in parts of [`rows`](crate::fast::Backend::rows), captured once as a CUDA graph: a part is three
//! requests (its rows to the GPU, the graph, redshifts back) instead of some hundreds. The last part is as large as the
//! others, its tail being rows of before: rows do not mix, so they change nothing.
//!
//! Several threads with a lane each are what keeps a GPU busy: while one's rows are on their way, and the next one fills
//! its batch, another's are computed.

use tch::{Device, Kind, TchError, Tensor};

use super::shim::{Entered, Stream, pinned};
use crate::fast::Fast;
use crate::{Error, Inputs, Needs};

/// A network on a stream.
#[derive(Debug)]
pub(crate) struct Lane {
    stream: Stream,
    /// The places that the graph reads, of one part.
    cutouts: Option<Tensor>,
    mags: Option<Tensor>,
    /// The place that it writes.
    z_phot: Tensor,
}

impl Lane {
    /// Captures a network that takes these inputs, on the GPU that it was made for.
    pub(crate) fn new(
        network: &Fast,
        device: usize,
        needs: Needs,
        cutout_px: usize,
    ) -> Result<Self, Error> {
        let _guard = tch::no_grad_guard();
        let (rows, px) = (network.backend().rows(), cutout_px as i64);
        let zeros = |shape: &[i64]| Tensor::f_zeros(shape, (Kind::Float, Device::Cuda(device)));
        let cutouts = needs
            .cutouts
            .then(|| zeros(&[rows, 5, px, px]))
            .transpose()?;
        let mags = needs.mags.then(|| zeros(&[rows, 5])).transpose()?;
        let forward = || network.rows(cutouts.as_ref(), mags.as_ref());
        let stream = Stream::new(device)?;
        let on = stream.enter()?;
        // What libraries set up at their first call, they may not while it is captured.
        for _ in 0..3 {
            let _z_phot = forward()?;
        }
        on.wait()?;
        let z_phot = on.capture(forward)?;
        drop(on);
        Ok(Self {
            stream,
            cutouts,
            mags,
            z_phot,
        })
    }

    /// `[batch]` redshifts, float32, on the host, of inputs that were checked.
    pub(crate) fn forward(&self, inputs: &Inputs) -> Result<Tensor, TchError> {
        let batch = inputs.batch() as i64;
        let z_phot = pinned(&[batch])?;
        let on = self.stream.enter()?;
        let at_most = self.z_phot.size1()?;
        for first in (0..batch).step_by(at_most as usize) {
            let rows = at_most.min(batch - first);
            feed(&on, &self.cutouts, &inputs.cutouts, first, rows)?;
            feed(&on, &self.mags, &inputs.mags, first, rows)?;
            on.replay()?;
            let computed = self.z_phot.f_narrow(0, 0, rows)?;
            on.copy(&z_phot.f_narrow(0, first, rows)?, &computed)?;
        }
        on.wait()?;
        Ok(z_phot)
    }
}

/// Lays rows of an input where the graph reads them.
fn feed(
    on: &Entered<'_>,
    place: &Option<Tensor>,
    input: &Option<Tensor>,
    first: i64,
    rows: i64,
) -> Result<(), TchError> {
    let Some((place, input)) = place.as_ref().zip(input.as_ref()) else {
        return Ok(());
    };
    on.copy(
        &place.f_narrow(0, 0, rows)?,
        &input.f_narrow(0, first, rows)?,
    )
}
