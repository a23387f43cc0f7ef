"""Reading prototxts, edited by hand as they may be, before Caffe would abort on them."""

import difflib
import io
import os

import caffe
import python_layers
from caffe.proto import caffe_pb2
from errors import WorkerError
from google.protobuf import text_format


def read_solver(path):
    """The SolverParameter in a solver.prototxt; WorkerError names file, line and fault."""
    return _read(path, caffe_pb2.SolverParameter())


def read_net(path):
    """The NetParameter in a net's prototxt; WorkerError names file, line and fault."""
    return _read(path, caffe_pb2.NetParameter())


def check_layers(layers, path):
    """Raise WorkerError for what Caffe would abort on without naming the layer or the file.

    These are an unknown type, a Data layer whose database is not there, and a Python layer whose
    module can't be imported.
    """
    known = list(caffe.layer_type_list())
    for layer in layers:
        at = "{}: layer '{}'".format(path, layer.name)
        if layer.type not in known:
            near = difflib.get_close_matches(layer.type, known)
            hint = "; did you mean {}?".format(" or ".join(near)) if near else ""
            raise WorkerError(
                "{}: this Caffe has no layer type '{}'{}".format(at, layer.type, hint)
            )
        if layer.type == "Data":
            source = layer.data_param.source
            if not os.path.exists(source):
                raise WorkerError("{}: its source {} is not there".format(at, source or "(none)"))
            is_lmdb = layer.data_param.backend == caffe_pb2.DataParameter.LMDB
            if is_lmdb and not os.path.exists(os.path.join(source, "data.mdb")):
                raise WorkerError("{}: its source {} is no LMDB".format(at, source))
    python_layers.load(layers, path)


def write(message, path):
    """Write a message as prototxt to `path`, whole or not at all."""
    aside = path + ".part"
    with io.open(aside, "w", encoding="utf-8") as handle:
        handle.write(text_format.MessageToString(message, as_utf8=True))
    os.replace(aside, path)


def in_phase(layer, phase):
    """Whether a layer that includes by phase only belongs to `phase` (net.cpp, FilterNet)."""
    if layer.include:
        return any(not rule.HasField("phase") or rule.phase == phase for rule in layer.include)
    return not any(rule.HasField("phase") and rule.phase == phase for rule in layer.exclude)


def _read(path, message):
    try:
        with io.open(path, encoding="utf-8") as handle:
            text_format.Merge(handle.read(), message)
    except (IOError, UnicodeDecodeError) as error:
        raise WorkerError("cannot read {}: {}".format(path, error)) from None
    except text_format.ParseError as error:
        raise WorkerError("{}:{}".format(path, str(error).replace(" : ", ": "))) from None
    return message
