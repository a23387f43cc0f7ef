"""Reading prototxts, edited by hand as they may be, before Caffe would abort on them."""

import difflib
import io
import os
import shutil
import subprocess
import sys
import tempfile

import caffe
import python_layers
from caffe.proto import caffe_pb2
from errors import WorkerError
from google.protobuf import text_format


def read_solver(path):
    """The SolverParameter in a solver.prototxt; WorkerError names file, line and fault."""
    return _read(path, caffe_pb2.SolverParameter())


def read_net(path):
    """The NetParameter in a net's prototxt, of whatever age: old forms as Caffe upgrades them.

    WorkerError names file, line and fault, or the program that this Caffe lacks for an old form.
    """
    net = read_as_written(path)
    return upgraded(path) if is_old(net) else net


def read_as_written(path):
    """As read_net, but an old form is left as it is."""
    return _read(path, caffe_pb2.NetParameter())


UPGRADE = "upgrade_net_proto_text"  # Caffe's own program
OLD_TRANSFORMS = ("scale", "mean_file", "crop_size", "mirror")  # today in transform_param


def is_old(net):
    """Whether Caffe would upgrade a net when it reads it (upgrade_proto.cpp)."""
    if len(net.layers) or len(net.input):
        return True
    for layer in net.layer:
        for name in ("data_param", "image_data_param", "window_data_param"):
            if layer.HasField(name):
                has = [field.name for field, _ in getattr(layer, name).ListFields()]
                if any(field in has for field in OLD_TRANSFORMS):
                    return True
    return False


def upgraded(path):
    """The net as Caffe's own program upgrades it."""
    beside = os.path.join(os.path.dirname(sys.executable), UPGRADE)
    program = beside if os.access(beside, os.X_OK) else shutil.which(UPGRADE)
    if program is None:
        raise WorkerError(
            "{}: written in an old form, and this Caffe has no {} to upgrade it; run that program "
            "of another Caffe: {} {} new.prototxt".format(path, UPGRADE, UPGRADE, path)
        )
    folder = tempfile.mkdtemp()
    try:
        new = os.path.join(folder, "net.prototxt")
        process = subprocess.Popen(
            [program, path, new], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said = process.communicate()[0].decode("utf-8", "replace").strip().splitlines()
        if process.returncode or not os.path.exists(new):
            last = said[-1] if said else "no word why"
            raise WorkerError("{}: {} could not upgrade it: {}".format(path, UPGRADE, last))
        return _read(new, caffe_pb2.NetParameter())
    finally:
        shutil.rmtree(folder)


def state(net, phase, *more):
    """The NetState that decides which layers a net has: its own, then a solver's for it."""
    merged = caffe_pb2.NetState(phase=phase)
    for each in (net.state, *more):
        own = caffe_pb2.NetState()
        own.CopyFrom(each)
        own.ClearField("phase")
        merged.MergeFrom(own)
    return merged


def layers_in(net, wanted):
    """The layers that belong to a net in a state (NetState), by Caffe's own rules.

    Caffe itself builds a net of one number a layer with the same rules, and tells what it kept.
    """
    if not any(layer.include or layer.exclude for layer in net.layer):
        return list(net.layer)
    rules = caffe_pb2.NetParameter()
    for index, layer in enumerate(net.layer):
        each = rules.layer.add(name=str(index), type="DummyData", top=[str(index)])
        each.dummy_data_param.shape.add(dim=[1])
        each.include.extend(layer.include)
        each.exclude.extend(layer.exclude)
    folder = tempfile.mkdtemp()
    try:
        path = os.path.join(folder, "rules.prototxt")
        write(rules, path)
        built = caffe.Net(path, wanted.phase, level=wanted.level, stages=list(wanted.stage))
    finally:
        shutil.rmtree(folder)
    kept = {int(name) for name in built._blob_names}
    return [layer for index, layer in enumerate(net.layer) if index in kept]


def check_types(layers, path):
    """Raise WorkerError for a layer type that this Caffe lacks, with those of a like name."""
    known = list(caffe.layer_type_list())
    for layer in layers:
        if layer.type not in known:
            same = [name for name in known if name.lower() == layer.type.lower()]
            near = same or difflib.get_close_matches(layer.type, known)
            hint = "; did you mean {}?".format(" or ".join(near)) if near else ""
            raise WorkerError(
                "{}: layer '{}': this Caffe has no layer type '{}'{}".format(
                    path, layer.name, layer.type, hint
                )
            )


def check_layers(layers, path):
    """Raise WorkerError for what Caffe would abort on without naming the layer or the file.

    These are an unknown type, a layer whose database or list of images is not there, and a Python
    layer whose module can't be imported.
    """
    check_types(layers, path)
    for layer in layers:
        at = "{}: layer '{}'".format(path, layer.name)
        if layer.type == "Data":
            source = layer.data_param.source
            if not os.path.exists(source):
                raise WorkerError("{}: its source {} is not there".format(at, source or "(none)"))
            is_lmdb = layer.data_param.backend == caffe_pb2.DataParameter.LMDB
            if is_lmdb and not os.path.exists(os.path.join(source, "data.mdb")):
                raise WorkerError("{}: its source {} is no LMDB".format(at, source))
            if not is_lmdb and os.path.exists(os.path.join(source, "data.mdb")):
                raise WorkerError(
                    "{}: its source {} is an LMDB: it needs `backend: LMDB`".format(at, source)
                )
        if layer.type == "ImageData" and not os.path.isfile(layer.image_data_param.source):
            source = layer.image_data_param.source or "(none)"
            raise WorkerError("{}: its source {} is not there".format(at, source))
    python_layers.load(layers, path)


def without_writers(layers):
    """The layers that write no files: Caffe empties an HDF5Output's file when it builds the net."""
    return [layer for layer in layers if layer.type != "HDF5Output"]


def write(message, path):
    """Write a message as prototxt to `path`, whole or not at all."""
    aside = path + ".part"
    with io.open(aside, "w", encoding="utf-8") as handle:
        handle.write(as_text(message))
    os.replace(aside, path)


def as_text(message):
    """A message as prototxt."""
    return text_format.MessageToString(message, as_utf8=True)


def in_phase(net, phase):
    """The layers of a net that belong to it in a phase, its own stages and level counted."""
    return layers_in(net, state(net, phase))


def _read(path, message):
    try:
        with io.open(path, encoding="utf-8") as handle:
            text_format.Merge(handle.read(), message)
    except (IOError, UnicodeDecodeError) as error:
        raise WorkerError("cannot read {}: {}".format(path, error)) from None
    except text_format.ParseError as error:
        raise WorkerError("{}:{}".format(path, str(error).replace(" : ", ": "))) from None
    return message
