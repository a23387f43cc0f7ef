"""parity: what a training net computes on one device, written down to be compared with another."""

import os
import shutil
import tempfile

import caffe
import device
import numpy
import prototxts
from caffe.proto import caffe_pb2
from errors import WorkerError
from solvers import plain_solver


def run(request, emit):
    """Run one forward and backward pass, then some iterations, and write all numbers to a folder.

    request: train_val (path), weights (path; copied by name; made by the net's own fillers with
    `seed` and saved there if it is not there yet), batch, iterations, lr, seed, classes, gpu
    (device or None), out (path of a folder). The net is the TRAIN net of train_val without what
    draws random numbers, because each device draws its own: data and labels are made here, dropout
    is left out. Files: forward.npz (every blob), backward.npz (gradients of every blob that has
    one, and of every layer's weights), weights.npz (after the iterations).
    Events: iteration. Returns losses, a list of `iterations` numbers, and gpu.
    """
    device.choose(request["gpu"])
    caffe.set_random_seed(request["seed"])
    folder = tempfile.mkdtemp()
    try:
        net = prototxts.read_net(request["train_val"])
        without_random_numbers(net, request)
        solver = plain_solver(net, folder, request["gpu"], request["lr"], seed=request["seed"])
    finally:
        shutil.rmtree(folder)
    net = solver.net
    if not os.path.exists(request["weights"]):
        net.save(request["weights"])
    net.copy_from(request["weights"])
    numbers = numpy.random.RandomState(request["seed"])
    feed(net, numbers, request["classes"])
    net.clear_param_diffs()
    net.forward()
    save(request["out"], "forward", {name: blob.data for name, blob in net.blobs.items()})
    net.backward()
    gradients = {name: blob.diff for name, blob in net.blobs.items() if blob.diff.any()}
    gradients.update(
        ("{}[{}]".format(name, index), blob.diff)
        for name, blobs in net.params.items()
        for index, blob in enumerate(blobs)
    )
    save(request["out"], "backward", gradients)
    losses = []
    loss = [name for name, weight in zip(net._blob_names, net._blob_loss_weights) if weight]
    for done in range(request["iterations"]):
        feed(net, numbers, request["classes"])
        solver.step(1)
        losses.append(float(sum(net.blobs[name].data.sum() for name in loss)))
        emit("iteration", done=done + 1)
    save(
        request["out"],
        "weights",
        {
            "{}[{}]".format(name, index): blob.data
            for name, blobs in net.params.items()
            for index, blob in enumerate(blobs)
        },
    )
    return {"losses": losses, "gpu": request["gpu"]}


def without_random_numbers(net, request):
    """Inputs in place of the Data layer, no dropout, and nothing of the TEST net."""
    kept = [
        layer
        for layer in prototxts.in_phase(net, caffe.TRAIN)
        if layer.type not in ("Dropout", "Accuracy")
    ]
    data = [layer for layer in kept if layer.type == "Data"]
    if len(data) != 1 or len(data[0].top) != 2 or not data[0].transform_param.crop_size:
        raise WorkerError(
            "{}: the TRAIN net must have one Data layer with data, label and a crop_size".format(
                request["train_val"]
            )
        )
    crop = data[0].transform_param.crop_size
    inputs = caffe_pb2.LayerParameter(name="data", type="Input", top=data[0].top)
    inputs.input_param.shape.add(dim=[request["batch"], 3, crop, crop])
    inputs.input_param.shape.add(dim=[request["batch"]])
    layers = [inputs] + [layer for layer in kept if layer.type != "Data"]
    del net.layer[:]
    net.layer.extend(layers)


def feed(net, numbers, classes):
    """A batch like images with their mean taken off: patches of colour, and noise. And labels."""
    data, label = (net.blobs[name].data for name in list(net.top_names["data"]))
    count, _, height, width = data.shape
    coarse = numbers.uniform(-110, 130, size=(count, 3, height // 16 + 1, width // 16 + 1))
    patches = coarse.repeat(16, axis=2).repeat(16, axis=3)[:, :, :height, :width]
    data[...] = patches + numbers.normal(0, 8, size=data.shape)
    label[...] = numbers.randint(0, classes, size=label.shape)


def save(folder, name, arrays):
    """Write arrays (copies: Caffe's own memory changes) to `folder`/`name`.npz."""
    with open(os.path.join(folder, name + ".npz"), "wb") as handle:
        numpy.savez(handle, **arrays)
