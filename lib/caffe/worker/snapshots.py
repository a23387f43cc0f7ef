"""Snapshots that count only when whole: Caffe's two files, then a marker with their SHA-256.

Caffe does not look whether the end of a file that it writes came to the disk, so what it wrote is
read back before it counts.
"""

import hashlib
import io
import json
import os
import shutil

import caffemodel
import numpy
from caffe.proto import caffe_pb2
from errors import WorkerError

MARGIN = 8 << 20  # bytes: names, shapes, and what others write meanwhile
NOT_WHOLE = "what Caffe wrote did not reach the disk (is it full, or a quota used up?)"


def take(solver, prefix, unfinished, inputs, run):
    """Let Caffe snapshot to `<prefix>_iter_N.{caffemodel,solverstate}`, then write `...N.json`.

    Caffe writes over whatever is there, so the solver's own snapshot_prefix has the same name in
    the folder `unfinished`, on the same disk; what is whole there is put in its place, and never
    over another file. A kill meanwhile leaves that folder. The marker also keeps `inputs`, a word
    that tells what the training is made from, and `run`, the id of the run. Returns its path.
    Raises WorkerError when a weight is NaN or infinite, when the disk is full, and when one of the
    three files is there already.
    """
    check_finite(solver.net, solver.iter)
    stem = "{}_iter_{}".format(prefix, solver.iter)
    places = [stem + end for end in (".caffemodel", ".solverstate", ".json")]
    for place in places:
        if os.path.lexists(place):
            raise in_the_way(place)
    weights = weight_bytes(solver.net)
    require_space(os.path.dirname(prefix), 2 * weights)  # weights, and momentum of the same size
    os.makedirs(unfinished)
    try:
        solver.snapshot()
        files = [os.path.join(unfinished, os.path.basename(place)) for place in places]
        check_weights_file(solver.net, files[0])
        check_state_file(files[1])
        name_weights(files[1], places[0])
        marker = {
            "iteration": solver.iter,
            "inputs": inputs,
            "run": run,
            "files": {os.path.basename(path): _flushed_sha256(path) for path in files[:2]},
        }
        with io.open(files[2], "w", encoding="utf-8") as handle:
            handle.write(json.dumps(marker, indent=1))
            handle.flush()
            os.fsync(handle.fileno())
        put_in_place(files, places)
    except OSError as error:
        raise WorkerError("cannot write the snapshot {}: {}".format(stem, error.strerror)) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return places[2]


def put_in_place(files, places):
    """Give each of `files` its place, in order; all of them or none, and never over another file.

    Raises WorkerError when a place is taken.
    """
    done = []
    try:
        for path, place in zip(files, places):
            try:
                os.link(path, place)  # unlike a rename it fails where a file is
            except FileExistsError:
                raise in_the_way(place) from None
            except OSError:  # a disk without such links
                if os.path.lexists(place):
                    raise in_the_way(place) from None
                os.rename(path, place)
            done.append(place)
    except BaseException:
        for place in done:
            os.remove(place)
        raise


def in_the_way(path):
    """The error for a file where a snapshot is to be written."""
    return WorkerError(
        "{} is there already and was not written by this run: it is left as it is; move it away, "
        "or give the solver another snapshot_prefix".format(path)
    )


def name_weights(state, weights):
    """Let a .solverstate name `weights` as its .caffemodel, as Caffe's own restoring needs it."""
    with io.open(state, "rb") as handle:
        data = handle.read()
    number = caffe_pb2.SolverState.DESCRIPTOR.fields_by_name["learned_net"].number
    before = 0  # where the last field ended
    for found, _, _, end in caffemodel.fields(memoryview(data), 0, len(data)):
        if found == number:
            break
        before = end
    else:
        raise WorkerError("{} names no .caffemodel".format(state))
    field = caffe_pb2.SolverState(learned_net=weights).SerializeToString()
    with io.open(state, "wb") as handle:
        for part in (memoryview(data)[:before], field, memoryview(data)[end:]):
            handle.write(part)


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
    """Raise WorkerError unless a .solverstate is whole."""
    if not is_whole_state(path):
        raise WorkerError("{}: {} is truncated".format(NOT_WHOLE, path))


def is_whole_state(path):
    """Whether a .solverstate ends with its last field, current_step."""
    with io.open(path, "rb") as handle:
        data = memoryview(handle.read())
    last = caffe_pb2.SolverState.DESCRIPTOR.fields_by_name["current_step"].number
    ends = [(None, 0)]
    try:
        ends += [(field[0], field[-1]) for field in caffemodel.fields(data, 0, len(data))]
    except caffemodel.Broken:
        return False
    return ends[-1] == (last, len(data))


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
    return {layer: hash_of(blob.data for blob in blobs) for layer, blobs in net.params.items()}


def file_hashes(path):
    """The same of the layers in a .caffemodel; of two with one name, Caffe keeps the last."""
    return {
        layer.name: hash_of(blob.array() for blob in layer.blobs)
        for layer in caffemodel.read(path)[1]
    }


def hash_of(arrays):
    """SHA-256 of some arrays of float32, one after the other."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(numpy.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()


def _flushed_sha256(path):
    digest = hashlib.sha256()
    with io.open(path, "rb+") as handle:
        os.fsync(handle.fileno())
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
