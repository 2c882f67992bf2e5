"""Scores of redshifts, and photo-z of ExtraTrees on the magnitudes alone, for scale: for the scripts that need them."""

import numpy as np


def relative(z, z_spec):
    """The errors (z - z_spec) / (1 + z_spec)."""
    return (z - z_spec) / (1 + z_spec)


def sigma_nmad(dz):
    """1.4826 times the median absolute deviation of errors from their median."""
    return 1.4826 * np.median(np.abs(dz - np.median(dz)))


def beyond(dz, limit=0.05):
    """The fraction of errors beyond a limit."""
    return np.mean(np.abs(dz) > limit)


def trees(mags, z_spec):
    """ExtraTrees taught on magnitudes `[row, band]` and their colours, as a function from magnitudes to redshifts."""
    from sklearn.ensemble import ExtraTreesRegressor

    features = lambda mags: np.column_stack([mags, mags[:, :-1] - mags[:, 1:]])
    taught = ExtraTreesRegressor(200, min_samples_leaf=5, n_jobs=-1, random_state=0).fit(features(mags), z_spec)
    return lambda mags: taught.predict(features(mags))
