//! Learns the matrix that makes numbers uncorrelated, with a variance of one.

use tch::{Kind, TchError, Tensor};

use super::transform::rounded;

/// Added to each variance: a hundredth of a magnitude, squared, which is below the precision of photometry. So the covariance
/// can be inverted even if a band has the same value in all rows, or the values of another band.
const VARIANCE_FLOOR: f64 = 1e-4;
/// One row of this number is left out of the covariance.
const LEFT_OUT: i64 = 100;
/// How often the rows to leave out are chosen.
const ROUNDS: usize = 2;

/// The whitening `matrix (v - mean)`.
pub(crate) struct Whitening {
    /// The mean of each number.
    pub mean: Vec<f64>,
    /// By rows: the inverse of the Cholesky factor of the covariance, so it is lower triangular.
    pub matrix: Vec<Vec<f64>>,
}

impl Whitening {
    /// Learns a whitening from `[rows, numbers]`.
    pub fn of(rows: &Tensor) -> Result<Self, TchError> {
        let rows = rows.f_to_kind(Kind::Double)?;
        let centre = rows.f_mean_dim(0, false, None)?;
        let deviations = rows.f_sub(&centre)?;
        let (count, numbers) = rows.size2()?;
        let covariance = deviations
            .f_tr()?
            .f_matmul(&deviations)?
            .f_div_scalar((count - 1).max(1) as f64)?;
        let floor = Tensor::f_eye(numbers, (Kind::Double, rows.device()))?;
        let floor = floor.f_mul_scalar(VARIANCE_FLOOR)?;
        let factor = covariance.f_add(&floor)?.f_linalg_cholesky(false)?;
        let inverse = factor.f_inverse()?;
        let (mut mean, mut matrix) = (Vec::new(), Vec::new());
        for row in 0..numbers {
            mean.push(rounded(centre.f_double_value(&[row])?));
            let below = (0..numbers).map(|column| match column <= row {
                true => Ok(rounded(inverse.f_double_value(&[row, column])?)),
                false => Ok(0.0),
            });
            matrix.push(below.collect::<Result<_, TchError>>()?);
        }
        Ok(Self { mean, matrix })
    }

    /// Learns a whitening from `[rows, numbers]`, without the hundredth of the rows that lies farthest out: one saturated
    /// cutout or one magnitude of 30 would widen the covariance so that it hides others.
    ///
    /// These are the concentration steps of Rousseeuw & van Driessen 1999 for the minimum covariance determinant.
    pub fn of_core(rows: &Tensor) -> Result<Self, TchError> {
        let rows = rows.f_to_kind(Kind::Double)?;
        let count = rows.size2()?.0;
        let mut whitening = Self::of(&rows)?;
        for _ in 0..ROUNDS {
            let by_distance = whitening
                .distances(&rows)?
                .f_argsort_stable(true, 0, false)?;
            let core = by_distance.f_narrow(0, 0, count - count / LEFT_OUT)?;
            whitening = Self::of(&rows.f_index_select(0, &core)?)?;
        }
        Ok(whitening)
    }

    /// The squared distance of each row from the mean, `[rows]`.
    fn distances(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        let numbers = self.mean.len() as i64;
        let matrix = Tensor::f_from_slice(&self.matrix.concat())?.f_view([numbers; 2])?;
        let whitened = whiten(rows, &Tensor::f_from_slice(&self.mean)?, &matrix)?;
        whitened.f_square()?.f_sum_dim_intlist(1, false, None)
    }
}

/// `matrix (v - mean)` for each of `[rows, numbers]`.
pub(crate) fn whiten(rows: &Tensor, mean: &Tensor, matrix: &Tensor) -> Result<Tensor, TchError> {
    rows.f_sub(mean)?.f_matmul(&matrix.f_tr()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(numbers: &[f64], columns: i64) -> Tensor {
        Tensor::from_slice(numbers).view([-1, columns])
    }

    proptest! {
        /// `matrix covariance matrix^T` is the identity, whatever the rows are.
        #[test]
        fn whitened_rows_have_the_identity_as_covariance(
            numbers in prop::collection::vec(-5.0..5.0_f64, 60),
        ) {
            let Whitening { mean, matrix } = Whitening::of(&rows(&numbers, 3)).unwrap();
            let whitened: Vec<Vec<f64>> = numbers.chunks_exact(3).map(|vector| {
                let of_row = |row: &Vec<f64>| (0..3).map(|k| row[k] * (vector[k] - mean[k])).sum();
                matrix.iter().map(of_row).collect()
            }).collect();
            for row in 0..3 {
                prop_assert!(matrix[row][row + 1..].iter().all(|factor| *factor == 0.0));
                for column in 0..3 {
                    let products = whitened.iter().map(|w| w[row] * w[column]);
                    let covariance = products.sum::<f64>() / 19.0;
                    let expected = if row == column { 1.0 } else { 0.0 };
                    // The floor of the variances takes a little away.
                    prop_assert!((covariance - expected).abs() < 0.01, "{row}, {column}: {covariance}");
                }
            }
        }
    }

    #[test]
    fn bands_that_are_constant_or_equal_do_not_keep_it_from_being_learned() {
        let numbers = (0..300).map(|n| f64::from(n % 17));
        let numbers: Vec<f64> = numbers.flat_map(|n| [n, n, 20.0]).collect();
        let learned = Whitening::of_core(&rows(&numbers, 3)).unwrap();
        assert!((learned.matrix[2][2] - 100.0).abs() < 1e-3);
        let factors = learned.matrix.concat();
        assert!(factors.iter().all(|factor| factor.is_finite()));
    }

    #[test]
    fn outliers_do_not_widen_the_covariance() {
        let numbers: Vec<f64> = (0..1000)
            .map(|n| match n % 200 {
                0 => 1e6,
                n => 17.0 + f64::from(n) / 100.0,
            })
            .collect();
        let Whitening { mean, matrix } = Whitening::of_core(&rows(&numbers, 1)).unwrap();
        assert!((mean[0] - 18.0).abs() < 0.1, "{mean:?}");
        assert!((1.0 / matrix[0][0] - 0.57).abs() < 0.1, "{matrix:?}");
    }
}
