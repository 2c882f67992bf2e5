//! The rows of a training, in memory.

use tch::{Device, Kind, Tensor};

use crate::error::Error;
use crate::network::Network;

/// Galaxies, column by column. A column that the training does not need may be missing.
#[derive(Debug, Default)]
pub struct TrainingRows {
    /// `[rows, 5, px, px]` float32, nanomaggies.
    pub cutouts: Option<Tensor>,
    /// `[rows, 5]` float32, AB.
    pub mags: Option<Tensor>,
    /// `[rows]` float32, spectroscopic redshifts.
    pub z_spec: Option<Tensor>,
    /// `[rows, width]`: the output of an encoder that does not learn, instead of the cutouts; or the embeddings of a head.
    pub latents: Option<Tensor>,
}

impl TrainingRows {
    /// The number of rows.
    ///
    /// ```
    /// use hubbleflow_models::{Config, init, train::TrainingRows};
    /// let needs = Config::preset("astromae").unwrap().needs();
    /// let rows = TrainingRows { mags: init::inputs(7, &needs)?.mags, ..TrainingRows::default() };
    /// assert_eq!((rows.len(), rows.is_empty()), (7, false));
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn len(&self) -> i64 {
        let columns = [&self.cutouts, &self.mags, &self.z_spec, &self.latents];
        let first = columns.into_iter().flatten().next();
        first.map_or(0, |column| column.size()[0])
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the rows with these numbers (`[k]` int64) to `device`.
    ///
    /// # Errors
    /// [`Error::Torch`] if there is not enough memory.
    ///
    /// ```
    /// use hubbleflow_models::{Config, init, train::TrainingRows};
    /// let needs = Config::preset("astromae").unwrap().needs();
    /// let rows = TrainingRows { mags: init::inputs(7, &needs)?.mags, ..TrainingRows::default() };
    /// let numbers = tch::Tensor::from_slice(&[6i64, 0]);
    /// assert_eq!(rows.select(&numbers, tch::Device::Cpu)?.len(), 2);
    /// # Ok::<(), hubbleflow_models::Error>(())
    /// ```
    pub fn select(&self, numbers: &Tensor, device: Device) -> Result<Self, Error> {
        self.map(|column| column.f_index_select(0, numbers)?.f_to_device(device))
    }

    /// Copies `rows` rows from number `from` on to `device`.
    pub(crate) fn slice(&self, from: i64, rows: i64, device: Device) -> Result<Self, Error> {
        self.map(|column| column.f_narrow(0, from, rows)?.f_to_device(device))
    }

    fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor, tch::TchError>) -> Result<Self, Error> {
        let column = |column: &Option<Tensor>| column.as_ref().map(&f).transpose();
        Ok(Self {
            cutouts: column(&self.cutouts)?,
            mags: column(&self.mags)?,
            z_spec: column(&self.z_spec)?,
            latents: column(&self.latents)?,
        })
    }

    /// Replaces the cutouts by the output of the encoder of `network`, `batch` rows at a time. The cutouts stay if another
    /// branch needs them.
    pub(crate) fn encoded_by(
        mut self,
        network: &Network,
        batch: i64,
        device: Device,
    ) -> Result<Self, Error> {
        let _guard = tch::no_grad_guard();
        let cutouts = self.cutouts.take();
        let cutouts =
            cutouts.ok_or_else(|| Error::Inputs("an encoder needs cutouts".to_owned()))?;
        let see = |cutouts: &Tensor| {
            let latents = network.latents(&cutouts.f_to_device(device)?)?;
            latents.f_to_device(Device::Cpu)
        };
        let batches = cutouts.f_split(batch, 0)?;
        let latents = batches.iter().map(see).collect::<Result<Vec<_>, _>>()?;
        self.latents = Some(Tensor::f_cat(&latents, 0)?);
        self.cutouts = network.needs_cutouts_beside_encoder().then_some(cutouts);
        Ok(self)
    }

    /// Turns and flips the cutouts, an eighth of them into each of the eight orientations: a galaxy has no up and no left.
    pub(crate) fn turned(mut self) -> Result<Self, Error> {
        if let Some(cutouts) = &self.cutouts {
            let eighths = cutouts.f_tensor_split(8, 0)?;
            let turned = eighths.iter().enumerate().map(|(n, cutouts)| {
                let flipped = if n % 2 == 1 {
                    cutouts.f_flip([3])?
                } else {
                    cutouts.shallow_clone()
                };
                flipped.f_rot90(n as i64 / 2, [2, 3])
            });
            let turned = turned.collect::<Result<Vec<_>, _>>()?;
            self.cutouts = Some(Tensor::f_cat(&turned, 0)?);
        }
        Ok(self)
    }
}

/// The error of a training whose rows lack something.
pub(crate) fn missing(what: &str) -> Error {
    Error::Inputs(format!("this training needs {what}"))
}

/// Shuffles the numbers `0..rows` in an order that follows from `seed`.
pub(crate) fn shuffled(rows: i64, seed: i64) -> Result<Tensor, Error> {
    tch::manual_seed(seed);
    Ok(Tensor::f_randperm(rows, (Kind::Int64, Device::Cpu))?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn turning_gives_each_of_eight_orientations_once() {
        let cutout = Tensor::arange(5 * 16, (Kind::Float, Device::Cpu)).reshape([1, 5, 4, 4]);
        let rows = TrainingRows {
            cutouts: Some(cutout.expand([8, 5, 4, 4], false).contiguous()),
            ..TrainingRows::default()
        };
        let turned = rows.turned().unwrap().cutouts.unwrap();
        let corner = |n, y, x| turned.double_value(&[n, 0, y, x]) as i64;
        // The pixels in the corners tell the orientation.
        let mut seen: Vec<(i64, i64, i64, i64)> = (0..8)
            .map(|n| {
                (
                    corner(n, 0, 0),
                    corner(n, 0, 3),
                    corner(n, 3, 0),
                    corner(n, 3, 3),
                )
            })
            .collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 8);
        assert!(
            (turned.select(1, 4) - turned.select(1, 0))
                .std(true)
                .double_value(&[])
                < 1e-6
        );
    }
}
