"""lacking: which layers of a net's TEST phase have no weights in a .caffemodel?

Caffe copies by name and says nothing of a layer that it does not find: it stays random.
"""

import caffe
import caffemodel
import prototxts

# Layer types that hold weights (their blobs_ in Caffe's source).
LEARNT = {
    "BatchNorm",
    "Bias",
    "Convolution",
    "Deconvolution",
    "Embed",
    "InnerProduct",
    "LSTM",
    "PReLU",
    "Parameter",
    "RNN",
    "Scale",
}


def run(request, emit):
    """Look for the layers of `request["net"]` (a prototxt) in `request["weights"]`.

    Returns lacking (names, in the net's order) and layers (the names in the file). Raises
    WorkerError for a prototxt or a .caffemodel that can't be read.
    """
    net = prototxts.read_net(request["net"])
    _, layers = caffemodel.read(request["weights"])
    there = [layer.name for layer in layers]
    wanted = [layer.name for layer in prototxts.in_phase(net, caffe.TEST) if layer.type in LEARNT]
    return {"lacking": [name for name in wanted if name not in there], "layers": there}
