//! Galaxy profiles as mixtures of Gaussians, whose convolution and projection are exact (Hogg and Lang 2013).
//!
//! | mixture | Sérsic n | fitted to | largest error of the profile |
//! |---|---|---|---|
//! | [`EXPONENTIAL`] | 1 | 0.02 < r < 5 half-light radii | 1% |
//! | [`DE_VAUCOULEURS`] | 4 | 0.02 < r < 8 half-light radii | 3% |
//!
//! Each mixture was fitted by least squares to the profile, to its growth curve out to 40 half-light radii, to a total of 1
//! and to half of the light within radius 1.

/// A round Gaussian of a mixture. The mixture has a total of 1 and a half-light radius of 1.
#[derive(Debug, Clone, Copy)]
pub struct Component {
    /// Share of the total light.
    pub weight: f64,
    /// Standard deviation in half-light radii.
    pub sigma: f64,
}

const fn component(weight: f64, sigma: f64) -> Component {
    Component { weight, sigma }
}

/// A Gaussian, in units of its standard deviation.
pub const GAUSSIAN: [Component; 1] = [component(1.0, 1.0)];

/// An exponential disk.
pub const EXPONENTIAL: [Component; 8] = [
    component(0.000117004, 0.0290191),
    component(0.00207743, 0.0845345),
    component(0.017207, 0.189444),
    component(0.0793211, 0.355039),
    component(0.223707, 0.592186),
    component(0.355384, 0.912474),
    component(0.265595, 1.33275),
    component(0.0565916, 1.91387),
];

/// A de Vaucouleurs bulge.
pub const DE_VAUCOULEURS: [Component; 10] = [
    component(0.00262915, 0.00761504),
    component(0.00983831, 0.0219394),
    component(0.0291422, 0.0526446),
    component(0.0670376, 0.117039),
    component(0.120178, 0.244422),
    component(0.170758, 0.484925),
    component(0.197929, 0.929998),
    component(0.187461, 1.7654),
    component(0.150423, 3.55456),
    component(0.0646034, 9.39165),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    fn brightness(mixture: &[Component], radius: f64) -> f64 {
        mixture
            .iter()
            .map(|c| {
                let variance = c.sigma * c.sigma;
                c.weight / (TAU * variance) * (-radius * radius / (2.0 * variance)).exp()
            })
            .sum()
    }

    fn light_within(mixture: &[Component], radius: f64) -> f64 {
        mixture
            .iter()
            .map(|c| c.weight * (1.0 - (-(radius / c.sigma).powi(2) / 2.0).exp()))
            .sum()
    }

    /// The Sérsic profile of total one; `gamma_2n` is the gamma function at 2n.
    fn sersic(n: f64, b: f64, gamma_2n: f64, radius: f64) -> f64 {
        let total = TAU * n * b.powf(-2.0 * n) * gamma_2n;
        (-b * radius.powf(1.0 / n)).exp() / total
    }

    #[test]
    fn the_disk_is_exponential() {
        for step in 1..=100 {
            let radius = 0.05 * f64::from(step);
            let ratio = brightness(&EXPONENTIAL, radius) / sersic(1.0, 1.678_346_99, 1.0, radius);
            assert!((ratio - 1.0).abs() < 0.01, "{ratio} at {radius}");
        }
    }

    #[test]
    fn the_bulge_follows_de_vaucouleurs() {
        for step in 1..=160 {
            let radius = 0.05 * f64::from(step);
            let ratio =
                brightness(&DE_VAUCOULEURS, radius) / sersic(4.0, 7.669_249_44, 5040.0, radius);
            assert!((ratio - 1.0).abs() < 0.03, "{ratio} at {radius}");
        }
    }

    #[test]
    fn half_of_the_light_is_within_the_half_light_radius() {
        for mixture in [&EXPONENTIAL[..], &DE_VAUCOULEURS[..]] {
            assert!(mixture.is_sorted_by_key(|c| c.sigma), "from narrow to wide");
            let total: f64 = mixture.iter().map(|c| c.weight).sum();
            assert!((total - 1.0).abs() < 1e-5, "total {total}");
            let half = light_within(mixture, 1.0);
            assert!((half - 0.5).abs() < 1e-3, "half {half}");
        }
    }
}
