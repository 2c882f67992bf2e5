//! How rows are read and judged.
use clap::Args;
use hubbleflow::RowSettings;

/// The bands of files that no model asks for.
#[derive(Args, Clone, Debug)]
pub struct BandArgs {
    /// The bands of cutouts and magnitudes, in the order of the cutouts
    #[arg(
        long,
        value_name = "BAND,BAND",
        value_delimiter = ',',
        default_value = "u,g,r,i,z"
    )]
    pub bands: Vec<String>,
}

/// Arguments of every command that reads galaxies.
#[derive(Args, Clone, Debug)]
pub struct RowArgs {
    /// Read a column under another name, as cutout=image (may be given several times)
    #[arg(long, value_name = "NAME=NAME")]
    pub column: Vec<String>,
    /// The bands that the catalog's cutouts hold, in their order, as g,r,i,z [default: the model's]
    #[arg(long, value_name = "BAND,BAND", value_delimiter = ',')]
    pub bands: Vec<String>,
    /// Make magnitudes of flux_<band> where a file has no mag_<band>: the magnitude of a flux of 1, 22.5 for nanomaggies, 31.4
    /// for nJy. Corrected by mw_transmission_<band> where the file has it
    #[arg(long, value_name = "MAG", allow_negative_numbers = true)]
    pub flux_zero_point: Option<f64>,
    /// Magnitudes at or below this mean "not measured"
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    pub mag_min: f32,
    /// Magnitudes at or above this mean "not measured"
    #[arg(long, default_value_t = 40.0)]
    pub mag_max: f32,
    /// A z_spec below this is ignored; so is exactly 0
    #[arg(long, default_value_t = -0.01, allow_negative_numbers = true)]
    pub z_spec_min: f32,
    /// A z_spec above this is ignored: many tables write 99 or 9999 for a missing redshift
    #[arg(long, default_value_t = 10.0)]
    pub z_spec_max: f32,
}

impl RowArgs {
    pub(crate) fn settings(&self) -> RowSettings {
        RowSettings {
            columns: self.column.clone(),
            bands: self.bands.clone(),
            flux_zero_point: self.flux_zero_point,
            mag_min: self.mag_min,
            mag_max: self.mag_max,
            z_spec_min: self.z_spec_min,
            z_spec_max: self.z_spec_max,
        }
    }
}
