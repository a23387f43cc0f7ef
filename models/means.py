"""The mean of an init, as training needs it: an image of 3 x 256 x 256, whatever it came as.

Caffe's Data layer subtracts `mean_file` at the crop's own window, in training and in testing
(data_transformer.cpp), and wants it as large as the images in the LMDB. A mean of one number a
channel gives the same differences as an image of it, so that one form serves all.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lib.errors import UserError
from prototxt.caffenet import IMAGE_SIZE

Mean = NDArray[np.float32]  # channels (B, G, R) x height x width, 0 to 255

SHAPE = (3, IMAGE_SIZE, IMAGE_SIZE)


def full_mean(mean: Mean, path: Path) -> Mean:
    """The mean as an image, 3 x 256 x 256; three numbers become a plain one.

    Raises UserError naming `path`, where it came from, for any other shape and for values that
    are no pixels.
    """
    if mean.shape not in (SHAPE, (3, 1, 1)):
        raise UserError(
            f"the mean {path} is {' x '.join(map(str, mean.shape))}; Caffe subtracts it before "
            f"cropping, so it must be {' x '.join(map(str, SHAPE))}, or one number a channel"
        )
    low, high = float(mean.min()), float(mean.max())
    if low < 0 or high > 255 or high <= 1:
        raise UserError(
            f"the mean {path} has values from {low:g} to {high:g}; Caffe's images have 0 to 255"
        )
    return np.ascontiguousarray(np.broadcast_to(mean, SHAPE))
