//! The content of a metrics file.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::ser::Serializer;

use super::{
    Calibration, Numbers, Slice, by_mag::ByMag, numbers::serialize_all, slice_a_line::SliceALine,
};

/// The newest format of a metrics file that this engine reads and writes.
pub const FORMAT: u32 = 1;
/// One of this number of files is complete, so a reader puts together at most this number of files.
pub const COMPLETE_EVERY: u64 = 64;

/// The content of `metrics/<sequence>.json`: the metrics of all that is committed up to an entry, or the changes that the
/// entry made to the metrics before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// The format of the file. It rises when a field changes its meaning.
    pub format: u32,
    /// The number of the entry.
    pub sequence: u64,
    /// The drop of the entry.
    pub drop: String,
    /// Whether the file has all slices. If not, slices that are left out are as they were before the entry, and slices
    /// with `n` 0 are gone. A file without this field is complete, because files held no changes when the field was added.
    #[serde(default = "yes")]
    pub complete: bool,
    /// The number of objects that have a spec-z and are not withdrawn, predicted or not.
    pub objects: i64,
    /// The metrics of all objects.
    #[serde(serialize_with = "serialize_all")]
    pub all: Numbers,
    /// The calibration of the intervals. Every file has all of it.
    #[serde(default)]
    pub calibration: Calibration,
    /// The metrics by the drop that the prediction came with.
    pub by_drop: BTreeMap<String, Numbers>,
    /// The metrics by magnitude, as `by_mag_<band>`.
    #[serde(flatten)]
    pub by_mag: ByMag,
    /// The metrics by z_spec, named by the lower edge of a bin of 0.05.
    pub by_z_spec: BTreeMap<String, Numbers>,
    /// The metrics by HEALPix cell of order 5, nested, named as `5/1234`.
    pub by_tile: BTreeMap<String, Numbers>,
}

fn yes() -> bool {
    true
}

impl Metrics {
    /// Sorts the numbers of slices by the kinds of the slices. `drop_of` names the drop of an entry. Magnitudes are in the
    /// reference band.
    pub fn new<'a>(
        sequence: u64,
        drop: &str,
        objects: i64,
        reference_band: Option<&str>,
        slices: impl IntoIterator<Item = (&'a Slice, &'a Numbers)>,
        drop_of: impl Fn(u32) -> String,
    ) -> Self {
        let mut metrics = Self {
            format: FORMAT,
            sequence,
            drop: drop.to_owned(),
            complete: true,
            objects,
            all: Numbers::default(),
            calibration: Calibration::new(reference_band),
            by_drop: BTreeMap::new(),
            by_mag: ByMag::new(reference_band),
            by_z_spec: BTreeMap::new(),
            by_tile: BTreeMap::new(),
        };
        for (slice, numbers) in slices {
            let numbers = numbers.clone();
            match *slice {
                Slice::All => metrics.all = numbers,
                Slice::Drop(entry) => {
                    metrics.by_drop.insert(drop_of(entry), numbers);
                }
                Slice::Mag(_) => {
                    metrics.by_mag.slices.insert(slice.name(), numbers);
                }
                Slice::ZSpec(_) => {
                    metrics.by_z_spec.insert(slice.name(), numbers);
                }
                Slice::Tile(_) => {
                    metrics.by_tile.insert(slice.name(), numbers);
                }
            }
        }
        metrics
    }

    /// Declares these metrics the changes that their entry made: slices that are not among them did not change.
    pub fn into_changes(self) -> Self {
        Self {
            complete: false,
            ..self
        }
    }

    /// Takes in the next file: turns the metrics up to the entry before it into the metrics up to its entry.
    /// ```
    /// # use hubbleflow_operators::metrics::{Metrics, Numbers, Slice};
    /// let one = |n| Numbers { n, ..Numbers::default() };
    /// let metrics = |sequence, slices: &[(Slice, Numbers)]| {
    ///     Metrics::new(sequence, "night", 3, Some("r"), slices.iter().map(|(slice, of)| (slice, of)), |_| String::new())
    /// };
    /// let mut whole = metrics(1, &[(Slice::All, one(3)), (Slice::Tile(1), one(1)), (Slice::Tile(2), one(2))]);
    /// // An object of tile 1 is gone, and tile 3 has one.
    /// whole.update(metrics(2, &[(Slice::All, one(3)), (Slice::Tile(1), one(0)), (Slice::Tile(3), one(1))]).into_changes());
    /// assert_eq!(whole, metrics(2, &[(Slice::All, one(3)), (Slice::Tile(2), one(2)), (Slice::Tile(3), one(1))]));
    /// ```
    pub fn update(&mut self, file: Self) {
        if file.complete {
            *self = file;
            return;
        }
        (self.sequence, self.drop) = (file.sequence, file.drop);
        (self.objects, self.all) = (file.objects, file.all);
        self.calibration = file.calibration;
        self.by_mag.band = file.by_mag.band;
        let changes = [
            (&mut self.by_drop, file.by_drop),
            (&mut self.by_mag.slices, file.by_mag.slices),
            (&mut self.by_z_spec, file.by_z_spec),
            (&mut self.by_tile, file.by_tile),
        ];
        for (slices, changed) in changes {
            for (name, numbers) in changed {
                match numbers.n {
                    0 => slices.remove(&name),
                    _ => slices.insert(name, numbers),
                };
            }
        }
    }

    /// These metrics as a reader of their file has them: reading may change the last digit of a number.
    pub fn as_read(&self) -> Self {
        serde_json::from_slice(&self.to_json())
            .expect("invariant: metrics are read as they are written")
    }

    /// The bytes of the file: JSON, a slice a line.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut json = Serializer::with_formatter(&mut text, SliceALine::default());
        self.serialize(&mut json)
            .expect("invariant: metrics are plain data");
        text
    }
}
