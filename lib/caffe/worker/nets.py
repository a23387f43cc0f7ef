"""Deploy nets with their weights, cut to what is asked for, kept for the next request."""

import collections
import os
import shutil
import tempfile

import caffe
import caffemodel
import device
import prototxts
import python_layers
import transformation
from errors import WorkerError

KEPT = 4  # nets in memory; CaffeNet takes 230 MB
_kept = collections.OrderedDict()
_device = []  # the GPU chosen so far: asking again for the same one costs a child process


class Model:
    """A net ready to run: `net`, `input` (blob), `crop` (height, width), `asked` (its files)."""

    def __init__(self, net, param, asked):
        self.net = net
        self.param = param
        self.asked = asked
        self._transformations = {}  # by the images' size
        self.input = net.inputs[0]
        self.crop = tuple(net.blobs[self.input].data.shape[2:])

    def batch(self):
        """Images that one forward pass takes."""
        return self.net.blobs[self.input].data.shape[0]

    def feed(self, pixels):
        """Put uint8 pixels (batch or fewer, 3, height, width) into the input; the rest is zero.

        They are transformed as in the TEST phase of the run's own net. Raises WorkerError for
        sizes that do not fit.
        """
        data = self.net.blobs[self.input].data
        size = tuple(pixels.shape[2:])
        if size not in self._transformations:
            net, mean = self.asked.get("net"), self.asked["mean"]
            self._transformations[size] = (
                transformation.of_net(net, size, mean) if net else transformation.of_mean(mean)
            )
        made = self._transformations[size]
        data[: len(pixels)] = made.apply(pixels, data.shape[1], self.crop)
        data[len(pixels) :] = 0


def load(asked, gpu, blob=None, batch=None, backward=False):
    """The model of `asked` (deploy, weights, mean: paths; net: the run's own, or None).

    It goes up to `blob`, or is whole.

    `batch`: images a pass, None for the deploy net's own number. `backward`: gradients reach the
    input, and none are computed for weights. Raises WorkerError for a net without that blob, and
    weights that lack a layer of it: Caffe itself would compute on with zeros or random numbers.
    """
    if _device != [gpu]:
        _kept.clear()
        device.choose(gpu)
        _device[:] = [gpu]
    files = tuple(
        _stamp(asked[name]) for name in ("deploy", "weights", "mean", "net") if asked.get(name)
    )
    key = (files, blob, batch, backward)
    if key not in _kept:
        while len(_kept) >= KEPT:
            _kept.popitem(last=False)
        _kept[key] = _load(asked, blob, batch, backward)
    _kept.move_to_end(key)
    return _kept[key]


def _load(asked, blob, batch, backward):
    param = prototxts.read_net(asked["deploy"])
    kept = prototxts.without_writers(param.layer)
    del param.layer[:]
    param.layer.extend(kept)
    python_layers.load(param.layer, asked["deploy"])
    if blob is not None:
        cut(param, blob, asked["deploy"])
    if backward:
        only_inputs_learn(param)
    _, layers = caffemodel.read(asked["weights"])
    net = build(param)
    if len(net.inputs) != 1 or len(net.blobs[net.inputs[0]].data.shape) != 4:
        raise WorkerError(
            "{}: a deploy net has one input of images, this one has {}".format(
                asked["deploy"], ", ".join(net.inputs) or "none"
            )
        )
    lacking = set(net.params) - {layer.name for layer in layers}
    if lacking:
        raise WorkerError(
            "{} has no weights for layer {} of {}".format(
                asked["weights"], ", ".join(sorted(lacking)), asked["deploy"]
            )
        )
    net.copy_from(asked["weights"])
    if batch is not None:
        net.blobs[net.inputs[0]].reshape(batch, *net.blobs[net.inputs[0]].data.shape[1:])
        net.reshape()
    return Model(net, param, asked)


def only_inputs_learn(param):
    """Let gradients reach the input of a net, and compute none for its weights."""
    blobs = build(param).params
    param.force_backward = True
    for layer in param.layer:
        for _ in range(len(layer.param), len(blobs.get(layer.name, ()))):
            layer.param.add()
        for each in layer.param:
            each.lr_mult = 0


def build(param):
    """The TEST net of a NetParameter."""
    folder = tempfile.mkdtemp()
    try:
        path = os.path.join(folder, "deploy.prototxt")
        prototxts.write(param, path)
        return caffe.Net(path, caffe.TEST)
    finally:
        shutil.rmtree(folder)


def cut(param, blob, path):
    """Drop the layers of a net that come after the last one that writes `blob`."""
    last = max([i for i, layer in enumerate(param.layer) if blob in layer.top], default=-1)
    if last < 0:
        tops = [top for layer in param.layer for top in layer.top]
        raise WorkerError(
            "{} has no blob '{}'; it has {}".format(
                path, blob, ", ".join(sorted(set(tops), key=tops.index)) or "none"
            )
        )
    del param.layer[last + 1 :]


def _stamp(path):
    try:
        there = os.stat(path)
    except OSError as error:
        raise WorkerError("{} can't be read: {}".format(path, error.strerror)) from None
    return path, there.st_size, there.st_mtime_ns
