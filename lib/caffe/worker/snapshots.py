"""Snapshots that count only when whole: Caffe's two files, then a marker with their SHA-256.

Caffe does not look whether the end of a file that it writes came to the disk, so what it wrote is
read back before it counts.
"""

import hashlib
import io
import json
import os

import caffemodel
import numpy
from caffe.proto import caffe_pb2
from errors import WorkerError

MARGIN = 8 << 20  # bytes: names, shapes, and what others write meanwhile
NOT_WHOLE = "what Caffe wrote did not reach the disk (is it full, or a quota used up?)"


def take(solver, prefix, inputs):
    """Let Caffe snapshot to `<prefix>_iter_N.{caffemodel,solverstate}`, then write `…N.json`.

    A kill while Caffe writes leaves files without a marker, and they are never resumed from. The
    marker also keeps `inputs`, a word that tells what the training is made from. Returns its path.
    Raises WorkerError when a weight is NaN or infinite, and when the disk is full.
    """
    check_finite(solver.net, solver.iter)
    weights = weight_bytes(solver.net)
    require_space(os.path.dirname(prefix), 2 * weights)  # weights, and momentum of the same size
    solver.snapshot()
    stem = "{}_iter_{}".format(prefix, solver.iter)
    files = [stem + ".caffemodel", stem + ".solverstate"]
    check_weights_file(solver.net, files[0])
    check_state_file(files[1])
    marker = {
        "iteration": solver.iter,
        "inputs": inputs,
        "files": {os.path.basename(path): _flushed_sha256(path) for path in files},
    }
    with io.open(stem + ".json.part", "w", encoding="utf-8") as handle:
        handle.write(json.dumps(marker, indent=1))
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(stem + ".json.part", stem + ".json")
    return stem + ".json"


def save_weights(net, path):
    """Write the net's weights to `path`, whole or not at all."""
    require_space(os.path.dirname(path), weight_bytes(net))
    aside = path + ".part"
    net.save(aside)
    check_weights_file(net, aside)
    with io.open(aside, "rb+") as handle:
        os.fsync(handle.fileno())
    os.replace(aside, path)


def check_weights_file(net, path):
    """Raise WorkerError unless `path` holds every layer of `net` that has weights."""
    try:
        _, layers = caffemodel.read(path)
    except WorkerError as error:
        raise WorkerError("{}: {}".format(NOT_WHOLE, error)) from None
    lost = set(net.params) - {layer.name for layer in layers}
    if lost:
        raise WorkerError("{}: {} ends before {}".format(NOT_WHOLE, path, ", ".join(lost)))


def check_state_file(path):
    """Raise WorkerError unless a .solverstate ends with its last field, current_step."""
    with io.open(path, "rb") as handle:
        data = memoryview(handle.read())
    last = caffe_pb2.SolverState.DESCRIPTOR.fields_by_name["current_step"].number
    ends = [(None, 0)]
    try:
        ends += [(field[0], field[-1]) for field in caffemodel.fields(data, 0, len(data))]
    except caffemodel.Broken:
        ends.append((None, 0))
    if ends[-1] != (last, len(data)):
        raise WorkerError("{}: {} is truncated".format(NOT_WHOLE, path))


def weight_bytes(net):
    """The size of all weights of a net, in bytes."""
    return sum(blob.data.nbytes for blobs in net.params.values() for blob in blobs)


def require_space(folder, needed):
    """Raise WorkerError unless `folder` has room for `needed` bytes: Caffe does not notice."""
    disk = os.statvfs(folder or ".")
    free = disk.f_bavail * disk.f_frsize
    if free < needed + MARGIN:
        raise WorkerError(
            "no space left on the disk of {}: {:.0f} MB needed for weights, {:.0f} MB free; free "
            "some and call make again, it goes on from the last snapshot".format(
                folder, (needed + MARGIN) / 1e6, free / 1e6
            )
        )


def check_finite(net, iteration):
    """Raise WorkerError naming the layer when a weight is NaN or infinite."""
    for layer, blobs in net.params.items():
        for blob in blobs:
            if not numpy.isfinite(blob.data.sum(dtype=numpy.float64)):
                raise WorkerError(
                    "weights of layer '{}' are NaN or infinite at iteration {}: "
                    "the learning rate is too high; try a smaller LR".format(layer, iteration)
                )


def layer_hashes(net):
    """SHA-256 of each layer's weights and biases together, by layer name."""
    hashes = {}
    for layer, blobs in net.params.items():
        digest = hashlib.sha256()
        for blob in blobs:
            digest.update(numpy.ascontiguousarray(blob.data).tobytes())
        hashes[layer] = digest.hexdigest()
    return hashes


def _flushed_sha256(path):
    digest = hashlib.sha256()
    with io.open(path, "rb+") as handle:
        os.fsync(handle.fileno())
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
