"""inspect: which layers does a .caffemodel hold, and does Caffe itself read them?"""

import os
import shutil
import tempfile

import caffe
import caffemodel
import numpy
from caffe.proto import caffe_pb2
from errors import WorkerError


def run(request, emit):
    """Look at `request["weights"]`; open the layers of `request["expected"]` in real Caffe.

    `expected` maps a layer's name to the shapes of its blobs in the net that is to be trained.

    Returns form ("V2", "V1", "V0"), bytes, net (caffemodel.carried_net), and layers in the file's
    order: each with name, shapes
    (as in the file), legacy (4-D num/channels/height/width), finite (no NaN, no infinity), and
    caffe: the shapes that Caffe gave the layer when it copied it into a net, bit for bit as in the
    file; null where the layer is not an expected one or cannot be one by the rank of its blobs.

    Raises WorkerError for a file that is empty, foreign, truncated or broken.
    """
    path = request["weights"]
    form, layers = caffemodel.read(path)
    opened = open_in_caffe(path, layers, request["expected"])
    return {
        "form": form,
        "bytes": os.path.getsize(path),
        "net": caffemodel.carried_net(path),
        "layers": [
            {
                "name": layer.name,
                "shapes": [list(blob.shape) for blob in layer.blobs],
                "legacy": any(blob.legacy for blob in layer.blobs),
                "finite": all(bool(numpy.isfinite(blob.array()).all()) for blob in layer.blobs),
                "caffe": opened.get(layer.name),
            }
            for layer in layers
        ],
    }


def open_in_caffe(path, layers, expected):
    """Layer -> shapes as Caffe reads them, for the layers that an expected one can hold.

    Caffe copies weights by a layer's name alone, so the net needs no data flow: each layer has an
    input of its own, just large enough for its kernel. That holds nothing but the weights.
    """
    shapes = {}
    for layer in layers:
        wanted = expected.get(layer.name)
        if wanted is not None:
            fitted = [fit(blob, want) for blob, want in zip(layer.blobs, wanted)]
            if len(layer.blobs) == len(wanted) and is_layer(fitted):
                shapes[layer.name] = fitted
    if not shapes:
        return {}
    # Caffe copies every layer that has a name of ours; of two with one name, the last one stays.
    by_name = {layer.name: layer for layer in layers}
    net = probe(shapes)
    net.copy_from(path)
    for name, blobs in shapes.items():
        for index, blob in enumerate(by_name[name].blobs):
            copied = net.params[name][index].data
            if list(copied.shape) != blobs[index] or not same_bits(copied, blob.array()):
                raise WorkerError(
                    "%s: layer '%s': Caffe did not read blob %d as the file has it"
                    % (path, name, index)
                )
    return shapes


def fit(blob, wanted):
    """A blob's shape with a legacy one's leading ones cut to the wanted rank, as Caffe takes it."""
    extra = len(blob.shape) - len(wanted)
    if blob.legacy and extra > 0 and all(size == 1 for size in blob.shape[:extra]):
        return list(blob.shape[extra:])
    return list(blob.shape)


def is_layer(shapes):
    """Whether these are the blobs of a layer that `probe` can make.

    That is a convolution or inner product (weights, or with biases), or one number a channel, with
    or without a second one: what Scale, PReLU and Bias have.
    """
    weights, biases = shapes[0], shapes[1:]
    fits = len(weights) in (1, 2, 4) and min(weights) > 0
    return fits and (not biases or biases == [[weights[0]]])


def probe(shapes):
    """A net with nothing but layers of these weight shapes."""
    net = caffe_pb2.NetParameter(name="weights only")
    for name, blobs in shapes.items():
        weights = blobs[0]
        data = net.layer.add(name=name + "/input", type="Input", top=[name + "/input"])
        layer = net.layer.add(name=name, bottom=[name + "/input"], top=[name])
        sizes = [1, *weights[1:]]
        if len(weights) == 4:
            layer.type = "Convolution"
            parameter = layer.convolution_param
            parameter.kernel_h, parameter.kernel_w = weights[2:]
        elif len(weights) == 1:
            layer.type = "Scale"
            layer.scale_param.bias_term = len(blobs) == 2
            data.input_param.shape.add(dim=[1, weights[0]])
            continue
        else:
            layer.type = "InnerProduct"
            parameter = layer.inner_product_param
        parameter.num_output = weights[0]
        parameter.bias_term = len(blobs) == 2
        data.input_param.shape.add(dim=sizes)
    folder = tempfile.mkdtemp()
    try:
        path = os.path.join(folder, "weights_only.prototxt")
        with open(path, "w") as handle:
            handle.write(str(net))
        return caffe.Net(path, caffe.TEST)
    finally:
        shutil.rmtree(folder)


def same_bits(one, other):
    """Whether two float arrays hold the same bits (NaN equals itself, -0 is not 0)."""
    one = numpy.ascontiguousarray(one, "<f4").ravel()
    other = numpy.ascontiguousarray(other, "<f4").ravel()
    return numpy.array_equal(one.view("<u4"), other.view("<u4"))
