"""describe: what is in a net's prototxt, as Caffe itself reads and builds it."""

import os
import shutil
import tempfile

import caffe
import data_layers
import prototxts
from caffe.proto import caffe_pb2
from errors import WorkerError

PHASES = (("TRAIN", caffe.TRAIN), ("TEST", caffe.TEST))
# Layers that run code of their own or touch files: a net from elsewhere is not built with them.
REFUSED = ("HDF5Output", "Python")


def run(request, emit):
    """Read, upgrade and build the net of a prototxt; no database is opened, no weights are read.

    request: net (path), size (height and width of the images where the net crops none).

    Returns name; text (the prototxt as Caffe upgraded it, None where it is of today's form);
    input (shape of one image at the net, None where several blobs come in); shapes (blob -> shape);
    and layers, in the prototxt's order: name, type, bottoms, tops, phases ("TRAIN", "TEST": those
    that it belongs to by Caffe's own rules), loss_weights, params (name, lr, decay for each that
    is written), blobs (shapes of its weights), global_stats (BatchNorm: what is written, or None),
    source (data_layers.about, for Data and ImageData).
    Raises WorkerError for a prototxt that can't be read, and for layers that this Caffe lacks.
    """
    path = request["net"]
    net = prototxts.read_net(path)
    prototxts.check_types(net.layer, path)
    for layer in net.layer:
        if layer.type in REFUSED:
            raise WorkerError(
                "{}: layer '{}' ({}) runs code or writes files; take it out of the net".format(
                    path, layer.name, layer.type
                )
            )
    members = {name: prototxts.in_phase(net, phase) for name, phase in PHASES}
    weights, shapes, ends = {}, {}, []
    folder = tempfile.mkdtemp()
    try:
        for name, phase in PHASES:
            if name == "TRAIN" and same(members["TRAIN"], members["TEST"]):
                continue
            built = build(net, members[name], phase, folder, request["size"])
            shapes.update((blob, list(built.blobs[blob].data.shape)) for blob in built.blobs)
            for layer in built.params:
                weights[layer] = [list(blob.data.shape) for blob in built.params[layer]]
            ends = list(built.outputs)
    finally:
        shutil.rmtree(folder)
    text = None
    if prototxts.is_old(prototxts.read_as_written(path)):
        text = prototxts.as_text(net)
    return {
        "name": net.name,
        "text": text,
        "outputs": ends,
        "shapes": shapes,
        "layers": [
            about(layer, [name for name, _ in PHASES if is_in(layer, members[name])], weights)
            for layer in net.layer
        ],
    }


def is_in(layer, layers):
    """Whether it is this very layer, not one that looks like it."""
    return any(layer is each for each in layers)


def same(ones, others):
    return len(ones) == len(others) and all(is_in(layer, others) for layer in ones)


def build(net, layers, phase, folder, size):
    """The net of a phase with plain inputs for its data."""
    plain = caffe_pb2.NetParameter(name=net.name)
    plain.layer.extend(data_layers.as_inputs(layers, size))
    path = os.path.join(folder, "net.prototxt")
    prototxts.write(plain, path)
    return caffe.Net(path, phase)


def about(layer, phases, weights):
    """One layer, as `run` says."""
    stats = None
    if layer.batch_norm_param.HasField("use_global_stats"):
        stats = layer.batch_norm_param.use_global_stats
    return {
        "name": layer.name,
        "type": layer.type,
        "bottoms": list(layer.bottom),
        "tops": list(layer.top),
        "phases": phases,
        "loss_weights": list(layer.loss_weight),
        "params": [
            {"name": each.name, "lr": each.lr_mult, "decay": each.decay_mult}
            for each in layer.param
        ],
        "blobs": weights.get(layer.name, []),
        "global_stats": stats,
        "source": data_layers.about(layer) if layer.type in data_layers.READERS else None,
    }
