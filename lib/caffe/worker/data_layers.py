"""The layers that a net reads its images and labels from."""

import os
import struct

from caffe.proto import caffe_pb2
from errors import WorkerError

# Layer type -> its own parameter, with source and batch_size.
READERS = {"Data": "data_param", "ImageData": "image_data_param"}
# Other layers without bottoms that may stand where a net's images come from.
OTHERS = ("AnnotatedData", "DummyData", "HDF5Data", "Input", "MemoryData", "Python", "WindowData")


def sources(layers):
    """The layers, of these, that a net's data come from."""
    return [
        layer
        for layer in layers
        if not len(layer.bottom) and len(layer.top) and layer.type in (*READERS, *OTHERS)
    ]


def reader(layers, path, phase):
    """The one layer of a net that reads images and labels; WorkerError where it is none of ours.

    Images of a list or of a database can be counted and exchanged for the test images; what other
    layers give can't.
    """
    found = sources(layers)
    if len(found) != 1:
        raise WorkerError(
            "{}: the {} net must have exactly one Data layer, not {}".format(
                path, phase, len(found)
            )
        )
    layer = found[0]
    at = "{}: layer '{}'".format(path, layer.name)
    if layer.type not in READERS:
        raise WorkerError(
            "{} ({}): the {} net must read a Data or ImageData layer, so that every image can be "
            "counted".format(at, layer.type, phase)
        )
    if len(layer.top) != 2:
        raise WorkerError("{}: it must give images and labels, two tops".format(at))
    return layer


def check_exact(layer, path, size):
    """Raise WorkerError unless each image of a reader counts once, and test images can replace it.

    size: height and width of the images in the task's LMDBs.
    """
    at = "{}: layer '{}'".format(path, layer.name)
    own = layer.image_data_param
    if layer.type != "ImageData":
        return
    if own.shuffle:
        raise WorkerError(
            "{}: `shuffle: true` in TEST: batches reach over the end of the list, so some images "
            "would count twice and others never; take it out of the TEST layer".format(at)
        )
    if (own.new_height, own.new_width) != (size, size) or not own.is_color:
        raise WorkerError(
            "{}: the run is tested on the task's LMDB, whose images are {} x {} in colour, but "
            "this layer gives others; it needs `new_height: {} new_width: {}` (and colour) to be "
            "tested".format(at, size, size, size, size)
        )


def about(layer):
    """What a reader reads: type, source, backend (None for a list), batch, tops and transform."""
    own = getattr(layer, READERS[layer.type])
    backend = None
    if layer.type == "Data":
        backend = caffe_pb2.DataParameter.DB.Name(own.backend)
    return {
        "layer": layer.name,
        "type": layer.type,
        "source": own.source,
        "backend": backend,
        "batch": own.batch_size,
        "tops": list(layer.top),
        "transform": transform(layer.transform_param),
    }


def can_be_counted(layer):
    """Whether `count` knows how many images a layer reads."""
    is_lmdb = layer.data_param.backend == caffe_pb2.DataParameter.LMDB
    return layer.type == "ImageData" or (layer.type == "Data" and is_lmdb)


def count(layer, path):
    """How many images a reader reads before it begins again.

    WorkerError for a LevelDB, whose records nothing here can count.
    """
    if layer.type == "ImageData":
        with open(layer.image_data_param.source, "rb") as handle:
            return sum(1 for line in handle if line.strip())
    if layer.data_param.backend != caffe_pb2.DataParameter.LMDB:
        raise WorkerError(
            "{}: layer '{}' reads a LevelDB, whose images can't be counted here; make an LMDB of "
            "it, and say `backend: LMDB`".format(path, layer.name)
        )
    return lmdb_entries(os.path.join(layer.data_param.source, "data.mdb"))


# Of LMDB's data.mdb (lmdb.h, mdb.c: MDB_page, MDB_meta, MDB_db): two meta pages begin it; the newer
# one counts. Caffe's Python has no package for it.
META = struct.Struct("=16x 4s 4x 8x 8x 48x 32x Q 8x 8x Q")
MAGIC = struct.pack("=I", 0xBEEFC0DE)


def lmdb_entries(path):
    """The number of records of an LMDB; WorkerError when the file is none."""
    with open(path, "rb") as handle:
        head = handle.read(64 * 1024 + META.size)
    sizes = [4096 << shift for shift in range(5)]
    found = [META.unpack_from(head, 0)] if len(head) >= META.size else []
    for size in sizes:
        if len(head) >= size + META.size:
            found.append(META.unpack_from(head, size))
    good = [(transaction, entries) for magic, entries, transaction in found if magic == MAGIC]
    if not good:
        raise WorkerError("{} is no LMDB".format(path))
    return int(max(good)[1])


def transform(param):
    """A TransformationParameter as plain values."""
    return {
        "crop": param.crop_size,
        "mean_file": param.mean_file or None,
        "mean_value": list(param.mean_value),
        "scale": param.scale,
        "mirror": param.mirror,
        "gray": param.force_gray,
        "color": param.force_color,
    }


def read_lmdb(layer, lmdb):
    """Let a reader read an LMDB instead, with the transformation and batch that it has."""
    batch = getattr(layer, READERS[layer.type]).batch_size
    for name in READERS.values():
        layer.ClearField(name)
    layer.type = "Data"
    layer.data_param.source = lmdb
    layer.data_param.batch_size = batch
    layer.data_param.backend = caffe_pb2.DataParameter.LMDB


def as_inputs(layers, size):
    """Copies of the layers with each source of data as an Input of its own shape, one image.

    `size`: height and width of the images where no crop is said.
    """
    made = []
    for layer in layers:
        new = caffe_pb2.LayerParameter()
        if layer not in sources([layer]) or layer.type == "Input":
            new.CopyFrom(layer)
            new.ClearField("include")
            new.ClearField("exclude")
        else:
            new.name, new.type = layer.name, "Input"
            new.top.extend(layer.top)
            crop = layer.transform_param.crop_size or size
            channels = 1 if layer.transform_param.force_gray else 3
            for index in range(len(layer.top)):
                new.input_param.shape.add(dim=[1, channels, crop, crop] if index == 0 else [1])
        made.append(new)
    return made
