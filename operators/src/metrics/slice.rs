//! Names the slices of objects that metrics are made of.
use connectors::sky::ORDER_TILE;
use serde::{Deserialize, Serialize};

/// A group of objects that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Slice {
    /// All objects.
    All,
    /// The objects whose prediction came with a drop: the number of the drop's entry.
    Drop(u32),
    /// The objects in a bin of half a magnitude in the reference band: the lower edge, in halves.
    Mag(i16),
    /// The objects in a bin of 0.05 in z_spec: the lower edge, in twentieths.
    ZSpec(i32),
    /// The objects in a HEALPix cell of order 5, nested.
    Tile(u16),
}

impl Slice {
    /// The slice of a magnitude (AB), given in hundredths.
    pub fn of_mag(hundredths: i16) -> Self {
        Self::Mag(hundredths.div_euclid(50))
    }

    /// The slice of a magnitude (AB).
    pub fn of_mag_ab(mag: f32) -> Self {
        Self::of_mag(mag_hundredths(mag))
    }

    /// The slice of a spec-z. The edges are rounded to float32 like the spec-z: 0.7 as a float32 lies below 0.7, and still
    /// belongs to the slice that begins at 0.7.
    /// ```
    /// use hubbleflow_operators::metrics::Slice;
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

    /// The name of the slice in a metrics file, if it has a lower edge or a cell; otherwise empty.
    pub(super) fn name(self) -> String {
        match self {
            Self::All | Self::Drop(_) => String::new(),
            Self::Mag(halves) => format!("{:.1}", f64::from(halves) / 2.0),
            Self::ZSpec(twentieths) => format!("{:.2}", f64::from(twentieths) / 20.0),
            Self::Tile(cell) => format!("{ORDER_TILE}/{cell}"),
        }
    }
}

/// A magnitude in hundredths, rounded down, as metrics keep it.
pub(crate) fn mag_hundredths(mag: f32) -> i16 {
    (f64::from(mag) * 100.0).floor() as i16
}
