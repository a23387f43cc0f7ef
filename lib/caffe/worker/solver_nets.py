"""The nets that a solver trains and validates by, found as Caffe finds them (solver.cpp)."""

import difflib
import os
import shutil

import caffe
import data_layers
import prototxts
from caffe.proto import caffe_pb2
from errors import WorkerError


class SolverNet:
    """One of a solver's nets: `path` (the file that says it), `param`, its `layers` in its state.

    `phase` is caffe.TRAIN or caffe.TEST.
    """

    def __init__(self, path, param, phase, solver_state):
        self.path = path
        self.param = param
        self.phase = phase
        self.state = prototxts.state(param, phase, solver_state)
        self.layers = prototxts.layers_in(param, self.state)

    def alone(self):
        """A NetParameter of just these layers, the same in every state."""
        new = caffe_pb2.NetParameter(name=self.param.name, force_backward=self.param.force_backward)
        for layer in self.layers:
            copy = new.layer.add()
            copy.CopyFrom(layer)
            copy.ClearField("include")
            copy.ClearField("exclude")
        return new


def train_net(param, path):
    """The net that a solver (SolverParameter, in the file `path`) trains (InitTrainNet).

    Raises WorkerError where it names none or several.
    """
    named = [
        name
        for name in ("net", "net_param", "train_net", "train_net_param")
        if param.HasField(name)
    ]
    if len(named) != 1:
        raise WorkerError(
            "{}: {}; it must say one net to train, as `net:` does".format(
                path, "no `net:` line" if not named else "both " + " and ".join(named)
            )
        )
    said = getattr(param, named[0])
    return SolverNet(*read(said, path), caffe.TRAIN, param.train_state)


def test_nets(param, path):
    """The nets that a solver tests, in Caffe's order (InitTestNets); none without a test_iter.

    Raises WorkerError where their number does not fit test_iter or test_state.
    """
    own = [*param.test_net_param, *param.test_net]
    generic = param.net if param.HasField("net") else None
    generic = param.net_param if param.HasField("net_param") else generic
    count = len(param.test_iter)
    if count < len(own) or (generic is None and count != len(own)):
        raise WorkerError(
            "{}: {} test nets, but {} test_iter: each needs one".format(path, len(own), count)
        )
    if len(param.test_state) not in (0, count):
        raise WorkerError(
            "{}: {} test_state, but {} test nets: each needs one".format(
                path, len(param.test_state), count
            )
        )
    said = own + [generic] * (count - len(own))
    states = list(param.test_state) or [caffe_pb2.NetState()] * count
    return [SolverNet(*read(each, path), caffe.TEST, state) for each, state in zip(said, states)]


class Nets:
    """What a run trains and is tested by: `trained` and `tested` (SolverNet).

    `place` is that of `tested` among the solver's test nets, None where it has none to validate by.
    `is_plain`: one file (`net:`) says both, and its own rules alone decide which layer is where.
    """

    def __init__(self, param, path, validation):
        """Of a solver (SolverParameter, in the file `path`); `validation`: the LMDB of the task.

        Without test nets the run is tested by the TEST phase of the net that it trains; of several
        it is the one that reads `validation`. Raises WorkerError where that is not one of them.
        """
        self.trained = train_net(param, path)
        nets = test_nets(param, path)
        self.place = None
        if nets:
            self.place = place_of(nets, path, validation)
        self.tested = (
            nets[self.place]
            if nets
            else SolverNet(self.trained.path, self.trained.param, caffe.TEST, caffe_pb2.NetState())
        )
        self.is_plain = param.HasField("net") and not any(
            (
                len(param.test_net),
                len(param.test_net_param),
                len(param.test_state),
                param.HasField("train_state"),
            )
        )

    def keep(self, path):
        """Write the nets to `path`, as one prototxt for TRAIN and TEST: what ran, for later use."""
        if self.is_plain:
            if not (os.path.exists(path) and os.path.samefile(path, self.trained.path)):
                shutil.copyfile(self.trained.path, path)
        else:
            prototxts.write(self.as_one(), path)

    def as_one(self):
        """One NetParameter whose TRAIN phase is what is trained, and whose TEST phase is tested."""
        ones, others = list(self.trained.alone().layer), list(self.tested.alone().layer)
        texts = [[each.SerializeToString() for each in layers] for layers in (ones, others)]
        made = caffe_pb2.NetParameter(
            name=self.trained.param.name, force_backward=self.trained.param.force_backward
        )
        for what, a, b, c, d in difflib.SequenceMatcher(None, *texts, False).get_opcodes():
            if what == "equal":
                made.layer.extend(ones[a:b])
                continue
            for layers, phase in ((ones[a:b], caffe.TRAIN), (others[c:d], caffe.TEST)):
                for layer in layers:
                    made.layer.add().CopyFrom(layer)
                    made.layer[-1].include.add(phase=phase)
        return made


def place_of(nets, path, validation):
    """The place of the one of a solver's test nets that reads the validation images."""
    if len(nets) == 1:
        return 0
    wanted = os.path.realpath(validation)
    fit = [place for place, net in enumerate(nets) if wanted in sources(net)]
    if len(fit) != 1:
        raise WorkerError(
            "{}: several test nets, and {} {}: which one is the run to be validated and tested "
            "by? Leave that one".format(
                path,
                "{} of them read".format(len(fit)) if fit else "none of them reads",
                validation,
            )
        )
    return fit[0]


def sources(net):
    """The whole paths of all that a net's layers read."""
    return {
        os.path.realpath(data_layers.about(layer)["source"])
        for layer in data_layers.sources(net.layers)
        if layer.type in data_layers.READERS
    }


def read(said, path):
    """The file that says a net, and the net; `said` is its path, or it stands in the solver."""
    return (said, prototxts.read_net(said)) if isinstance(said, str) else (path, said)
