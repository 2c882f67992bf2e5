//! The network on a stream of a GPU, for one thread.
//!
//! The network is captured once as a CUDA graph, for parts of [`rows_max`](crate::fast::Backend::rows_max) galaxies. A part
//! is three requests (its rows to the GPU, the graph, redshifts back) instead of several hundred. The last part is as large
//! as the others and ends with rows of an earlier part, which change nothing because rows do not mix.
//!
//! Several threads with a lane each keep a GPU busy: it computes the rows of one thread while the rows of another are on
//! their way and a third fills its batch.

use tch::{Device, Kind, TchError, Tensor};

use crate::cuda::{Entered, Stream, pinned, wait};
use crate::error::Error;
use crate::fast::{Cutouts, FoldedNetwork};
use crate::inputs::Inputs;
use crate::needs::Needs;
use crate::output::ModelOutput;

/// A network that is captured on a stream.
#[derive(Debug)]
pub(crate) struct Lane {
    device: usize,
    stream: Stream,
    /// The cutouts and magnitudes of one part, which the graph reads.
    cutouts: Option<Tensor>,
    /// What the cutouts are multiplied with, `[batch, band]`, if the model corrects them for dust.
    dereddening: Option<Tensor>,
    mags: Option<Tensor>,
    /// The outputs of one part, which the graph writes.
    outputs: Vec<(ModelOutput, Tensor)>,
    rows: i64,
}

impl Lane {
    /// Captures a network that takes these inputs and gives these outputs, on the GPU that it was made for.
    ///
    /// # Errors
    /// [`Error::Torch`] if the GPU does not have enough memory.
    pub(crate) fn new(
        network: &FoldedNetwork,
        device: usize,
        needs: &Needs,
        outputs: &[ModelOutput],
    ) -> Result<Self, Error> {
        let _guard = tch::no_grad_guard();
        let rows = network.backend().rows_max();
        let zeros = |shape: &[i64]| Tensor::f_zeros(shape, (Kind::Float, Device::Cuda(device)));
        let cutouts = needs.cutouts.as_ref().map(|needs| {
            let (bands, px) = (needs.bands.len() as i64, needs.px as i64);
            zeros(&[rows, bands, px, px])
        });
        let cutouts = cutouts.transpose()?;
        let factors = || zeros(&[rows, needs.dereddening.len() as i64]);
        let dereddening = (!needs.dereddening.is_empty()).then(factors).transpose()?;
        let mags = || zeros(&[rows, needs.mags.len() as i64]);
        let mags = needs.mags_required.then(mags).transpose()?;
        let forward = || {
            let cutouts = cutouts.as_ref().map(|flux| Cutouts {
                flux,
                dereddening: dereddening.as_ref(),
            });
            network.forward_rows(cutouts, mags.as_ref(), outputs)
        };
        let stream = Stream::new(device)?;
        let on = stream.enter()?;
        // Libraries set things up at their first calls, which is not allowed during a capture.
        for _ in 0..3 {
            let _outputs = forward()?;
        }
        on.wait()?;
        let captured = on.capture(forward)?;
        drop(on);
        Ok(Self {
            device,
            stream,
            cutouts,
            dereddening,
            mags,
            outputs: outputs.iter().cloned().zip(captured).collect(),
            rows,
        })
    }

    /// Predicts `wanted`, float32 on the host, from inputs that were checked, and the factors for their dust.
    ///
    /// # Errors
    /// [`Error::Device`] if the GPU has failed for good, [`Error::Torch`] if it can go on with other inputs.
    pub(crate) fn forward(
        &self,
        inputs: &Inputs,
        dereddening: &Option<Tensor>,
        wanted: &[ModelOutput],
    ) -> Result<Vec<Tensor>, Error> {
        let made = self.replay(inputs, dereddening, wanted);
        made.map_err(|error| match wait(self.device) {
            Ok(()) => Error::Torch(error),
            Err(_failed) => Error::Device(format!(
                "cuda:{} has failed, and takes no more work: {error}; start the run again, on another GPU if this \
                 GPU fails again",
                self.device
            )),
        })
    }

    fn replay(
        &self,
        inputs: &Inputs,
        dereddening: &Option<Tensor>,
        wanted: &[ModelOutput],
    ) -> Result<Vec<Tensor>, TchError> {
        let batch = inputs.batch();
        let places = wanted.iter().map(|output| pinned(&output.shape(batch)));
        let places: Vec<Tensor> = places.collect::<Result<_, _>>()?;
        let batch = batch as i64;
        let on = self.stream.enter()?;
        for first in (0..batch).step_by(self.rows as usize) {
            let rows = self.rows.min(batch - first);
            feed(&on, &self.cutouts, &inputs.cutouts, first, rows)?;
            feed(&on, &self.dereddening, dereddening, first, rows)?;
            feed(&on, &self.mags, &inputs.mags, first, rows)?;
            on.replay()?;
            for (place, output) in places.iter().zip(wanted) {
                let computed = self.output(output).f_narrow(0, 0, rows)?;
                on.copy(&place.f_narrow(0, first, rows)?, &computed)?;
            }
        }
        on.wait()?;
        Ok(places)
    }

    /// Where the graph writes an output.
    fn output(&self, wanted: &ModelOutput) -> &Tensor {
        let mut outputs = self.outputs.iter();
        let found = outputs.find(|(output, _)| output == wanted);
        &found
            .expect("invariant: a lane is asked for outputs that it has")
            .1
    }
}

/// Copies rows of an input to where the graph reads them.
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
