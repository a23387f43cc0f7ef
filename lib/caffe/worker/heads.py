"""Which of a net's outputs is the classifier's: the same one for validation, test and use."""

from errors import WorkerError

LOSS = "SoftmaxWithLoss"
CLASSIFIERS = ("InnerProduct", "Convolution")


def deploy_logits(layers):
    """The blob that the last Softmax of a deploy net reads; None where it has no Softmax."""
    found = [layer.bottom[0] for layer in layers if layer.type == "Softmax"]
    return found[-1] if found else None


def scored(layers, path, logits=None):
    """The blobs of logits and labels that validation and test compare, of a TEST net's layers.

    `logits`: what the deploy net's Softmax reads; of several losses, the one that reads it counts.
    WorkerError where there is no loss, or no telling which one.
    """
    losses = [layer for layer in layers if layer.type == LOSS]
    if not losses:
        raise WorkerError(
            "{}: the TEST net has no SoftmaxWithLoss layer, so there is nothing to score".format(
                path
            )
        )
    if len({layer.bottom[0] for layer in losses}) > 1:
        losses = [layer for layer in losses if layer.bottom[0] == logits] or losses
    if len({layer.bottom[0] for layer in losses}) > 1:
        raise WorkerError(
            "{}: the TEST net has several losses ({}), and none of them reads what the deploy "
            "net's Softmax reads ({}): which one is to be scored?".format(
                path, ", ".join(layer.name for layer in losses), logits or "it has none"
            )
        )
    return losses[0].bottom[0], losses[0].bottom[1]


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
