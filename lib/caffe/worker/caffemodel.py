"""Reads the layers of a .caffemodel: names, blob shapes, and where their numbers lie in the file.

The file is walked field by field and the numbers are skipped, so that it takes milliseconds for
hundreds of megabytes whatever protobuf this Python has, and so that a truncated or foreign file
can be told from a good one, with the layer it ends in, before Caffe aborts on it. The numbers of
the fields are taken from Caffe's own descriptors. All three generations of NetParameter are read:
V2 (`layer`), V1 (`layers`) and V0 (`layers { layer { ... } }`).
"""

import mmap

import numpy
from caffe.proto import caffe_pb2
from errors import WorkerError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf's wire types

# How other files begin that are met under the name of a .caffemodel.
FOREIGN = (
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "a gzip archive, still packed"),
    (b"PK\x03\x04", "a zip archive (or a PyTorch model)"),
    (b"\x80\x02", "a Python pickle (an old PyTorch model?)"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (b"<", "a web page"),
)


def numbers_of(message):
    """Field name -> number of one of Caffe's messages."""
    return {field.name: field.number for field in getattr(caffe_pb2, message).DESCRIPTOR.fields}


NET = numbers_of("NetParameter")
V2 = numbers_of("LayerParameter")
V1 = numbers_of("V1LayerParameter")
V0 = numbers_of("V0LayerParameter")
V1_SPELT = {"LRN": "LRN", "RELU": "ReLU", "PRELU": "PReLU", "HDF5_DATA": "HDF5Data"}
BLOB = numbers_of("BlobProto")
SHAPE = numbers_of("BlobShape")


class Broken(Exception):
    """The bytes are no protobuf, or end too early."""


class Blob:
    """One array of weights: `shape`, whether it is a legacy 4-D one, and its numbers."""

    def __init__(self, data, shape, legacy, spans, is_nvcaffe=False):
        self._data = data
        self.shape = shape
        self.legacy = legacy
        self.is_nvcaffe = is_nvcaffe  # it has bytes in a field that BVLC's BlobProto lacks
        self._spans = spans  # (first byte, end, dtype) of each run of numbers

    @property
    def count(self):
        """How many numbers the file holds, whatever the shape promises."""
        return sum((end - start) // numpy.dtype(kind).itemsize for start, end, kind in self._spans)

    def array(self):
        """The numbers as float32, in the blob's shape."""
        runs = [
            numpy.frombuffer(self._data[start:end], kind).astype("<f4", copy=False)
            for start, end, kind in self._spans
        ]
        flat = runs[0] if len(runs) == 1 else numpy.concatenate(runs)
        return flat.reshape(self.shape)


class Layer:
    """A layer with weights: `name` and `blobs`."""

    def __init__(self, name, blobs):
        self.name = name
        self.blobs = blobs


def carried_net(path):
    """The net that a .caffemodel carries beside its weights.

    Of each layer name, type, bottoms, tops. Empty for V0, the form of 2013. The file must have
    passed `read`.
    """
    with open(path, "rb") as handle:
        data = memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
    found = []
    for number, _, start, end in fields(data, 0, len(data)):
        if number == NET["layer"]:
            found.append(carried_layer(data, start, end, V2))
        elif number == NET["layers"]:
            found.append(carried_layer(data, start, end, V1))
    return [layer for layer in found if layer["type"]]


# V1's layer types by number, as today's names are spelt: POOLING is Pooling, LRN stays LRN.
V1_TYPES = {
    value.number: V1_SPELT.get(value.name, value.name.title().replace("_", ""))
    for value in caffe_pb2.V1LayerParameter.DESCRIPTOR.enum_types_by_name["LayerType"].values
}


def carried_layer(data, start, end, numbers):
    layer = {"name": "", "type": "", "bottoms": [], "tops": []}
    for number, wire, first, last in fields(data, start, end):
        if number == numbers["name"] and wire == BYTES:
            layer["name"] = text(data, first, last)
        elif number == numbers["type"]:
            if wire == BYTES:
                layer["type"] = text(data, first, last)
            else:
                layer["type"] = V1_TYPES.get(varint(data, first, last)[0], "")
        elif number == numbers["bottom"]:
            layer["bottoms"].append(text(data, first, last))
        elif number == numbers["top"]:
            layer["tops"].append(text(data, first, last))
    return layer


def read(path):
    """The form of a .caffemodel ("V2", "V1" or "V0") and its layers with weights, in order.

    Raises WorkerError saying what is wrong with the file: empty, foreign, truncated (in which
    layer), a blob with another number of values than its shape, or no weights at all.
    """
    try:
        with open(path, "rb") as handle:
            if not handle.read(1):
                raise WorkerError("%s is empty" % path)
            # Left open as long as a blob needs it: numpy's views keep the mapping alive.
            data = memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise WorkerError("cannot read %s: %s" % (path, error.strerror)) from None
    for magic, what in FOREIGN:
        if data[: len(magic)] == magic:
            raise WorkerError("%s is not a .caffemodel but %s" % (path, what))
    form, layers = "V2", []
    place = "the beginning"
    try:
        for number, wire, start, end in fields(data, 0, len(data)):
            if number not in NET.values() or (number == NET["name"] and wire != BYTES):
                raise Broken  # a mean, a .solverstate, or no protobuf at all
            if number not in (NET["layer"], NET["layers"]):
                if end > len(data):
                    raise Broken
                continue
            if wire != BYTES:
                raise Broken
            found, layer = read_layer(data, start, min(end, len(data)), number == NET["layer"])
            place = "layer '%s'" % layer.name if layer.name else "the layer after " + place
            if end > len(data):
                raise WorkerError(
                    "%s is truncated: it ends inside %s, %d bytes short"
                    % (path, place, end - len(data))
                )
            form = found
            if layer.blobs:
                layers.append(layer)
    except Broken:
        if place == "the beginning":
            raise WorkerError("%s is no .caffemodel, or broken from its start" % path) from None
        raise WorkerError("%s is broken or truncated after %s" % (path, place)) from None
    for layer in layers:
        for index, blob in enumerate(layer.blobs):
            promised = int(numpy.prod(blob.shape))
            if blob.is_nvcaffe and not blob.count:
                raise WorkerError(
                    "%s is NVCaffe's (NVIDIA's fork): it keeps its numbers in a field (raw_data) "
                    "that no other Caffe reads; write it again there with "
                    "`store_blobs_in_old_format: true` in its solver.prototxt, by a training of "
                    "one iteration at base_lr 0 from these weights" % path
                )
            if blob.count != promised:
                raise WorkerError(
                    "%s: layer '%s': blob %d has shape %s, that is %d numbers, but holds %d"
                    % (path, layer.name, index, shape_text(blob.shape), promised, blob.count)
                )
    if not layers:
        raise WorkerError("%s holds no layer with weights" % path)
    return form, layers


def shape_text(shape):
    """(96, 3, 11, 11) as '96x3x11x11'."""
    return "x".join(str(size) for size in shape) or "one number"


def read_layer(data, start, end, is_v2):
    """The form and the layer at these bytes; `end` may cut it short, what is there is read."""
    form, numbers = ("V2", V2) if is_v2 else ("V1", V1)
    name, blobs = "", []
    for number, wire, first, last in fields(data, start, end):
        cut = last > end
        last = min(last, end)
        if form == "V1" and number == V1["layer"] and wire == BYTES:
            form, inner = "V0", read_v0(data, first, last)
            name, blobs = inner.name, inner.blobs + blobs
        elif number == numbers["name"] and wire == BYTES and not cut:
            name = text(data, first, last)
        elif number == numbers["blobs"] and wire == BYTES and not cut:
            blobs.append(read_blob(data, first, last))
        if cut:
            break
    return form, Layer(name, blobs)


def read_v0(data, start, end):
    name, blobs = "", []
    for number, wire, first, last in fields(data, start, end):
        if last > end:
            break
        if number == V0["name"] and wire == BYTES:
            name = text(data, first, last)
        elif number == V0["blobs"] and wire == BYTES:
            blobs.append(read_blob(data, first, last))
    return Layer(name, blobs)


def read_blob(data, start, end):
    """A BlobProto. Like Blob::FromProto: doubles, where there are any, count before floats."""
    shape, legacy, floats, doubles, is_nvcaffe = None, {}, [], [], False
    for number, wire, first, last in fields(data, start, end):
        if last > end:
            raise Broken
        if number == BLOB["shape"] and wire == BYTES:
            shape = read_shape(data, first, last)
        elif number == BLOB["data"] and wire in (BYTES, FIXED32):
            floats.append((first, last, "<f4"))
        elif number == BLOB["double_data"] and wire in (BYTES, FIXED64):
            doubles.append((first, last, "<f8"))
        elif wire == VARINT:
            legacy[number] = varint(data, first, last)[0]
        elif wire == BYTES and number not in BLOB.values():
            is_nvcaffe = True
    sizes = ("num", "channels", "height", "width")
    if any(BLOB[size] in legacy for size in sizes):
        return Blob(data, [legacy.get(BLOB[size], 0) for size in sizes], True, doubles or floats)
    return Blob(data, shape or [], False, doubles or floats, is_nvcaffe)


def read_shape(data, start, end):
    sizes = []
    for number, _, first, last in fields(data, start, end):
        if last > end:
            raise Broken
        if number == SHAPE["dim"]:
            while first < last:  # one number, or several packed together
                size, first = varint(data, first, last)
                sizes.append(size)
    return sizes


def text(data, start, end):
    return bytes(data[start:end]).decode("utf-8", "replace")


def fields(data, start, end):
    """Yield (number, wire type, first byte of the value, its end); the end may lie beyond `end`."""
    while start < end:
        tag, start = varint(data, start, end)
        number, wire = tag >> 3, tag & 7
        if not number:
            raise Broken
        if wire == VARINT:
            last = varint(data, start, end)[1]
        elif wire == BYTES:
            size, start = varint(data, start, end)
            last = start + size
        elif wire in (FIXED32, FIXED64):
            last = start + (4 if wire == FIXED32 else 8)
        else:
            raise Broken
        yield number, wire, start, last
        start = last


def varint(data, start, end):
    """The number that begins at `start`, and the byte after it."""
    value = shift = 0
    for place in range(start, min(end, start + 10)):
        value |= (data[place] & 0x7F) << shift
        if not data[place] & 0x80:
            return value, place + 1
        shift += 7
    raise Broken
