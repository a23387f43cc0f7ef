"""How a net's TEST phase makes its input of an image's pixels: the one place that reads it.

Follows data_transformer.cpp: (pixel - mean) * scale in float32, the mean at the crop's own window,
the crop from the centre.
"""

import caffe
import data_layers
import images
import numpy
import prototxts
from errors import WorkerError

# Weights of blue, green and red in 2^15 parts, as libpng makes grey of a colour PNG for OpenCV. It
# does not round. (A JPEG's grey is its own luma channel, which its colours give to within 1.)
GRAY = (3737, 19234, 9797)


# The layers that transform what they read by their transform_param.
TRANSFORMING = (*data_layers.READERS, "MemoryData", "WindowData")


class Transformation:
    """`mean` (channels, height, width; or 1 x 1 for a value per channel), `scale`, `where` from.

    `crop` is height and width of the centre that is taken, None where a net says none.
    """

    def __init__(self, mean, where, scale=1.0, crop=None):
        self.mean = mean
        self.where = where
        self.scale = numpy.float32(scale)
        self.crop = crop

    def apply(self, pixels, channels, size):
        """What the net sees: float32 (n, channels, *size) of uint8 BGR (n, 3, height, width).

        Raises WorkerError when the sizes do not fit.
        """
        if channels == 1 and pixels.shape[1] == 3:
            pixels = gray(pixels)
        if pixels.shape[1] != channels:
            raise WorkerError(
                "the deploy net takes {} channels, the images have {}".format(
                    channels, pixels.shape[1]
                )
            )
        wanted = self.crop or tuple(size)
        if tuple(wanted) != tuple(size):
            raise WorkerError(
                "{} crops images to {} x {} in TEST, but the deploy net takes {} x {}: give them "
                "one size".format(self.where, wanted[0], wanted[1], size[0], size[1])
            )
        values = images.prepare(pixels, self.mean, wanted, self.where)
        return values if self.scale == 1 else values * self.scale


def gray(pixels):
    """Uint8 BGR (n, 3, height, width) as grey (n, 1, height, width)."""
    blue, green, red = (pixels[:, index].astype(numpy.uint32) for index in range(3))
    total = GRAY[0] * blue + GRAY[1] * green + GRAY[2] * red
    return (total >> 15).astype(numpy.uint8)[:, None]


def of_mean(path):
    """The transformation that only subtracts a mean."""
    return Transformation(images.read_mean(path), path)


def of_net(path, size, mean):
    """The transformation in the TEST phase of the net in `path`, for images of `size`.

    `mean`: the mean for a net without a layer that transforms images (its input is fed by hand).
    Raises WorkerError for what Caffe would refuse.
    """
    net = prototxts.read_net(path)
    layers = data_layers.sources(prototxts.in_phase(net, caffe.TEST))
    readers = [layer for layer in layers if layer.type in TRANSFORMING]
    if not readers:
        return of_mean(mean)
    param = readers[0].transform_param
    if param.mean_file and param.mean_value:
        raise WorkerError("{}: mean_file and mean_value at once".format(path))
    if param.mean_file:
        values, where = images.read_mean(param.mean_file), param.mean_file
    else:
        values = numpy.array(list(param.mean_value) or [0], numpy.float32).reshape(-1, 1, 1)
        where = path
    crop = (param.crop_size, param.crop_size) if param.crop_size else tuple(size)
    return Transformation(values, where, param.scale, crop)
