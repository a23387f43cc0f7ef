"""bench: how fast this Caffe trains, tests and extracts, and how long it waits for data."""

import os
import shutil
import tempfile
import time

import caffe
import device
import nets
import prototxts
from solvers import plain_solver


def run(request, emit):
    """Time one kind of work after a warm-up.

    request: kind ("train", "test", "extract"), net (path of a train_val, or for "extract" of a
    deploy net), batch (images a pass; None leaves the net's), iter_size (passes an update), blob
    (for "extract"), warmup and rounds (updates or passes), gpu (device or None).
    Returns images, seconds, waiting (of these seconds, in the Data layer; 0 for "extract", whose
    images are there already), memory (peak bytes of the process, without the GPU's).
    Events: ready (with pid, before the timing).
    """
    device.choose(request["gpu"])
    folder = tempfile.mkdtemp()
    try:
        net, step, images = prepare(request, folder)
    finally:
        shutil.rmtree(folder)
    clock = DataClock(net)
    for _ in range(request["warmup"]):
        step()
    emit("ready", pid=os.getpid())
    clock.seconds = 0.0
    start = time.time()
    for _ in range(request["rounds"]):
        step()
    seconds = time.time() - start
    return {
        "images": images * request["rounds"],
        "seconds": seconds,
        "waiting": 0.0 if request["kind"] == "extract" else clock.seconds,
        "memory": peak_memory(),
    }


class DataClock:
    """Counts the time in a net's first layer: the Data layer, which waits for its thread."""

    def __init__(self, net):
        self.seconds = 0.0
        self.began = 0.0
        net.before_forward(self.before)
        net.after_forward(self.after)

    def before(self, layer):
        """Caffe calls it before each layer."""
        if layer == 0:
            self.began = time.time()

    def after(self, layer):
        """Caffe calls it after each layer."""
        if layer == 0:
            self.seconds += time.time() - self.began


def prepare(request, folder):
    """The net, a function that does one round and waits for its end, and its number of images."""
    param = prototxts.read_net(request["net"])
    if request["kind"] == "extract":
        nets.cut(param, request["blob"], request["net"])
    if request["batch"]:
        for layer in param.layer:
            if layer.type == "Data":
                layer.data_param.batch_size = request["batch"]
            elif layer.type == "Input":
                layer.input_param.shape[0].dim[0] = request["batch"]
    if request["kind"] != "train":
        path = os.path.join(folder, "net.prototxt")
        prototxts.write(param, path)
        net = caffe.Net(path, caffe.TEST)
        last = request["blob"] or net._blob_names[len(net._blob_names) - 1]

        def forward():
            net.forward()
            net.blobs[last].data.sum()  # fetches it from the GPU: nothing is left undone

        return net, forward, net.blobs[net._blob_names[0]].data.shape[0]
    made = plain_solver(param, folder, request["gpu"], 1e-5, iter_size=request["iter_size"])
    net = made.net
    learning = net.params[list(net.params)[-1]][0]

    def update():
        made.step(1)
        learning.data[0].sum()  # the update itself has ended when the weights can be read

    return net, update, net.blobs[net._blob_names[0]].data.shape[0] * request["iter_size"]


def peak_memory():
    """The most memory that this process ever held, in bytes; 0 where the system does not say."""
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except IOError:
        pass
    return 0
