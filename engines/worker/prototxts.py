"""Reading prototxts, edited by hand as they may be, before Caffe would abort on them."""

import io
import os

from caffe.proto import caffe_pb2
from errors import WorkerError
from google.protobuf import text_format


def read_solver(path):
    """The SolverParameter in a solver.prototxt; WorkerError names file, line and fault."""
    return _read(path, caffe_pb2.SolverParameter())


def read_net(path):
    """The NetParameter in a net's prototxt; WorkerError names file, line and fault."""
    return _read(path, caffe_pb2.NetParameter())


def check_sources(layers, path):
    """Raise WorkerError when a Data layer reads what is not there: Caffe would not say which."""
    for layer in layers:
        source = layer.data_param.source if layer.type == "Data" else None
        if source is not None and not os.path.exists(source):
            raise WorkerError(
                "{}: layer '{}': its source {} is not there".format(path, layer.name, source)
            )


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
