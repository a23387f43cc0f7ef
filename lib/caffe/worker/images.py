"""Feeding images to a deploy net: mean subtracted, centre crop, as Caffe's Data layer in TEST."""

import io

import numpy
from caffe.proto import caffe_pb2
from errors import WorkerError


def read_mean(path):
    """The mean in a .binaryproto or .npy file, float32 (channels, height, width).

    One value per channel has height and width 1. Channels are 3, or 1 for grey images.

    Raises WorkerError when it holds anything else.
    """
    try:
        if path.endswith(".npy"):
            mean = numpy.load(path, allow_pickle=False)
        else:
            blob = caffe_pb2.BlobProto()
            with io.open(path, "rb") as handle:
                blob.ParseFromString(handle.read())
            shape = list(blob.shape.dim) or [blob.num, blob.channels, blob.height, blob.width]
            mean = numpy.array(blob.data, numpy.float32).reshape(shape)
    except Exception as error:  # protobuf's own error has no public name in old versions
        raise WorkerError("{} is no mean file that can be read: {}".format(path, error)) from None
    if mean.ndim == 1:
        mean = mean.reshape(-1, 1, 1)
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim != 3 or mean.shape[0] not in (1, 3):
        raise WorkerError(
            "{} holds {} numbers; a mean is 3 (or 1) x height x width".format(
                path, " x ".join(map(str, mean.shape))
            )
        )
    return numpy.ascontiguousarray(mean, numpy.float32)


def prepare(pixels, mean, crop, where):
    """The centre less the mean: float32 (n, channels, *crop) of uint8 (n, channels, height, width).

    The mean is subtracted at the crop's own window, in float32 (data_transformer.cpp). Raises
    WorkerError, naming `where` the mean is from, when sizes do not fit.
    """
    height, width = pixels.shape[2:]
    if crop[0] > height or crop[1] > width:
        raise WorkerError(
            "images of {} x {} are smaller than the net's input of {} x {}".format(
                height, width, crop[0], crop[1]
            )
        )
    if mean.shape[0] not in (1, pixels.shape[1]):
        raise WorkerError(
            "{} has {} channels, the images have {}".format(where, mean.shape[0], pixels.shape[1])
        )
    top, left = (height - crop[0]) // 2, (width - crop[1]) // 2
    window = (slice(None), slice(top, top + crop[0]), slice(left, left + crop[1]))
    if mean.shape[1:] == (height, width):
        mean = mean[window]
    elif mean.shape[1:] != (1, 1):
        raise WorkerError(
            "{} is {} x {}, the images are {} x {}".format(
                where, mean.shape[1], mean.shape[2], height, width
            )
        )
    return pixels[(slice(None), *window)].astype(numpy.float32) - mean
