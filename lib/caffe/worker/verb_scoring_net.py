"""scoring_net: from any net of somebody's weights, one that scores an LMDB.

Its data comes from an LMDB, whatever it came from before, and it ends in one SoftmaxWithLoss. A
train_val net may have another backend, several heads or none; a deploy net has no data, only an
input.
"""

import caffe
import prototxts
from caffe.proto import caffe_pb2
from errors import WorkerError

DATA = {"Data", "DummyData", "HDF5Data", "ImageData", "MemoryData", "WindowData"}
LOSSES = {"SoftmaxWithLoss", "HingeLoss", "SigmoidCrossEntropyLoss", "MultinomialLogisticLoss"}
COUNTS = {"Accuracy", "HDF5Output", "Silence"}  # of no use here, or writing files
BATCH = 50  # where the net does not say


def run(request, emit):
    """Write the scoring net of `request["net"]` to `request["out"]`.

    request: net, out, lmdb (paths), mean (path; None leaves the net's own), deploy_mean (path: the
    mean of a deploy net, which has none of its own, unless `mean` is given). Returns logits (the
    blob that is scored), mean (the mean file that is used; None for other means or none). Raises
    WorkerError for a net that can't be made to score images.
    """
    path = request["net"]
    param = prototxts.read_net(path)
    layers = prototxts.in_phase(param, caffe.TEST)
    sources = [layer for layer in layers if layer.type in DATA]
    if len(sources) > 1:
        raise WorkerError(
            "{}: its TEST net has {} layers of data ({}); one is needed".format(
                path, len(sources), ", ".join(layer.name for layer in sources)
            )
        )
    if sources:
        data = from_data(sources[0], path)
    else:
        data, layers = from_input(param, layers, path)
    data.data_param.source = request["lmdb"]
    data.data_param.backend = caffe_pb2.DataParameter.LMDB
    transform = data.transform_param
    mean = request["mean"] or (None if sources else request["deploy_mean"])
    if mean:
        transform.mean_file = mean
        transform.ClearField("mean_value")
    logits, unused = scored(layers, path)
    made = caffe_pb2.NetParameter(name=param.name)
    made.layer.add().CopyFrom(data)
    for layer in layers:
        if layer.type in DATA or layer.name in unused:
            continue
        kept = made.layer.add()
        kept.CopyFrom(layer)
        for rules in ("include", "exclude"):
            kept.ClearField(rules)
    loss = made.layer.add(name="scored", type="SoftmaxWithLoss", top=["scored"])
    loss.bottom.extend([logits, data.top[1]])
    prototxts.write(made, request["out"])
    return {"logits": logits, "mean": transform.mean_file or None}


def from_data(layer, path):
    """A Data layer in the place of a net's own, with its transformation and batch."""
    if not layer.top:
        raise WorkerError("{}: layer '{}' gives no images".format(path, layer.name))
    data = caffe_pb2.LayerParameter(name=layer.name, type="Data")
    data.top.extend([layer.top[0], layer.top[1] if len(layer.top) > 1 else "label"])
    data.transform_param.CopyFrom(layer.transform_param)
    data.transform_param.ClearField("mirror")
    sizes = (layer.data_param.batch_size, layer.image_data_param.batch_size)
    data.data_param.batch_size = next((size for size in sizes if size), BATCH)
    return data


def from_input(param, layers, path):
    """A Data layer in the place of a deploy net's input, and the layers without it."""
    inputs = [layer for layer in layers if layer.type == "Input"]
    names = list(param.input) + [top for layer in inputs for top in layer.top]
    if len(names) != 1:
        raise WorkerError(
            "{}: it has {} inputs ({}) and no layer of data; a deploy net has one input".format(
                path, len(names), ", ".join(names) or "none"
            )
        )
    if param.input_dim:
        shape = list(param.input_dim)
    elif param.input_shape:
        shape = list(param.input_shape[0].dim)
    else:
        shapes = inputs[0].input_param.shape if inputs else []
        shape = list(shapes[0].dim) if shapes else []
    if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3]:
        raise WorkerError(
            "{}: its input is {}; an input of square colour images is needed, as 10 x 3 x 227 x "
            "227".format(path, " x ".join(map(str, shape)) or "without a shape")
        )
    data = caffe_pb2.LayerParameter(name="data", type="Data", top=[names[0], "label"])
    data.transform_param.crop_size = shape[2]
    data.data_param.batch_size = shape[0] or BATCH
    return data, [layer for layer in layers if layer.type != "Input"]


def scored(layers, path):
    """The blob of logits of the main head, and the names of the layers that are not needed.

    The main head is the one whose loss has the largest weight, as GoogLeNet's last; of equals the
    last. Without a loss it is what the last layer gives (before its Softmax).
    """
    unused = {layer.name for layer in layers if layer.type in LOSSES | COUNTS}
    losses = [layer for layer in layers if layer.type == "SoftmaxWithLoss"]
    if losses:
        weights = [layer.loss_weight[0] if layer.loss_weight else 1.0 for layer in losses]
        best = max(weights)
        main = [layer for layer, weight in zip(losses, weights) if weight == best][-1]
        return main.bottom[0], unused
    left = [layer for layer in layers if layer.name not in unused and layer.type not in DATA]
    if not left:
        raise WorkerError("{}: it has no layers to score with".format(path))
    last = left[-1]
    if last.type == "Softmax":
        return last.bottom[0], unused | {last.name}
    return last.top[0], unused
