//! The mean of vectors, and the matrix that makes deviations from it uncorrelated, of variance one.

use crate::preprocess::rounded;

/// Added to each variance: a hundredth of a magnitude, squared, which is below the precision of photometry. So a band that
/// has one value in all rows, or that of another band, does not keep the covariance from being inverted.
const VARIANCE_FLOOR: f64 = 1e-4;
/// One row of this number is left out of the covariance.
const LEFT_OUT: usize = 100;
/// How often the rows to leave out are chosen.
const ROUNDS: usize = 2;

/// The whitening `matrix (v - mean)`.
pub(super) struct Whitening {
    pub mean: Vec<f64>,
    /// By rows; lower triangular.
    pub matrix: Vec<Vec<f64>>,
}

impl Whitening {
    /// Learns a whitening from vectors, without the hundredth of them that lies farthest out: one saturated cutout or one
    /// magnitude of 30 would widen the covariance so that it hides others. `None` if a covariance is not finite.
    ///
    /// These are the concentration steps of Rousseeuw & van Driessen 1999 for the minimum covariance determinant.
    pub fn learn(vectors: &[&[f64]]) -> Option<Self> {
        let mut whitening = Self::of(vectors)?;
        for _ in 0..ROUNDS {
            let core = whitening.nearest(vectors, vectors.len() - vectors.len() / LEFT_OUT);
            whitening = Self::of(&core)?;
        }
        Some(whitening)
    }

    /// The whitening of all these vectors.
    fn of(vectors: &[&[f64]]) -> Option<Self> {
        let size = vectors.first()?.len();
        let rows = vectors.len() as f64;
        let mut mean = vec![0.0; size];
        for vector in vectors {
            mean.iter_mut().zip(*vector).for_each(|(m, v)| *m += v);
        }
        mean.iter_mut().for_each(|m| *m = rounded(*m / rows));
        let mut covariance = vec![vec![0.0; size]; size];
        for vector in vectors {
            let deviations: Vec<f64> = vector.iter().zip(&mean).map(|(v, m)| v - m).collect();
            for (row, of_row) in covariance.iter_mut().enumerate() {
                for (column, sum) in of_row.iter_mut().enumerate().take(row + 1) {
                    *sum += deviations[row] * deviations[column];
                }
            }
        }
        for (row, of_row) in covariance.iter_mut().enumerate() {
            of_row
                .iter_mut()
                .for_each(|sum| *sum /= (rows - 1.0).max(1.0));
            of_row[row] += VARIANCE_FLOOR;
        }
        let matrix = inverse(&cholesky(&covariance)?);
        let matrix = matrix
            .into_iter()
            .map(|row| row.into_iter().map(rounded).collect());
        Some(Self {
            mean,
            matrix: matrix.collect(),
        })
    }

    /// The `count` vectors nearest to the mean, in their order. Of two that are as near, the first counts.
    fn nearest<'a>(&self, vectors: &[&'a [f64]], count: usize) -> Vec<&'a [f64]> {
        let distance = |vector: &[f64]| -> f64 {
            let of_row = |(row, factors): (usize, &Vec<f64>)| {
                let below = factors
                    .iter()
                    .zip(vector.iter().zip(&self.mean))
                    .take(row + 1);
                let whitened: f64 = below.map(|(factor, (v, m))| factor * (v - m)).sum();
                whitened * whitened
            };
            self.matrix.iter().enumerate().map(of_row).sum()
        };
        let distances: Vec<f64> = vectors.iter().map(|vector| distance(vector)).collect();
        let mut places: Vec<usize> = (0..vectors.len()).collect();
        places.sort_by(|&a, &b| distances[a].total_cmp(&distances[b]));
        places.truncate(count);
        places.sort_unstable();
        places.into_iter().map(|place| vectors[place]).collect()
    }
}

/// The lower Cholesky factor of a symmetric matrix, of which the lower triangle is read; `None` if the matrix is not positive
/// definite.
fn cholesky(of: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let size = of.len();
    let mut factor = vec![vec![0.0; size]; size];
    for row in 0..size {
        for column in 0..=row {
            let known = (0..column).map(|k| factor[row][k] * factor[column][k]);
            let left = of[row][column] - known.sum::<f64>();
            factor[row][column] = match row == column {
                false => left / factor[column][column],
                true if left > 0.0 && left.is_finite() => left.sqrt(),
                true => return None,
            };
        }
    }
    Some(factor)
}

/// The inverse of a lower triangular matrix.
fn inverse(of: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let size = of.len();
    let mut inverse = vec![vec![0.0; size]; size];
    for column in 0..size {
        inverse[column][column] = 1.0 / of[column][column];
        for row in column + 1..size {
            let known = (column..row).map(|k| of[row][k] * inverse[k][column]);
            inverse[row][column] = -known.sum::<f64>() / of[row][row];
        }
    }
    inverse
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// `matrix covariance matrix^T` is the identity, whatever the vectors are.
        #[test]
        fn whitened_vectors_have_the_identity_as_covariance(
            numbers in prop::collection::vec(-5.0..5.0_f64, 60),
        ) {
            let vectors: Vec<&[f64]> = numbers.chunks_exact(3).collect();
            let Whitening { mean, matrix } = Whitening::of(&vectors).unwrap();
            let whitened: Vec<Vec<f64>> = vectors.iter().map(|vector| {
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
        let numbers: Vec<f64> = (0..300).map(|n| f64::from(n % 17)).collect();
        let vectors: Vec<Vec<f64>> = numbers.iter().map(|&n| vec![n, n, 20.0]).collect();
        let vectors: Vec<&[f64]> = vectors.iter().map(Vec::as_slice).collect();
        let learned = Whitening::learn(&vectors).unwrap();
        assert!((learned.matrix[2][2] - 100.0).abs() < 1e-3);
        assert!(
            learned
                .matrix
                .concat()
                .iter()
                .all(|factor| factor.is_finite())
        );
        let (nan, infinite) = ([f64::NAN; 3], [f64::INFINITY; 3]);
        assert!(Whitening::learn(&[&nan, &infinite]).is_none());
        assert!(Whitening::learn(&[]).is_none());
    }

    #[test]
    fn outliers_do_not_widen_the_covariance() {
        let vectors: Vec<[f64; 1]> = (0..1000)
            .map(|n| match n % 200 {
                0 => [1e6],
                n => [17.0 + f64::from(n) / 100.0],
            })
            .collect();
        let vectors: Vec<&[f64]> = vectors.iter().map(|vector| &vector[..]).collect();
        let Whitening { mean, matrix } = Whitening::learn(&vectors).unwrap();
        assert!((mean[0] - 18.0).abs() < 0.1, "{mean:?}");
        assert!((1.0 / matrix[0][0] - 0.57).abs() < 0.1, "{matrix:?}");
    }
}
