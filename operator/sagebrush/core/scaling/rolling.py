"""Windows that move over an array of equal steps."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def trailing_mean(values: Floats, *, steps: int) -> Floats:
    """The mean of the last *steps* values up to each, of fewer at the begin."""
    if steps <= 1:
        return values
    sums = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(ends - steps, 0)
    return np.asarray((sums[ends] - sums[begins]) / (ends - begins))


def trailing_max(values: Floats, *, steps: int) -> Floats:
    """The largest of the last *steps* values up to each."""
    return _trailing(values, steps=steps, largest=True)


def trailing_min(values: Floats, *, steps: int) -> Floats:
    """The smallest of the last *steps* values up to each."""
    return _trailing(values, steps=steps, largest=False)


def delayed(values: Floats, *, steps: int) -> Floats:
    """The values *steps* earlier; the first before there were any."""
    if steps <= 0:
        return values
    return np.concatenate((np.full(min(steps, len(values)), values[0]), values[:-steps]))


def faded(values: Floats, *, share: float) -> Floats:
    """The mean of all up to each, every step counting for *share* less than the one after it."""
    out = np.empty(len(values))
    mean = float(values[0]) if len(values) else 0.0
    for index, value in enumerate(values.tolist()):
        mean += share * (value - mean)
        out[index] = mean
    return out


def _trailing(values: Floats, *, steps: int, largest: bool) -> Floats:
    """By windows that double: a window of eight is two of four."""
    pick = np.maximum if largest else np.minimum
    out = values.copy()
    done = 1
    while done < steps:
        shift = min(done, steps - done)
        out[shift:] = pick(out[shift:], out[:-shift])
        done += shift
    return out
