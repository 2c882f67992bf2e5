//! Robust statistics of the scaled error `dz = (z_phot - z_spec) / (1 + z_spec)`.
//!
//! | function | definition |
//! |---|---|
//! | [`median`] | the middle value, or the mean of the two middle values (as numpy interpolates) |
//! | [`sigma_nmad`] | `1.4826 median \|dz - median dz\|` |

/// The standard deviation of a normal distribution, in units of its median absolute deviation.
const SIGMA_OF_MAD: f64 = 1.4826;

/// The median. Of an even number of values it is the mean of the two middle values, as in numpy.
///
/// Returns `None` if there are no values, and NaN if one of them is NaN.
///
/// ```
/// use hubbleflow_models::statistics::median;
/// assert_eq!(median(&[0.4, 0.1, 0.2]), Some(0.2));
/// assert_eq!(median(&[4.0f32, 1.0, 2.0, 3.0]), Some(2.5));
/// assert_eq!(median::<f64>(&[]), None);
/// ```
pub fn median<T: Copy + Into<f64>>(values: &[T]) -> Option<f64> {
    median_of(values.iter().map(|&value| value.into()).collect())
}

/// The normalised median absolute deviation, `1.4826 median |dz - median dz|`, with interpolated medians.
///
/// For normally distributed errors it is their standard deviation, but outliers hardly change it. The definition is that
/// of Brammer, van Dokkum & Coppi 2008 ([arXiv:0807.1533], section 4.1) with dz for `Δz / (1 + z_spec)`, after Hoaglin,
/// Mosteller & Tukey 1983.
///
/// Returns `None` if there are no values, and NaN if one of them is NaN.
///
/// ```
/// use hubbleflow_models::statistics::sigma_nmad;
/// // The median is 0.01. The distances from it are 0, 0.01, 0.01 and 0.49.
/// assert_eq!(sigma_nmad(&[0.0, 0.01, 0.01, 0.5]), Some(1.4826 * 0.005));
/// ```
///
/// [arXiv:0807.1533]: https://arxiv.org/abs/0807.1533
pub fn sigma_nmad<T: Copy + Into<f64>>(dz: &[T]) -> Option<f64> {
    let centre = median(dz)?;
    let distances = dz.iter().map(|&dz| (dz.into() - centre).abs());
    Some(SIGMA_OF_MAD * median_of(distances.collect())?)
}

fn median_of(mut values: Vec<f64>) -> Option<f64> {
    if values.iter().any(|value| value.is_nan()) {
        return Some(f64::NAN);
    }
    let (middle, is_even) = (values.len() / 2, values.len().is_multiple_of(2));
    if values.is_empty() {
        return None;
    }
    let (below, &mut upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    if !is_even {
        return Some(upper);
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(0.5 * (lower + upper))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `np.percentile(values, 50)`, by its definition.
    fn by_sorting(values: &[f64]) -> f64 {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let place = (sorted.len() - 1) as f64 / 2.0;
        let (low, high) = (
            sorted[place.floor() as usize],
            sorted[place.ceil() as usize],
        );
        0.5 * (low + high)
    }

    proptest! {
        #[test]
        fn the_median_is_the_interpolated_percentile(
            values in prop::collection::vec(-1e3f64..1e3, 1..50),
        ) {
            prop_assert_eq!(median(&values), Some(by_sorting(&values)));
        }

        #[test]
        fn sigma_nmad_ignores_order_and_a_shift_and_follows_a_scale(
            mut dz in prop::collection::vec(-0.5f64..0.5, 1..50),
            shift in -1.0f64..1.0,
            scale in -4.0f64..4.0,
        ) {
            let sigma = sigma_nmad(&dz).unwrap_or(f64::NAN);
            let moved: Vec<f64> = dz.iter().map(|dz| scale * dz + shift).collect();
            let moved = sigma_nmad(&moved).unwrap_or(f64::NAN);
            prop_assert!((moved - scale.abs() * sigma).abs() < 1e-12, "{} from {}", moved, sigma);
            dz.reverse();
            prop_assert_eq!(sigma_nmad(&dz), Some(sigma));
        }

        #[test]
        fn float32_and_float64_agree(dz in prop::collection::vec(-0.5f32..0.5, 1..50)) {
            let wide: Vec<f64> = dz.iter().map(|&dz| f64::from(dz)).collect();
            prop_assert_eq!(sigma_nmad(&dz), sigma_nmad(&wide));
        }

        #[test]
        fn one_outlier_among_three_equal_values_changes_nothing(
            dz in -0.5f64..0.5, outlier in -1e6f64..1e6,
        ) {
            prop_assert_eq!(sigma_nmad(&[dz, outlier, dz]), Some(0.0));
        }
    }

    #[test]
    fn a_nan_is_not_hidden() {
        assert!(sigma_nmad(&[0.1, f64::NAN, 0.2]).is_some_and(f64::is_nan));
        assert_eq!(sigma_nmad::<f32>(&[]), None);
    }
}
