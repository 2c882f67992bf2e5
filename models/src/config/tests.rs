//! Sizes that contradict each other, or are too large.
#![allow(clippy::unwrap_used)]

use super::Config;

/// Regression: `width * mlp_ratio` wrapped around to the size that the weights had.
#[test]
fn sizes_whose_products_would_wrap_are_refused_by_name() {
    type Change = fn(&mut Config);
    let changes: [(&str, Change); 5] = [
        ("mlp_ratio", |c| c.encoder.mlp_ratio = (1 << 58) + 4),
        ("width", |c| c.encoder.width = 3 << 60),
        ("cutout_px", |c| c.cutout_px = 1 << 40),
        ("pcm_kernel", |c| c.encoder.pcm_kernel = usize::MAX),
        ("width", |c| {
            *c = c.pretraining();
            c.decoder.as_mut().unwrap().width = 3 << 60;
        }),
    ];
    for (name, change) in changes {
        let mut config = Config::preset("astromae").unwrap();
        change(&mut config);
        let reason = config.validate().unwrap_err();
        assert!(reason.contains(&format!("`{name}` is ")), "{reason}");
    }
}
