"""train: what `caffe train` does, with exact validation, whole snapshots and exact resumption."""

import math
import os
import signal
import time

import data_layers
import device
import heads
import numpy
import prototxts
import snapshots
from caffe.proto import caffe_pb2
from errors import WorkerError
from replay import replay
from scoring import Outputs, check_labels, losses
from solver_nets import Nets
from solvers import deploy_layers, load_solver, watch_losses

EVENT_SECONDS = 0.5  # at most so often the parent hears of an iteration


def run(request, emit):
    """Train by a solver.prototxt until its max_iter, or until SIGINT.

    request: solver, deploy, classes, image_size, gpu (solvers.load_solver), validation (the task's
    LMDB of validation images: solver_nets.Nets), weights (path or None: copied by layer name), run
    (folder for what is made, train_val.prototxt too: the nets that run), snapshot_prefix (start of
    the snapshots' paths), unfinished (folder beside them, made and removed for each), inputs (a
    word for what this is made from) and id (of the run), both kept in the markers of snapshots,
    resume (path of a .solverstate or None), validated (last iteration that has its validation
    already), best (best validation accuracy so far).
    Events: start, iteration, validating, validation, snapshot, replay. Returns iteration, and
    layers (hashes after) or interrupted. The solver's own max_iter, test_interval, snapshot,
    display are obeyed.
    """
    device.choose(request["gpu"])
    training = Training(request, emit)
    signal.signal(signal.SIGINT, training.ask_to_stop)
    signal.signal(signal.SIGTERM, training.ask_to_stop)
    return training.go()


class Training:
    """One training, from the loaded solver to the final weights."""

    def __init__(self, request, emit):
        self.request = request
        self.emit = emit
        self.stop = False
        self.param = prototxts.read_solver(request["solver"])
        name = os.path.basename(request["snapshot_prefix"])
        self.nets = Nets(self.param, request["solver"], request["validation"])
        self.solver = load_solver(
            self.param,
            self.nets,
            dict(request, snapshot_prefix=os.path.join(request["unfinished"], name)),
        )
        self.nets.keep(os.path.join(request["run"], "train_val.prototxt"))
        self.net = self.solver.net
        self.losses = watch_losses(self.net, self.nets.trained.path)
        self.best = request["best"]
        self.saved_at = 0  # iteration that can be gone on from
        self.told = 0.0  # time of the last event about the replay or a validation
        self.outputs = None
        self.validation_images = 0
        if self.nets.place is not None:
            tested = self.nets.tested
            reader = data_layers.reader(tested.layers, tested.path, "TEST")
            self.validation_images = data_layers.count(reader, tested.path)
            logits = heads.deploy_logits(deploy_layers(request["deploy"]))
            net = self.solver.test_nets[self.nets.place]
            self.outputs = Outputs(net, tested.layers, tested.path, logits)
            net.share_with(self.net)
        self.batch = batch_size(self.net, self.nets.trained.layers) * self.param.iter_size

    def ask_to_stop(self, _number, _frame):
        """Signal handler: end after this iteration, with a snapshot."""
        self.stop = True

    def go(self):
        """Begin or resume, train, and end with final weights or with a snapshot."""
        self.begin()
        if self.validation_is_due() and self.solver.iter > self.request["validated"]:
            self.validate()
        while self.solver.iter < self.param.max_iter and not self.stop:
            self.train_to(self.next_stop())
            if self.stop and self.solver.iter < self.param.max_iter:
                break
            if self.validation_is_due():
                self.validate()
            if self.snapshot_is_due():
                self.snapshot()
        if self.solver.iter < self.param.max_iter:
            if self.solver.iter > self.saved_at:
                self.snapshot()
            return {"interrupted": True, "iteration": self.solver.iter}
        snapshots.check_finite(self.net, self.solver.iter)
        snapshots.save_weights(self.net, os.path.join(self.request["run"], "final.caffemodel"))
        return {"iteration": self.solver.iter, "layers": snapshots.layer_hashes(self.net)}

    def begin(self):
        """Copy the weights that training starts from, or restore a snapshot."""
        given = {}  # the hashes of the layers that training starts from
        if self.request["resume"]:
            replay(self.net, self.passes_before(self.request["resume"]), self.tell_replay)
            self.solver.restore(self.request["resume"])
        elif self.request["weights"]:
            self.net.copy_from(self.request["weights"])
            given = snapshots.file_hashes(self.request["weights"])
        self.saved_at = self.solver.iter
        loaded = snapshots.layer_hashes(self.net)
        frozen = frozen_layers(self.nets.trained.layers, self.net)
        self.emit(
            "start",
            train_images=self.train_images(),
            validation_images=self.validation_images,
            iteration=self.solver.iter,
            max_iter=self.param.max_iter,
            batch=self.batch,
            layers=[
                {
                    "name": name,
                    "shapes": [list(blob.data.shape) for blob in self.net.params[name]],
                    "frozen": name in frozen,
                    "transferred": loaded[name] == given.get(name),
                    "before": loaded[name],
                }
                for name in self.net.params
            ],
        )

    def train_images(self):
        """Images of one pass over what is trained on; None where they can't be counted."""
        for layer in data_layers.sources(self.nets.trained.layers):
            if data_layers.can_be_counted(layer):
                return data_layers.count(layer, self.nets.trained.path)
        return None

    def passes_before(self, solverstate):
        """How often the net ran forward in training before this snapshot."""
        state = caffe_pb2.SolverState()
        with open(solverstate, "rb") as handle:
            state.ParseFromString(handle.read())
        return state.iter * self.param.iter_size

    def tell_replay(self, done, of):
        """Report the replay, and let Ctrl-C end it: nothing is lost, the snapshot stays."""
        if self.stop:
            raise SystemExit(130)
        if time.monotonic() - self.told >= EVENT_SECONDS or done == of:
            self.told = time.monotonic()
            self.emit("replay", done=done, of=of)

    def next_stop(self):
        """The next iteration at which something besides training is to be done."""
        stops = [self.param.max_iter]
        for interval in (self.validation_interval(), self.param.snapshot):
            if interval:
                stops.append((self.solver.iter // interval + 1) * interval)
        return min(stops)

    def train_to(self, iteration):
        """Step until `iteration` or until asked to stop, reporting loss, rate and speed."""
        told, at, since = time.monotonic(), self.solver.iter, []
        while self.solver.iter < iteration and not self.stop:
            del self.losses[:]
            lr = self.solver.lr  # Caffe's own figure: after the step it is that of the next one
            self.solver.step(1)
            loss = float(numpy.mean(self.losses))
            if not math.isfinite(loss):
                raise WorkerError(
                    "the loss is {} at iteration {} (learning rate {:g}): training has diverged; "
                    "try a smaller LR".format(loss, self.solver.iter, lr)
                )
            since.append(loss)
            now = time.monotonic()
            display = self.param.display and self.solver.iter % self.param.display == 0
            if now - told >= EVENT_SECONDS or display or self.solver.iter == iteration or self.stop:
                done = self.solver.iter - at
                self.emit(
                    "iteration",
                    iteration=self.solver.iter,
                    loss=sum(since) / len(since),
                    lr=float("%.6g" % lr),  # a float32 in Caffe: 0.1 is 0.10000000149
                    images=done * self.batch,
                    seconds=now - told,
                    curve=bool(display) and not self.validation_is_due(),
                )
                told, at, since = now, self.solver.iter, []

    def validation_interval(self):
        """The solver's test_interval, or 0 when there is nothing to validate on."""
        return self.param.test_interval if self.outputs else 0

    def validation_is_due(self):
        """Every test_interval iterations, at the end, and at 0 as test_initialization says."""
        interval, iteration = self.validation_interval(), self.solver.iter
        if not interval:
            return False
        if iteration == 0:
            return self.param.test_initialization
        return iteration % interval == 0 or iteration == self.param.max_iter

    def validate(self):
        """Score every validation image exactly once; keep the weights if they are the best yet."""
        start = time.monotonic()
        count = self.validation_images
        seen, right, loss = 0, 0, 0.0
        first, alive = None, False
        for logits, labels in self.outputs.passes(count):
            first = logits[0] if first is None else first
            alive = alive or bool((logits != first).any())
            check_labels(labels, logits.shape[1], self.nets.tested.path)
            right += int((logits.argmax(axis=1) == labels).sum())
            loss += float(losses(logits, labels).sum())
            seen += len(labels)
            if time.monotonic() - self.told >= EVENT_SECONDS:
                self.told = time.monotonic()
                self.emit("validating", done=seen, of=count)
        if not math.isfinite(loss):
            raise WorkerError(
                "the validation loss is {} at iteration {}: training has diverged; "
                "try a smaller LR".format(loss, self.solver.iter)
            )
        if not alive and count > 1 and self.solver.iter:
            raise WorkerError(
                "the net is dead at iteration {}: its outputs are the same for all {} validation "
                "images, so nothing is learnt any more; try a smaller LR or NEW_LAYER_LR, and look "
                "for a layer without a filler or a ReLU behind the classifier".format(
                    self.solver.iter, count
                )
            )
        accuracy = right / float(count)
        is_best = self.best is None or accuracy > self.best
        if is_best:
            self.best = accuracy
            path = os.path.join(self.request["run"], "best.caffemodel")
            snapshots.save_weights(self.net, path)
        self.emit(
            "validation",
            iteration=self.solver.iter,
            loss=loss / count,
            accuracy=accuracy,
            images=count,
            best=is_best,
            seconds=time.monotonic() - start,
        )

    def snapshot_is_due(self):
        """Every `snapshot` iterations, but not at the end: the final weights are saved anyway."""
        interval, iteration = self.param.snapshot, self.solver.iter
        return interval and iteration % interval == 0 and iteration < self.param.max_iter

    def snapshot(self):
        """Take a snapshot and report it."""
        asked = (self.request[name] for name in ("snapshot_prefix", "unfinished", "inputs", "id"))
        marker = snapshots.take(self.solver, *asked)
        self.saved_at = self.solver.iter
        self.emit("snapshot", iteration=self.solver.iter, marker=marker)


def batch_size(net, layers):
    """Images in one forward pass of a net of these layers, as its first layer of data gives."""
    found = data_layers.sources(layers)
    readers = [layer for layer in found if layer.type in data_layers.READERS] or found
    first = readers[0].top[0] if readers else net._blob_names[0]
    return net.blobs[first].data.shape[0]


def frozen_layers(layers, net):
    """Names of the layers that stay as they are: a lr_mult of 0 for each of their blobs.

    The default is 1. A BatchNorm's are always 0 (batch_norm_layer.cpp); its statistics stay only
    when it uses the stored ones in training.
    """
    return {
        layer.name
        for layer in layers
        if layer.name in net.params
        and (
            layer.batch_norm_param.use_global_stats
            if layer.type == "BatchNorm"
            else len(layer.param) >= len(net.params[layer.name])
            and all(param.lr_mult == 0 for param in layer.param)
        )
    }
