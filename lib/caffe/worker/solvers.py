"""Caffe's solver from the user's solver.prototxt, ready to be stepped."""

import os
import tempfile

import caffe
import data_layers
import heads
import prototxts
from caffe.proto import caffe_pb2
from errors import WorkerError
from scoring import check_labels

LOOKING_UP = ("SoftmaxWithLoss", "MultinomialLogisticLoss", "InfogainLoss", "HingeLoss")
NEVER = 2**31 - 1  # an iteration beyond all


def load_solver(param, nets, request):
    """Caffe's solver from the user's file, with testing and snapshots left to us.

    The test net is still built, as `caffe train` builds it, because its fillers draw from the same
    random numbers: so the weights come out as `caffe train`'s, bit for bit.

    nets: solver_nets.Nets of it. request: solver (path), deploy (path of the net for single
    images), classes (how many, and the path of their list), image_size (height and width of the
    images in the task's LMDBs), run (folder for a file in between), snapshot_prefix, gpu (device or
    None). Raises WorkerError where the nets fit neither each other nor the classes, and where the
    run could not be tested later.
    """
    for net in (nets.trained, nets.tested):
        prototxts.check_layers(net.layers, net.path)
        check_memory(net)
    if param.max_iter <= 0:
        raise WorkerError("{}: max_iter must be positive".format(request["solver"]))
    if len(param.weights):
        raise WorkerError(
            '{}: `weights: "{}"`: INIT= says what training starts from, and the record of the '
            "run too; take this line out".format(request["solver"], param.weights[0])
        )
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
    check_weights(deploy, request["deploy"], solver.net, nets.trained.path)
    check_tested(solver, nets, request)
    return solver


def check_memory(net):
    """Raise WorkerError for images that only a program of the user's own could give."""
    for layer in data_layers.sources(net.layers):
        if layer.type == "MemoryData":
            raise WorkerError(
                "{}: layer '{}' (MemoryData): its images are given by a program, and neither this "
                "nor `caffe train` gives any; use a Data or ImageData layer".format(
                    net.path, layer.name
                )
            )


def check_tested(solver, nets, request):
    """Raise WorkerError unless the trained net can be validated and tested.

    What its test later does with the task's test images is said before it is trained.
    """
    path = nets.tested.path
    data = data_layers.reader(nets.tested.layers, path, "TEST")
    data_layers.check_exact(data, path, request["image_size"])
    if nets.place is not None:
        data_layers.count(data, path)
    logits, _ = heads.scored(
        nets.tested.layers, path, heads.deploy_logits(deploy_layers(request["deploy"]))
    )
    net = build_unfilled(nets.tested) if nets.place is None else solver.test_nets[nets.place]
    size = data.transform_param.crop_size or request["image_size"]
    found = list(net.blobs[data.top[0]].data.shape[1:])
    if found != [3, size, size]:
        raise WorkerError(
            "{}: layer '{}' gives {}, but of the task's test images it would give {}: the run "
            "could not be tested".format(
                path, data.name, in_words([found]), in_words([[3, size, size]])
            )
        )
    tested = {name: [list(blob.data.shape) for blob in net.params[name]] for name in net.params}
    check_weights(tested, "the TEST net of {}".format(path), solver.net, nets.trained.path)
    shape = list(net.blobs[logits].data.shape)
    if len(shape) > 2 and max(shape[2:]) > 1:
        raise WorkerError(
            "{}: blob '{}' has class scores for {} places of an image, but validation and test "
            "count one class an image".format(path, logits, in_words([shape[2:]]))
        )
    check_classes(net, path, logits, *request["classes"])


def build_unfilled(net):
    """A SolverNet as Caffe builds it, but drawing no random numbers, which training counts on."""
    made = net.alone()
    for layer in made.layer:
        for field, value in layer.ListFields():
            if field.message_type is not None and field.label != field.LABEL_REPEATED:
                for inner, _ in value.ListFields():
                    if inner.message_type and inner.message_type.name == "FillerParameter":
                        value.ClearField(inner.name)
    return build(made, net.phase)


def build(param, phase):
    """The net of a NetParameter."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "net.prototxt")
        prototxts.write(param, path)
        return caffe.Net(path, phase)


def deploy_layers(path):
    """The layers of a deploy net."""
    return prototxts.in_phase(prototxts.read_net(path), caffe.TEST)


def weight_shapes(path):
    """Layer -> shapes of its weights, of the net in a prototxt."""
    prototxts.check_layers(deploy_layers(path), path)
    net = caffe.Net(path, caffe.TEST)
    return {name: [list(blob.data.shape) for blob in net.params[name]] for name in net.params}


def check_weights(wanted, path, net, net_path):
    """Raise WorkerError unless all layers `wanted` (name -> shapes) get weights from `net`."""
    for name, shapes in wanted.items():
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
    outputs = net.blobs[logits].data.shape[1]
    if outputs != count:
        raise WorkerError(
            "{}: layer '{}' has {} outputs, but {} names {} classes: its num_output must be "
            "their number".format(path, logits, outputs, names, count)
        )


def classifiers(net):
    """The blobs of scores and labels of each loss that looks up the score of a label."""
    return [
        net.bottom_names[name][:2]
        for name, layer in zip(net._layer_names, net.layers)
        if layer.type in LOOKING_UP
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
