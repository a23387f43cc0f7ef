"""Every image exactly once: per-image outputs of a TEST net over exactly N consecutive records.

A test net's data cursor never rewinds and a batch may wrap around the end, so Caffe's own mean over
test_iter batches counts some images twice. Any N consecutive records, taken cyclically, are one
full pass.
"""

import heads
import numpy
from errors import WorkerError


class Outputs:
    """Where a classifier's TEST net keeps the logits and the true labels."""

    def __init__(self, net, layers, path, logits=None):
        """`layers`: those of `net`, as written in `path`; `logits` as heads.scored says."""
        self.net = net
        self.logits, self.labels = heads.scored(layers, path, logits)

    def passes(self, count):
        """Yield logits (n, classes) float64 and labels (n,) int by batches, `count` in all."""
        left = count
        while left > 0:
            self.net.forward()
            logits = self.net.blobs[self.logits].data
            logits = logits.reshape(logits.shape[0], -1).astype(numpy.float64)
            labels = self.net.blobs[self.labels].data.reshape(-1).astype(int)
            yield logits[:left], labels[:left]
            left -= logits.shape[0]


def check_labels(labels, classes, path):
    """Raise WorkerError when a label has no output of its own: the net is not this task's."""
    if labels.size and labels.max() >= classes:
        raise WorkerError(
            "{}: label {} but the net has {} outputs; the classifier's num_output must be the "
            "number of lines in classes.txt".format(path, int(labels.max()), classes)
        )


def probabilities(logits):
    """Softmax over the last axis, in float64."""
    powers = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def losses(logits, labels):
    """The softmax loss of each image, as SoftmaxWithLoss computes it before averaging."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs = shifted - numpy.log(numpy.exp(shifted).sum(axis=1, keepdims=True))
    return -logs[numpy.arange(len(labels)), labels]
