//! Cutouts: images of galaxies in several bands, read in place from each accepted form.

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::SchemaError;
use super::band_names::find_bands;
use super::cutout_fault::CutoutFault;
use super::lists::{Lists, Pixels};
use super::pixels::Cutout;
use super::request::{CutoutRequest, bands_of};

/// Upper bound on the absolute value of a pixel, in nanomaggies: an AB magnitude of -2.5.
///
/// Sirius has -1.5 (4e9 nanomaggies), and no star of the night sky is brighter. So no pixel of a survey's calibrated
/// image holds more light than this, and a larger value is a mark for "no data" (1e20, 1e30, the largest float32).
pub const FLUX_MAX_NMGY: f32 = 1e10;

/// The cutouts of a batch, one for each row. They are not copied out of Arrow's memory.
///
/// With the `n` bands of the catalog (`--bands`):
///
/// | form in the file | bands |
/// |---|---|
/// | `FixedSizeList<Float32, n*s*s>`, also as `arrow.fixed_shape_tensor` of shape `[n, s, s]` | the catalog's |
/// | `FixedSizeBinary(n*s*s*4)`, little-endian float32 | the catalog's |
/// | `List<Float32>` of `n*s*s` | the catalog's |
/// | lists of lists of lists, `[band][y][x]` | the catalog's |
/// | Multimodal Universe's `Struct<flux: List<[y][x]>, band: List<Utf8>, …>`, or `List<Struct<flux, band, …>>` | by name |
///
/// A list is a `List`, a `LargeList` or a `FixedSizeList`, at each level. Named bands are matched by the last part of the
/// name (`u`, `sdss-u`, `DES_U`). Bands that the model does not use are ignored.
#[derive(Clone, Debug)]
pub struct Cutouts {
    rows: usize,
    request: CutoutRequest,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    Binary(FixedSizeBinaryArray),
    Flat {
        rows: Lists,
        pixels: Pixels,
    },
    Nested {
        rows: Lists,
        images: Images,
    },
    Named {
        rows: Lists,
        images: Images,
        name_rows: Lists,
        names: StringArray,
    },
}

impl Cutouts {
    /// Takes the cutouts in `array`. Each cutout must have the bands of the request and at least its side.
    ///
    /// # Errors
    /// If the type, or a size fixed by the type, cannot hold such cutouts. This depends only on the type, so it can be checked
    /// with an empty array.
    pub(super) fn open(
        column: &str,
        array: &ArrayRef,
        request: &CutoutRequest,
    ) -> Result<Cutouts, SchemaError> {
        let refused = || refusal(column, array.data_type(), request);
        let form = match array.data_type() {
            DataType::FixedSizeBinary(_) => Form::Binary(array.as_fixed_size_binary().clone()),
            DataType::Struct(_) => named_lists(array.as_struct()).ok_or_else(refused)?,
            _ => list_form(array).ok_or_else(refused)?,
        };
        if !form.can_hold(request) {
            return Err(refused());
        }
        Ok(Cutouts {
            rows: array.len(),
            request: request.clone(),
            form,
        })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The cutout of a row.
    ///
    /// # Errors
    /// [`CutoutFault`] if the row has no cutout of these bands with at least the side asked for.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn get(&self, row: usize) -> Result<Cutout<'_>, CutoutFault> {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        match &self.form {
            Form::Binary(array) if array.is_null(row) => Err(CutoutFault::Null),
            Form::Binary(array) => self.stacked(array.value(row)),
            Form::Flat { rows, pixels } => {
                let values = rows.elements(row).ok_or(CutoutFault::Null)?;
                self.stacked(pixels.get(values).ok_or(CutoutFault::NullPixel)?)
            }
            Form::Nested { rows, images } => {
                let bands = rows.elements(row).ok_or(CutoutFault::Null)?;
                if bands.len() != self.request.catalog_bands().len() {
                    return Err(self.shape(bands_of(bands.len())));
                }
                let planes = self.request.planes().iter();
                self.gathered(images, planes.map(|plane| bands.start + plane))
            }
            Form::Named {
                rows,
                images,
                name_rows,
                names,
            } => {
                let (entries, named) = (rows.elements(row), name_rows.elements(row));
                let (entries, named) = entries.zip(named).ok_or(CutoutFault::Null)?;
                if entries.len() != named.len() {
                    let (images, names) = (entries.len(), named.len());
                    return Err(self.shape(format!("{images} images and {names} band names")));
                }
                let names = names.slice(named.start, named.len());
                let places = find_bands(&names, self.request.bands())?;
                let places = places.into_iter();
                self.gathered(images, places.map(|place| entries.start + place))
            }
        }
    }

    /// Makes a cutout from one buffer, `[band, y, x]`.
    fn stacked<'a>(&self, bytes: &'a [u8]) -> Result<Cutout<'a>, CutoutFault> {
        let (values, bands) = (bytes.len() / 4, self.request.catalog_bands().len());
        let side_px = match side_of(values, bands) {
            Some(side_px) if side_px >= self.request.px => side_px,
            Some(side_px) => {
                let bands = bands_of(bands);
                return Err(self.shape(format!("{bands} of {side_px}x{side_px} pixels")));
            }
            None => return Err(self.shape(format!("{values} values"))),
        };
        let band_bytes = 4 * side_px * side_px;
        let plane = |band: &usize| &bytes[band * band_bytes..(band + 1) * band_bytes];
        let planes = self.request.planes().iter().map(plane).collect();
        Ok(Cutout { planes, side_px })
    }

    /// Makes a cutout from one image for each of the model's bands.
    fn gathered<'a>(
        &self,
        images: &'a Images,
        places: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Cutout<'a>, CutoutFault> {
        let (mut planes, mut side_px) = (Vec::with_capacity(places.len()), None);
        for place in places {
            let (plane, [height, width]) = images.get(place).map_err(|fault| match fault {
                ImageFault::NullPixel => CutoutFault::NullPixel,
                ImageFault::Ragged => self.shape("a band with lines of unequal length".to_owned()),
            })?;
            if height != width || height < self.request.px {
                return Err(self.shape(format!("a band of {height}x{width} pixels")));
            }
            let first_px = *side_px.get_or_insert(height);
            if height != first_px {
                let found = format!("bands of {first_px} and {height} pixels a side");
                return Err(self.shape(found));
            }
            planes.push(plane);
        }
        let side_px = side_px.unwrap_or_default();
        Ok(Cutout { planes, side_px })
    }

    fn shape(&self, found: String) -> CutoutFault {
        CutoutFault::Shape {
            found,
            expected: self.request.size(),
        }
    }
}

/// Two-dimensional images, `[y][x]`.
#[derive(Clone, Debug)]
struct Images {
    lines: Lists,
    places: Lists,
    pixels: Pixels,
}

enum ImageFault {
    NullPixel,
    Ragged,
}

impl Images {
    fn open(array: &dyn Array) -> Option<Images> {
        let (lines, elements) = Lists::open(array)?;
        let (places, elements) = Lists::open(&elements)?;
        Some(Images {
            lines,
            places,
            pixels: Pixels::open(&elements)?,
        })
    }

    fn and_nulls(self, nulls: Option<&NullBuffer>) -> Images {
        Images {
            lines: self.lines.and_nulls(nulls),
            ..self
        }
    }

    /// The pixels, the height and the width of an image.
    fn get(&self, image: usize) -> Result<(&[u8], [usize; 2]), ImageFault> {
        let lines = self.lines.elements(image).ok_or(ImageFault::NullPixel)?;
        let Some(first) = lines.clone().next() else {
            return Ok((&[], [0, 0]));
        };
        let places = self.places.elements(first).ok_or(ImageFault::NullPixel)?;
        let (height, width) = (lines.len(), places.len());
        for line in lines {
            match self.places.elements(line) {
                None => return Err(ImageFault::NullPixel),
                Some(places) if places.len() != width => return Err(ImageFault::Ragged),
                Some(_) => {}
            }
        }
        let pixels = self.pixels.get(places.start..places.start + height * width);
        Ok((pixels.ok_or(ImageFault::NullPixel)?, [height, width]))
    }
}

impl Form {
    /// Whether the sizes that the type fixes have room for the catalog's bands, as large as the model's.
    fn can_hold(&self, request: &CutoutRequest) -> bool {
        let (px_min, count) = (request.px, request.catalog_bands().len());
        let images_can = |images: &Images| {
            let (height, width) = (images.lines.fixed_length(), images.places.fixed_length());
            let square = height
                .zip(width)
                .is_none_or(|(height, width)| height == width);
            square
                && height
                    .min(width.or(height))
                    .or(width)
                    .is_none_or(|px| px >= px_min)
        };
        let enough = |values: usize| side_of(values, count).is_some_and(|px| px >= px_min);
        match self {
            Form::Binary(array) => {
                let bytes = array.value_size();
                bytes.is_multiple_of(4) && enough(bytes / 4)
            }
            Form::Flat { rows, .. } => rows.fixed_length().is_none_or(enough),
            Form::Nested { rows, images } => {
                rows.fixed_length().is_none_or(|bands| bands == count) && images_can(images)
            }
            Form::Named { rows, images, .. } => {
                let wanted = request.bands().len();
                rows.fixed_length().is_none_or(|bands| bands >= wanted) && images_can(images)
            }
        }
    }
}

/// Opens cutouts that are lists: flat, nested, or of structs. Returns `None` for other types.
fn list_form(array: &dyn Array) -> Option<Form> {
    let (rows, elements) = Lists::open(array)?;
    if let Some(pixels) = Pixels::open(&elements) {
        return Some(Form::Flat { rows, pixels });
    }
    if let Some(entries) = elements.as_struct_opt() {
        let images = Images::open(entries.column_by_name("flux")?)?.and_nulls(entries.nulls());
        let names = strings(entries.column_by_name("band")?)?;
        return Some(Form::Named {
            name_rows: rows.clone(),
            rows,
            images,
            names,
        });
    }
    Images::open(&elements).map(|images| Form::Nested { rows, images })
}

/// Opens cutouts that are a struct of lists.
fn named_lists(array: &StructArray) -> Option<Form> {
    let (rows, images) = Lists::open(array.column_by_name("flux")?)?;
    let (name_rows, names) = Lists::open(array.column_by_name("band")?)?;
    let (rows, images) = (rows.and_nulls(array.nulls()), Images::open(&images)?);
    Some(Form::Named {
        rows,
        images,
        name_rows,
        names: strings(&names)?,
    })
}

/// Copies the names of bands, which are few bytes beside the pixels.
fn strings(array: &ArrayRef) -> Option<StringArray> {
    let is_text = |data_type: &DataType| {
        matches!(
            data_type,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        )
    };
    let text = match array.data_type() {
        DataType::Dictionary(_, values) => is_text(values),
        data_type => is_text(data_type),
    };
    text.then(|| cast(array, &DataType::Utf8).ok())?
        .map(|array| array.as_string().clone())
}

/// The side of a cutout of this number of bands and values, or `None` if no cutout has this number of values.
fn side_of(values: usize, bands: usize) -> Option<usize> {
    let side_px = (values / bands).isqrt();
    (bands * side_px * side_px == values).then_some(side_px)
}

/// Says what is wrong with a type, and which types are accepted.
fn refusal(column: &str, data_type: &DataType, request: &CutoutRequest) -> SchemaError {
    let mut leaf = data_type;
    while let DataType::List(field)
    | DataType::LargeList(field)
    | DataType::FixedSizeList(field, _) = leaf
    {
        leaf = field.data_type();
    }
    let (size, bands) = (request.size(), request.catalog_bands());
    let expected = match leaf {
        DataType::ListView(_) | DataType::LargeListView(_) => {
            "a List, LargeList or FixedSizeList: views are not read, so cast it when the file is written".to_owned()
        }
        DataType::Float32 | DataType::FixedSizeBinary(_) => format!(
            "{size} in a flat list or a fixed-size binary ({n}*s*s float32), or in nested lists [band][y][x]. {}",
            advice(bands),
            n = bands.len(),
        ),
        DataType::Struct(_) => format!(
            "a struct of `flux` (images of float32, [y][x]) and `band` (their names) as the Multimodal Universe has it, with bands {} of {px}x{px} pixels or more",
            request.bands().join(", "),
            px = request.px,
        ),
        leaf if leaf.is_numeric() => {
            "of float32: cast the pixels, in nanomaggies, when the file is written".to_owned()
        }
        _ => format!("{size}, as lists of float32 or a fixed-size binary"),
    };
    SchemaError::Type {
        column: column.to_owned(),
        found: data_type.to_string(),
        expected,
    }
}

/// Says which bands cutouts are taken to hold, and what to do if they hold others.
pub(super) fn advice(bands: &[String]) -> String {
    let bands = bands.join(",");
    format!(
        "The bands are taken to be {bands}; if the cutouts hold others, name all of them in their order with --bands, as --bands {bands}"
    )
}
