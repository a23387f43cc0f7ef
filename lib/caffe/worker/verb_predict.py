"""predict: probabilities for every record of an LMDB, in its order, each exactly once."""

import os

import caffe
import data_layers
import device
import heads
import numpy
import prototxts
from caffe.proto import caffe_pb2
from errors import WorkerError
from scoring import Outputs, check_labels, probabilities
from solvers import deploy_layers


def run(request, emit):
    """Score an LMDB through the TEST phase of a train_val net.

    request: train_val (path), weights (path), lmdb (path), images (its number of records), out
    (path of the .npz to write: probabilities float32 (images, classes), labels int64 (images,)),
    gpu (device or None), deploy (path or None: of several heads, the one that it ends in counts).
    Events: images. Returns images, classes.
    Raises WorkerError on a NaN or infinite output, naming the record.
    """
    device.choose(request["gpu"])
    path = request["train_val"]
    layers = read(path, request["lmdb"])
    net = build(layers, request["weights"], request["out"])
    deploy = request["deploy"]
    logits = heads.deploy_logits(deploy_layers(deploy)) if deploy else None
    outputs = Outputs(net, layers, path, logits)
    scores, truths, done = [], [], 0
    for logits, labels in outputs.passes(request["images"]):
        bad = numpy.flatnonzero(~numpy.isfinite(logits).all(axis=1))
        if bad.size:
            raise WorkerError(
                "the net's output for record {} of {} is NaN or infinite: these weights ({}) are "
                "broken".format(done + bad[0], request["lmdb"], request["weights"])
            )
        check_labels(labels, logits.shape[1], path)
        scores.append(probabilities(logits).astype(numpy.float32))
        truths.append(labels)
        done += len(labels)
        emit("images", done=done)
    aside = request["out"] + ".part"
    with open(aside, "wb") as handle:
        numpy.savez(
            handle,
            probabilities=numpy.concatenate(scores),
            labels=numpy.concatenate(truths).astype(numpy.int64),
        )
    os.replace(aside, request["out"])
    return {"images": done, "classes": int(scores[0].shape[1])}


def read(path, lmdb):
    """The layers of the TEST net of `path`, reading `lmdb`: same mean, crop and batch."""
    layers = prototxts.without_writers(prototxts.in_phase(prototxts.read_net(path), caffe.TEST))
    data_layers.read_lmdb(data_layers.reader(layers, path, "TEST"), lmdb)
    prototxts.check_layers(layers, path)
    return layers


def build(layers, weights, beside):
    """The net of these layers, with its weights."""
    param = caffe_pb2.NetParameter(name="test")
    for layer in layers:
        new = param.layer.add()
        new.CopyFrom(layer)
        new.ClearField("include")
        new.ClearField("exclude")
    used = beside + ".prototxt"
    prototxts.write(param, used)
    try:
        net = caffe.Net(used, caffe.TEST)
    finally:
        os.remove(used)
    net.copy_from(weights)
    return net
