"""restorable: which of some snapshots of `caffe train` can the training of a solver go on from?"""

import os

import caffe
import caffemodel
import device
import numpy
import prototxts
from caffe.proto import caffe_pb2
from errors import WorkerError
from google.protobuf.message import DecodeError
from snapshots import is_whole_state
from solver_nets import train_net
from solvers import build


def run(request, emit):
    """Look for the first whole snapshot that is of the solver's net.

    request: solver (path), gpu (device or None), snapshots (a list of iteration, weights and state
    each, the two paths). Returns chosen (its place in the list, or None) and refused (a sentence
    for each one before it).
    """
    device.choose(request["gpu"])
    trained = train_net(prototxts.read_solver(request["solver"]), request["solver"])
    prototxts.check_layers(trained.layers, trained.path)
    net = build(trained.alone(), caffe.TRAIN)
    refused = []
    for place, snapshot in enumerate(request["snapshots"]):
        try:
            check(net, trained.layers, **snapshot)
        except WorkerError as error:
            refused.append(str(error))
        else:
            return {"chosen": place, "refused": refused}
    return {"chosen": None, "refused": refused}


def check(net, layers, iteration, weights, state):
    """Raise WorkerError unless both files are whole, belong together, and are of `net`."""
    check_weights(net, weights)
    if not is_whole_state(state):
        raise WorkerError("{} is truncated".format(state))
    said = caffe_pb2.SolverState()
    try:
        with open(state, "rb") as handle:
            said.ParseFromString(handle.read())
    except DecodeError:
        raise WorkerError("{} is no .solverstate".format(state)) from None
    if said.iter != iteration:
        raise WorkerError("{} is of iteration {}".format(state, said.iter))
    if not os.path.exists(said.learned_net) or not os.path.samefile(said.learned_net, weights):
        raise WorkerError(
            "{} belongs to other weights ({})".format(state, said.learned_net or "none")
        )
    shapes = learnable_shapes(net, layers)
    history = [list(blob.shape.dim) for blob in said.history]
    if history not in (shapes, 2 * shapes):  # AdaDelta and Adam keep two numbers a weight
        raise WorkerError("{} is of another net".format(state))


def check_weights(net, path):
    """Raise WorkerError unless a .caffemodel holds finite weights for all of `net`."""
    layers = {layer.name: layer.blobs for layer in caffemodel.read(path)[1]}
    for name in set(layers) | set(net.params):
        found = [list(blob.shape) for blob in layers.get(name, [])]
        expected = [list(blob.data.shape) for blob in net.params.get(name, [])]
        if found != expected:
            raise WorkerError("{} is of another net: see layer '{}'".format(path, name))
        if not all(numpy.isfinite(blob.array().sum(dtype="f8")) for blob in layers[name]):
            raise WorkerError("{}: layer '{}' is NaN or infinite".format(path, name))


def learnable_shapes(net, layers):
    """The shapes of the blobs that a solver of `net` has a history of (Net::learnable_params)."""
    named = {layer.name: layer.param for layer in layers}
    shapes, shared = [], set()
    for name, blobs in net.params.items():
        for index, blob in enumerate(blobs):
            params = named.get(name, [])
            owner = params[index].name if index < len(params) else ""
            if not owner or owner not in shared:
                shapes.append(list(blob.data.shape))
            shared.add(owner)
    return shapes
