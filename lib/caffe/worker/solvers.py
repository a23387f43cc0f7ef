"""Caffe's solver from the user's solver.prototxt, ready to be stepped."""

import os

import caffe
import data_layers
import heads
import prototxts
from caffe.proto import caffe_pb2
from errors import WorkerError
from scoring import check_labels

NEVER = 2**31 - 1  # an iteration beyond all


def load_solver(param, request):
    """Caffe's solver from the user's file, with testing and snapshots left to us.

    The test net is still built, as `caffe train` builds it, because its fillers draw from the same
    random numbers: so the weights come out as `caffe train`'s, bit for bit.

    request: solver (path), deploy (path of the net for single images), classes (how many, and the
    path of their list), run (folder for a file in between), snapshot_prefix, gpu (device or None).
    Raises WorkerError where the nets fit neither each other nor the classes.
    """
    check_one_net(param, request["solver"])
    written = prototxts.read_net(param.net)
    training, testing = train_layers(param, written), test_layers(param, written)
    prototxts.check_layers(training, param.net)
    prototxts.check_layers(testing, param.net)
    if param.max_iter <= 0:
        raise WorkerError("{}: max_iter must be positive".format(request["solver"]))
    used = caffe_pb2.SolverParameter()
    used.CopyFrom(param)
    if used.test_iter:
        used.test_interval = NEVER
    used.test_initialization = False
    used.snapshot = 0
    used.snapshot_prefix = request["snapshot_prefix"]
    used.snapshot_format = caffe_pb2.SolverParameter.BINARYPROTO  # not every Caffe has HDF5
    used.snapshot_after_train = False
    set_device(used, request["gpu"])
    deploy = weight_shapes(request["deploy"])  # before the solver seeds the random numbers
    path = os.path.join(request["run"], ".solver.in_use.prototxt")
    prototxts.write(used, path)
    try:
        solver = caffe.get_solver(path)
    finally:
        os.remove(path)
    # What the test of the run will need, said before it is trained.
    data_layers.reader(testing, param.net, "TEST")
    logits, _ = heads.scored(
        testing, param.net, heads.deploy_logits(deploy_layers(request["deploy"]))
    )
    check_deploy(deploy, request["deploy"], solver.net, param.net)
    check_classes(solver.net, param.net, logits, *request["classes"])
    return solver


def check_one_net(param, path):
    """Raise WorkerError unless a solver (SolverParameter) has one net, to train and to test."""
    if not param.net:
        others = [name for name, value in param.ListFields() if "net" in name.name]
        found = " (only {})".format(", ".join(each.name for each in others)) if others else ""
        raise WorkerError(
            "{}: no `net:` line{}; name one net, with its TRAIN and its TEST layers".format(
                path, found
            )
        )
    tests = len(param.test_net) + len(param.test_net_param) + len(param.test_state)
    if len(param.test_net) or len(param.test_net_param) or tests > 1:
        raise WorkerError(
            "{}: several test nets; leave one, the TEST layers of `net:`: the run is validated "
            "and tested by it".format(path)
        )


def train_layers(param, net):
    """The layers of `net` that the solver `param` trains by, by Caffe's own rules."""
    return prototxts.layers_in(net, prototxts.state(net, caffe.TRAIN, param.train_state))


def test_layers(param, net):
    """The layers of `net` that the solver `param` validates by, by Caffe's own rules."""
    return prototxts.layers_in(net, prototxts.state(net, caffe.TEST, *param.test_state))


def deploy_layers(path):
    """The layers of a deploy net."""
    return prototxts.in_phase(prototxts.read_net(path), caffe.TEST)


def weight_shapes(path):
    """Layer -> shapes of its weights, of the net in a prototxt."""
    prototxts.check_layers(deploy_layers(path), path)
    net = caffe.Net(path, caffe.TEST)
    return {name: [list(blob.data.shape) for blob in net.params[name]] for name in net.params}


def check_deploy(deploy, path, net, net_path):
    """Raise WorkerError unless every layer of the deploy net gets its weights from training."""
    for name, shapes in deploy.items():
        trained = [list(blob.data.shape) for blob in net.params.get(name, [])]
        if trained != shapes:
            raise WorkerError(
                "{} and {} differ in layer '{}' (weights {} and {}): what is changed in one must "
                "be changed in the other".format(
                    path, net_path, name, in_words(shapes), in_words(trained)
                )
            )


def in_words(shapes):
    """Shapes of blobs as people write them."""
    return ", ".join(" x ".join(map(str, shape)) for shape in shapes) or "none"


def check_classes(net, path, logits, count, names):
    """Raise WorkerError unless the classifier has an output for each class, and no more."""
    outputs = net.blobs[logits].data.shape[1] if logits in net.blobs else count
    if outputs != count:
        raise WorkerError(
            "{}: layer '{}' has {} outputs, but {} names {} classes: its num_output must be "
            "their number".format(path, logits, outputs, names, count)
        )


def classifiers(net):
    """The blobs of logits and labels that a SoftmaxWithLoss layer compares, of all of them."""
    return [
        net.bottom_names[name][:2]
        for name, layer in zip(net._layer_names, net.layers)
        if layer.type == "SoftmaxWithLoss"
    ]


def plain_solver(net, folder, gpu, rate, iter_size=1, seed=1):
    """Caffe's own SGD, with CaffeNet's settings and a fixed rate, on a net (NetParameter).

    The prototxts that Caffe reads are written to `folder`, and needed only while this runs.
    """
    net_path = os.path.join(folder, "net.prototxt")
    prototxts.write(net, net_path)
    solver = caffe_pb2.SolverParameter(
        net=net_path,
        base_lr=rate,
        lr_policy="fixed",
        momentum=0.9,
        weight_decay=0.0005,
        iter_size=iter_size,
        max_iter=NEVER,
        snapshot_after_train=False,
        random_seed=seed,
    )
    set_device(solver, gpu)
    path = os.path.join(folder, "solver.prototxt")
    prototxts.write(solver, path)
    return caffe.get_solver(path)


def set_device(solver, gpu):
    """Let a solver (SolverParameter) compute on a GPU, or on the CPU (None)."""
    modes = caffe_pb2.SolverParameter
    solver.solver_mode = modes.CPU if gpu is None else modes.GPU
    if gpu is not None:
        solver.device_id = gpu


def watch_losses(net, path):
    """A list that gets the net's loss (weighted sum of its loss blobs) after every forward pass.

    Labels are checked there too: Caffe would read past the end of a row of outputs.
    """
    weights = {
        name: weight for name, weight in zip(net._blob_names, net._blob_loss_weights) if weight
    }
    if not weights:
        raise WorkerError("the TRAIN net has no loss layer: nothing to train on")
    scored = classifiers(net)
    last = len(net.layers) - 1
    found = []

    def after(layer):
        if layer == last:
            for logits, labels in scored:
                check_labels(net.blobs[labels].data, net.blobs[logits].data.shape[1], path)
            found.append(sum(w * float(net.blobs[n].data.sum()) for n, w in weights.items()))

    net.after_forward(after)
    return found
