"""How far chance reaches: intervals of accuracies, and of differences between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy.stats import binomtest, norm

CONFIDENCE = 0.95


def wilson(right: int, images: int) -> tuple[float, float]:
    """The 95 % Wilson interval of an accuracy: what other test images might have given."""
    interval = binomtest(right, images).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


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
    reach = float(norm.ppf((1 + CONFIDENCE) / 2)) * math.sqrt(variance)
    return abs(ours - printed) - rounding > reach
