//! Metrics of photo-z against spec-z, from sums that cancel and counts that are exact.
//!
//! With `dz = (z_phot - z_spec) / (1 + z_spec)` and `e = z_phot - z_spec`, over the objects of a slice:
//!
//! | metric | definition |
//! |---|---|
//! | `n` | objects with both redshifts |
//! | `bias`, `bias_median` | mean and median of dz |
//! | `sigma_nmad` | 1.4826 median \|dz - median dz\| (Brammer et al. 2008) |
//! | `sigma_iqr` | (third - first quartile of dz) / 1.349 |
//! | `outlier_fraction_0.05`, `…_0.15` | of \|dz\| > 0.05, > 0.15 |
//! | `mse`, `mae` | mean of e² and of \|e\| |
//! | `r2` | 1 - Σe² / Σ(z_spec - mean z_spec)² |
//!
//! Sums are integers: what is added can be taken away again and leaves nothing, in any order. Redshifts and dz are
//! summed in steps of 1e-9. Medians and quartiles come from counts of dz in steps of 1e-4, interpolated as numpy does.
use std::{collections::BTreeMap, io};

use connectors::sky::ORDER_TILE;
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};

/// The newest format of a metrics file that this engine reads and writes.
pub const FORMAT: u32 = 1;
/// Every so many files one is complete, so this is how many files a reader puts together at most.
pub const COMPLETE_EVERY: u64 = 64;
/// The limits of |dz| beyond which an object is an outlier.
pub const OUTLIER_LIMITS: [f64; 2] = [0.05, 0.15];

/// Steps of sums in one.
const STEPS: f64 = 1e9;
/// Steps of dz in one, where it is counted.
const DZ_STEPS: f64 = 1e4;
/// Redshifts and errors beyond this count as this: no sum of theirs overflows.
const LIMIT: f64 = 1e6;
/// The interquartile range of a normal distribution, in standard deviations.
const IQR_OF_NORMAL: f64 = 1.349;
/// A normal distribution's standard deviation, in median absolute deviations.
const SIGMA_OF_MAD: f64 = 1.4826;

/// The scaled error of a photo-z.
/// ```
/// assert_eq!(operators::metrics::dz(0.75, 0.5), 0.25 / 1.5);
/// ```
pub fn dz(z_phot: f32, z_spec: f32) -> f64 {
    (f64::from(z_phot) - f64::from(z_spec)) / (1.0 + f64::from(z_spec))
}

/// Objects that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slice {
    /// All.
    All,
    /// Those whose prediction came with a drop: the number of its entry.
    Drop(u32),
    /// Those of half a magnitude in r: the lower edge, in halves.
    MagR(i16),
    /// Those of 0.05 in z_spec: the lower edge, in twentieths.
    ZSpec(i32),
    /// Those of a HEALPix cell of order 5, nested.
    Tile(u16),
}

impl Slice {
    /// The slice of an r magnitude, in hundredths.
    pub fn of_mag_r(hundredths: i16) -> Self {
        Self::MagR(hundredths.div_euclid(50))
    }

    /// The slice of a spec-z, whose edges are float32 as it is: 0.7 as a float32 lies below 0.7, and belongs above it.
    /// ```
    /// use operators::metrics::Slice;
    /// assert_eq!(Slice::of_z_spec(0.7), Slice::ZSpec(14));
    /// assert_eq!(Slice::of_z_spec(0.7_f32.next_down()), Slice::ZSpec(13));
    /// assert_eq!(Slice::of_z_spec(-0.001), Slice::ZSpec(-1));
    /// ```
    pub fn of_z_spec(z_spec: f32) -> Self {
        let edge = |twentieths: i32| (f64::from(twentieths) / 20.0) as f32;
        let below = (f64::from(z_spec) * 20.0).floor() as i32;
        let above = below.saturating_add(1);
        Self::ZSpec(if z_spec < edge(above) { below } else { above })
    }

    /// How a metrics file names a slice that has a lower edge or a cell.
    fn name(self) -> String {
        match self {
            Self::All | Self::Drop(_) => String::new(),
            Self::MagR(halves) => format!("{:.1}", f64::from(halves) / 2.0),
            Self::ZSpec(twentieths) => format!("{:.2}", f64::from(twentieths) / 20.0),
            Self::Tile(cell) => format!("{ORDER_TILE}/{cell}"),
        }
    }
}

/// What one object adds to every slice that it is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    n: i64,
    outliers: [i64; 2],
    dz: i128,
    error_abs: i128,
    error_sq: i128,
    z_spec: i128,
    z_spec_sq: i128,
}

impl Score {
    /// The score of a photo-z and a spec-z.
    fn of(z_phot: f32, z_spec: f32) -> Self {
        let (dz, z) = (dz(z_phot, z_spec), f64::from(z_spec));
        let error = f64::from(z_phot) - z;
        let steps = |value: f64| (value.clamp(-LIMIT, LIMIT) * STEPS).round() as i128;
        Self {
            n: 1,
            outliers: OUTLIER_LIMITS.map(|limit| i64::from(dz.abs() > limit)),
            dz: steps(dz),
            error_abs: steps(error).abs(),
            error_sq: steps(error).pow(2),
            z_spec: steps(z),
            z_spec_sq: steps(z).pow(2),
        }
    }

    /// Adds another, so many times: -1 takes it away.
    fn add(&mut self, other: &Self, times: i64) {
        self.n += other.n * times;
        for (mine, theirs) in self.outliers.iter_mut().zip(other.outliers) {
            *mine += theirs * times;
        }
        let times = i128::from(times);
        self.dz += other.dz * times;
        self.error_abs += other.error_abs * times;
        self.error_sq += other.error_sq * times;
        self.z_spec += other.z_spec * times;
        self.z_spec_sq += other.z_spec_sq * times;
    }
}

/// What is known of a slice: sums, and how often each dz comes.
///
/// ```
/// use operators::metrics::Scores;
/// let (mut scores, mut one) = (Scores::default(), Scores::default());
/// scores.add(0.11, 0.1, 1);
/// scores.add(0.50, 0.1, 1);
/// scores.add(0.50, 0.1, -1);
/// one.add(0.11, 0.1, 1);
/// assert_eq!(scores, one);
/// assert_eq!(scores.numbers().bias_median, Some(0.0091));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scores {
    sums: Score,
    /// Objects by dz in steps of 1e-4.
    counts: BTreeMap<i32, i64>,
}

impl Scores {
    /// Adds an object, so many times: -1 takes it away.
    pub fn add(&mut self, z_phot: f32, z_spec: f32, times: i64) {
        // Beyond the largest step it counts as that.
        let step = (dz(z_phot, z_spec) * DZ_STEPS).round() as i32;
        self.sums.add(&Score::of(z_phot, z_spec), times);
        self.count(step, times);
    }

    /// Adds another slice's, or what is to be added to this one.
    pub fn merge(&mut self, other: &Self) {
        self.sums.add(&other.sums, 1);
        for (&step, &count) in &other.counts {
            self.count(step, count);
        }
    }

    fn count(&mut self, step: i32, times: i64) {
        let count = self.counts.entry(step).or_default();
        *count += times;
        if *count == 0 {
            self.counts.remove(&step);
        }
    }

    /// Whether nothing is left of what was added.
    pub fn is_empty(&self) -> bool {
        self.sums.n == 0 && self.counts.is_empty()
    }

    /// The metrics.
    pub fn numbers(&self) -> Numbers {
        let sums = &self.sums;
        let n = sums.n as f64;
        let mean = |sum: f64, unit: f64| (sums.n > 0).then(|| sum / n / unit);
        let counts = self.counts.iter().map(|(&dz, &n)| (i64::from(dz), n));
        let counts: Vec<(i64, i64)> = counts.collect();
        let [first, median, third] =
            [1, 2, 3].map(|quarter| quartile(counts.iter().copied(), sums.n, quarter));
        // Quartiles are in fourths of a step; the median distance from one in fourths of these.
        let mad = median.and_then(|median| quartile(distances(&counts, median), sums.n, 2));
        let fourths = |value: i64| value as f64 / (4.0 * DZ_STEPS);
        let iqr = first.zip(third).map(|(first, third)| third - first);
        let z_spec = sums.z_spec as f64;
        let spread = sums.z_spec_sq as f64 - z_spec * (z_spec / n);
        Numbers {
            n: sums.n,
            bias: mean(sums.dz as f64, STEPS),
            bias_median: median.map(fourths),
            sigma_nmad: mad.map(|mad| SIGMA_OF_MAD * fourths(mad) / 4.0),
            sigma_iqr: iqr.map(|iqr| fourths(iqr) / IQR_OF_NORMAL),
            outlier_fraction_005: mean(sums.outliers[0] as f64, 1.0),
            outlier_fraction_015: mean(sums.outliers[1] as f64, 1.0),
            mse: mean(sums.error_sq as f64, STEPS * STEPS),
            mae: mean(sums.error_abs as f64, STEPS),
            r2: (sums.n > 1 && spread > 0.0).then(|| 1.0 - sums.error_sq as f64 / spread),
        }
    }
}

/// The value at the place `(n - 1) quarter / 4` of sorted values, each so often; between two of them in proportion.
/// In fourths of the values' unit, which makes it exact.
fn quartile(counts: impl Iterator<Item = (i64, i64)>, n: i64, quarter: i64) -> Option<i64> {
    let (place, fourths) = ((n - 1) * quarter / 4, (n - 1) * quarter % 4);
    let (mut seen, mut below) = (0, None);
    for (value, count) in counts {
        seen += count;
        if below.is_none() && seen > place {
            below = Some(value);
        }
        if let Some(below) = below.filter(|_| seen > place + 1 || fourths == 0) {
            return Some(below * (4 - fourths) + value * fourths);
        }
    }
    None
}

/// How far counted values lie from one that is given in fourths; in fourths, the nearest first.
fn distances(counts: &[(i64, i64)], from: i64) -> impl Iterator<Item = (i64, i64)> {
    let (below, above) = counts.split_at(counts.partition_point(|(value, _)| 4 * value < from));
    let below = below.iter().rev();
    let mut below = below
        .map(move |(value, n)| (from - 4 * value, *n))
        .peekable();
    let above = above.iter();
    let mut above = above
        .map(move |(value, n)| (4 * value - from, *n))
        .peekable();
    std::iter::from_fn(move || match (below.peek(), above.peek()) {
        (Some(low), Some(high)) if low.0 > high.0 => above.next(),
        (Some(_), _) => below.next(),
        (None, _) => above.next(),
    })
}

/// The metrics of a slice, named by their definitions. Those that are of no value (of no objects) are null.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Numbers {
    /// Objects with both z_phot and z_spec.
    pub n: i64,
    /// Mean dz.
    pub bias: Option<f64>,
    /// Median dz.
    pub bias_median: Option<f64>,
    /// 1.4826 times the median distance of dz from its median.
    pub sigma_nmad: Option<f64>,
    /// The interquartile range of dz by 1.349.
    pub sigma_iqr: Option<f64>,
    /// The part of the objects with |dz| > 0.05.
    #[serde(rename = "outlier_fraction_0.05")]
    pub outlier_fraction_005: Option<f64>,
    /// The part of the objects with |dz| > 0.15.
    #[serde(rename = "outlier_fraction_0.15")]
    pub outlier_fraction_015: Option<f64>,
    /// Mean squared error of z.
    pub mse: Option<f64>,
    /// Mean absolute error of z.
    pub mae: Option<f64>,
    /// The part of the variance of z_spec that z_phot explains.
    pub r2: Option<f64>,
}

/// What `metrics/<sequence>.json` holds: the metrics of what is committed up to an entry, or the changes that the entry
/// made to those before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Rises when a field changes its meaning.
    pub format: u32,
    /// The entry.
    pub sequence: u64,
    /// Its drop.
    pub drop: String,
    /// Whether all slices are here. If not, those that are left out are as they were before the entry, and those with
    /// `n` 0 are gone. A file that does not say it is complete: all were, before files held changes.
    #[serde(default = "yes")]
    pub complete: bool,
    /// Objects that have a spec-z and are not withdrawn, predicted or not.
    pub objects: i64,
    /// Over all.
    pub all: Numbers,
    /// By the drop that the prediction came with.
    pub by_drop: BTreeMap<String, Numbers>,
    /// By r magnitude, named by the lower edge of half a magnitude.
    pub by_mag_r: BTreeMap<String, Numbers>,
    /// By z_spec, named by the lower edge of 0.05.
    pub by_z_spec: BTreeMap<String, Numbers>,
    /// By HEALPix cell of order 5, nested, named as `5/1234`.
    pub by_tile: BTreeMap<String, Numbers>,
}

fn yes() -> bool {
    true
}

impl Metrics {
    /// Sorts the numbers of slices by what they are slices of. `drop_of` names the drop of an entry.
    pub fn new<'a>(
        sequence: u64,
        drop: &str,
        objects: i64,
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
            by_drop: BTreeMap::new(),
            by_mag_r: BTreeMap::new(),
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
                Slice::MagR(_) => {
                    metrics.by_mag_r.insert(slice.name(), numbers);
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

    /// These metrics as the changes that their entry made: slices that are not among them did not change.
    pub fn into_changes(self) -> Self {
        Self {
            complete: false,
            ..self
        }
    }

    /// Takes in the next file: makes of the metrics up to the entry before it those up to its entry.
    /// ```
    /// # use operators::metrics::{Metrics, Numbers, Slice};
    /// let one = |n| Numbers { n, ..Numbers::default() };
    /// let metrics = |sequence, slices: &[(Slice, Numbers)]| {
    ///     Metrics::new(sequence, "night", 3, slices.iter().map(|(slice, of)| (slice, of)), |_| String::new())
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
        let changes = [
            (&mut self.by_drop, file.by_drop),
            (&mut self.by_mag_r, file.by_mag_r),
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
        serde_json::from_slice(&self.to_json()).expect("metrics are read as they are written")
    }

    /// The file's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let mut json = Serializer::with_formatter(&mut text, SliceALine::default());
        self.serialize(&mut json).expect("metrics are plain data");
        text
    }
}

/// Writes JSON for people, a slice a line: most of a file is slices.
#[derive(Default)]
struct SliceALine {
    depth: usize,
    has_value: bool,
}

impl SliceALine {
    /// The depth of an object that is a slice.
    const SLICE: usize = 3;

    fn new_line(&self, to: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
        write!(to, "\n{:indent$}", "", indent = 2 * self.depth)
    }
}

impl Formatter for SliceALine {
    fn begin_object<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        (self.depth, self.has_value) = (self.depth + 1, false);
        to.write_all(b"{")
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> io::Result<()> {
        match (first, self.depth < Self::SLICE) {
            (true, true) => self.new_line(to),
            (true, false) => Ok(()),
            (false, true) => to.write_all(b",").and_then(|()| self.new_line(to)),
            (false, false) => to.write_all(b", "),
        }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, _to: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, to: &mut W) -> io::Result<()> {
        let is_slice = self.depth >= Self::SLICE;
        self.depth -= 1;
        if self.has_value && !is_slice {
            self.new_line(to)?;
        }
        to.write_all(b"}")
    }
}
