"""How far chance reaches: intervals of accuracies, and of differences between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy.stats import norm

CONFIDENCE = 0.95
_QUANTILE = float(norm.ppf((1 + CONFIDENCE) / 2))  # 1.96 standard deviations


def wilson(right: int, images: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy (Wilson, 1927): what other test images might have given.

    Written out, since scipy's binomtest first sums up a p value: too slow for hundreds of runs.
    """
    share, weight = right / images, _QUANTILE**2 / images
    middle = (share + weight / 2) / (1 + weight)
    reach = math.sqrt(share * (1 - share) * weight + weight**2 / 4) / (1 + weight)
    return max(0.0, middle - reach), min(1.0, middle + reach)


def mean_and_std(accuracies: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1) over seeds; None for a single one."""
    return fmean(accuracies), stdev(accuracies) if len(accuracies) > 1 else None


def beyond_chance(
    ours: float,
    images: int,
    printed: float,
    printed_images: int,
    *,
    runs: int = 1,
    std: float | None = None,
    rounding: float = 0.0,
) -> bool:
    """Whether ours and the printed accuracy differ by more than chance allows (95 %, two-sided).

    Both are shares of test images drawn by chance, so both have a sampling error (this is the
    two-proportion z-test); several seeds of ours add the spread between trainings, which the
    printed training had too. The printed value is known to `rounding` only.
    """
    pooled = (ours * images + printed * printed_images) / (images + printed_images)
    variance = pooled * (1 - pooled) * (1 / images + 1 / printed_images)
    if std is not None:
        variance += std**2 * (1 / runs + 1)
    return abs(ours - printed) - rounding > _QUANTILE * math.sqrt(variance)
