"""Which of a net's outputs is the classifier's: the same one for validation, test and use."""

from errors import WorkerError

CLASSIFIERS = ("InnerProduct", "Convolution")
# Losses that are the softmax loss of some class scores.
SOFTMAX_LOSSES = ("SoftmaxWithLoss", "MultinomialLogisticLoss")
OTHER_LOSSES = (
    "ContrastiveLoss",
    "EuclideanLoss",
    "HingeLoss",
    "InfogainLoss",
    "SigmoidCrossEntropyLoss",
)


def deploy_logits(layers):
    """The class scores of a deploy net: what its last Softmax reads, or what it ends in."""
    found = [layer.bottom[0] for layer in layers if layer.type == "Softmax"]
    if found:
        return found[-1]
    return layers[-1].top[0] if layers and len(layers[-1].top) else None


def scored(layers, path, logits=None):
    """The blobs of logits and labels that validation and test compare, of a TEST net's layers.

    They are those of its softmax loss or, without any loss, of its Accuracy. `logits`: the deploy
    net's class scores; of several heads, the one with these counts. Raises WorkerError where there
    is none, no telling which one, or one whose loss isn't the softmax loss of every image.
    """
    heads = [head(layer, layers) for layer in layers if layer.type in SOFTMAX_LOSSES]
    others = [layer for layer in layers if layer.type in OTHER_LOSSES]
    if not heads and others:
        raise WorkerError(
            "{}: layer '{}' ({}): validation and test give class probabilities and the softmax "
            "loss, so the TEST net must have a SoftmaxWithLoss, or an Accuracy and no loss "
            "(include {{ phase: TRAIN }} keeps this one to the training)".format(
                path, others[-1].name, others[-1].type
            )
        )
    heads = heads or [head(layer, layers) for layer in layers if layer.type == "Accuracy"]
    if not heads:
        raise WorkerError(
            "{}: the TEST net has neither a SoftmaxWithLoss nor an Accuracy layer, so there is "
            "nothing to score".format(path)
        )
    if len({scores for scores, _, _ in heads}) > 1:
        heads = [each for each in heads if each[0] == logits] or heads
    if len({scores for scores, _, _ in heads}) > 1:
        raise WorkerError(
            "{}: the TEST net has several losses ({}), and none of them is of the class scores of "
            "the deploy net ({}): which one is to be scored?".format(
                path, ", ".join(layer.name for _, _, layer in heads), logits or "it has none"
            )
        )
    scores, labels, layer = heads[0]
    if layer.loss_param.HasField("ignore_label") or layer.accuracy_param.HasField("ignore_label"):
        raise WorkerError(
            "{}: layer '{}': ignore_label leaves images out, but each validation and test image "
            "counts once; take it out of the TEST net".format(path, layer.name)
        )
    return scores, labels


def head(layer, layers):
    """The class scores and labels that a layer compares, and the layer."""
    scores, labels = layer.bottom[:2]
    for each in layers:
        if layer.type != "SoftmaxWithLoss" and each.type == "Softmax" and scores in each.top:
            scores = each.bottom[0]
    return scores, labels, layer


def classifier(layers, path):
    """The place of the classifier in a deploy net: the last InnerProduct or Convolution."""
    for place in range(len(layers) - 1, -1, -1):
        if layers[place].type in CLASSIFIERS:
            return place
    raise WorkerError("{} has no classifier, no InnerProduct or Convolution".format(path))


def last_maps(net, layers, path):
    """The blob of the last maps that lie in a plane, before any pooling of them.

    It is where Grad-CAM looks: conv5 of CaffeNet, the sum of the last block of a ResNet.
    """
    blob = layers[classifier(layers, path)].bottom[0]
    below = layers[: classifier(layers, path)]
    while below:
        shape = net.blobs[blob].data.shape
        writers = [layer for layer in below if blob in layer.top]
        if not writers:
            break
        below = below[: below.index(writers[-1])]
        flat = len(shape) != 4 or shape[2] * shape[3] == 1
        if flat or writers[-1].type == "Pooling":
            blob = writers[-1].bottom[0]
        elif blob not in writers[-1].bottom:
            return blob
    raise WorkerError("{} has no maps that lie in a plane".format(path))
