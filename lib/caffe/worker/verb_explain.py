"""explain: what a classifier says of one image, and which parts of it made it say so."""

import heads
import nets
import numpy
from errors import WorkerError
from scoring import probabilities as probabilities_of


def run(request, emit):
    """Probabilities, class-activation map, saliency and a feature blob of one image.

    request: deploy, weights, mean, net (paths; net: the run's own train_val, or None), images
    (path of raw uint8 pixels, BGR, 3 x height x width), size ([height, width]), layer (blob of the
    map; None: heads.last_maps), label (the class to explain, None for the likeliest), blob
    (features to return, "fc7"), out (path of the .npz to write), gpu.
    The .npz holds probabilities (classes,), cam (height, width of the layer) from 0 to 1, saliency
    (crop, crop) from 0 to 1, features (dims,).
    Grad-CAM: Selvaraju et al. (2017), on the class score before the softmax: each map of the layer
    is weighted by the mean of its gradient, their sum is cut at 0. Saliency: Simonyan et al.
    (2014), the largest absolute gradient of the three colours of each pixel.
    Returns label, layer, crop ([height, width]). Raises WorkerError when the net is no
    classifier, or has no such layer or label.
    """
    model = nets.load(request, request["gpu"], batch=1, backward=True)
    net, param = model.net, model.param
    score, answer = class_scores(param, request["deploy"])
    layer = map_layer(net, param, request)
    shape = (1, 3, *request["size"])
    pixels = numpy.fromfile(request["images"], numpy.uint8, int(numpy.prod(shape)))
    model.feed(pixels.reshape(shape))
    net.forward()
    if answer is None:
        shares = probabilities_of(net.blobs[score].data.reshape(1, -1).astype(numpy.float64))[0]
    else:
        shares = net.blobs[answer].data.reshape(-1).astype(numpy.float64)
    label = int(shares.argmax()) if request["label"] is None else request["label"]
    if not 0 <= label < len(shares):
        raise WorkerError("the net has {} classes, none with number {}".format(len(shares), label))
    if request["blob"] not in net.blobs:
        raise WorkerError("{} has no blob '{}'".format(request["deploy"], request["blob"]))
    features = net.blobs[request["blob"]].data.reshape(-1).copy()
    maps = net.blobs[layer].data[0].copy()

    for blob in net.blobs.values():
        blob.diff[...] = 0
    net.blobs[score].diff.reshape(-1)[label] = 1
    # A layer's gradient is that at its output, ReLU included, once all layers above have run
    # backward; the ReLU, which works in place, then turns it into the gradient before the ReLU.
    layers = list(net._layer_names)
    below = layers.index(writer(param, layer))
    net._backward(layers.index(writer(param, score)), below + 1)
    gradient = net.blobs[layer].diff[0].copy()
    net._backward(below, 0)
    cam = numpy.maximum((gradient.mean(axis=(1, 2))[:, None, None] * maps).sum(axis=0), 0)
    saliency = numpy.abs(net.blobs[model.input].diff[0]).max(axis=0)
    with open(request["out"], "wb") as handle:
        numpy.savez(
            handle,
            probabilities=shares,
            cam=scaled(cam),
            saliency=scaled(saliency),
            features=features,
        )
    return {"label": label, "layer": layer, "crop": list(model.crop)}


def class_scores(param, path):
    """The blob of the class scores, and that of their Softmax; None where the net has none."""
    found = [layer for layer in param.layer if layer.type == "Softmax"]
    if found:
        return found[-1].bottom[0], found[-1].top[0]
    layers = list(param.layer)
    if not layers or layers[-1].type not in heads.CLASSIFIERS:
        raise WorkerError(
            "{} ends in neither a Softmax nor class scores: it is no classifier".format(path)
        )
    return heads.deploy_logits(layers), None


def map_layer(net, param, request):
    """The blob of the class-activation map."""
    layer = request["layer"]
    if layer is None:
        layer = heads.last_maps(net, list(param.layer), request["deploy"])
    if layer not in net.blobs or len(net.blobs[layer].data.shape) != 4:
        raise WorkerError("{} has no convolution '{}'".format(request["deploy"], layer))
    return layer


def writer(param, blob):
    """The last layer that writes a blob, by name: its ReLU where that works in place."""
    return [layer.name for layer in param.layer if blob in layer.top][-1]


def scaled(values):
    """From 0 to 1; all zero stays so."""
    return values / (values.max() or 1)
