"""Confidence intervals by bootstrap over independent items: the clips of a test set."""

import numpy as np


def interval(
    totals: np.ndarray, counts: np.ndarray | None = None, resamples: int = 2000
) -> tuple[float, float]:
    """The 95 % bootstrap confidence interval of sum(totals) / sum(counts).

    Items are drawn with replacement, each with all it counts for, so that the frames of a clip,
    which are alike, don't pass for independent. The same input gives the same interval.

    Args:
        totals, counts: (N,), a sum and how many values it is of for each item; without counts each
            total is one value.

    Returns:
        (low, high); both NaN if nothing is counted.
    """
    totals = np.asarray(totals, 'float64')
    counts = np.ones_like(totals) if counts is None else np.asarray(counts, 'float64')
    choice = np.random.default_rng(0).integers(len(totals), size=(resamples, len(totals)))
    sums, sizes = totals[choice].sum(axis=1), counts[choice].sum(axis=1)
    some = sizes > 0  # a resample may hold no item that counts for anything
    if not some.any():
        return float('nan'), float('nan')
    low, high = np.percentile(sums[some] / sizes[some], [2.5, 97.5])
    return float(low), float(high)


def half_width(values: np.ndarray) -> float:
    """Half of the 95 % confidence interval of the mean of (N,) values."""
    low, high = interval(values)
    return (high - low) / 2
