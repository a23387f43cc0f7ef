"""predict: probabilities for every record of an LMDB, in its order, each exactly once."""

import os

import caffe
import device
import numpy
import prototxts
from errors import WorkerError
from scoring import Outputs, check_labels, probabilities


def run(request, emit):
    """Score an LMDB through the TEST phase of a train_val net.

    request: train_val (path), weights (path), lmdb (path), images (its number of records), out
    (path of the .npz to write: probabilities float32 (images, classes), labels int64 (images,)),
    gpu (device or None). Events: images. Returns images, classes.
    Raises WorkerError on a NaN or infinite output, naming the record.
    """
    device.choose(request["gpu"])
    path = request["train_val"]
    net = load(path, request["lmdb"], request["weights"], request["out"])
    scores, truths, done = [], [], 0
    for logits, labels in Outputs(net, path).passes(request["images"]):
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


def load(path, lmdb, weights, beside):
    """The TEST net of `path` with its Data layer reading `lmdb`: same mean, crop and batch."""
    param = prototxts.read_net(path)
    tested = prototxts.in_phase(param, caffe.TEST)
    data = [layer for layer in tested if layer.type == "Data"]
    if len(data) != 1:
        raise WorkerError(
            "{}: the TEST net must have exactly one Data layer, not {}".format(path, len(data))
        )
    data[0].data_param.source = lmdb
    prototxts.check_layers(tested, path)
    used = beside + ".prototxt"
    prototxts.write(param, used)
    try:
        net = caffe.Net(used, caffe.TEST)
    finally:
        os.remove(used)
    net.copy_from(weights)
    return net
