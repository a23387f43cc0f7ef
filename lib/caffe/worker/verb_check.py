"""check: would Caffe train by this solver? Builds what `train` builds, and trains nothing."""

import os
import tempfile

import device
import prototxts
from solver_nets import Nets
from solvers import load_solver, watch_losses


def run(request, emit):
    """Build the solver and its nets as `train` does.

    request: solver, deploy, classes, image_size, validation, gpu, as for `train`. What is wrong
    with them ends it as it would end the training. Returns nothing.
    """
    device.choose(request["gpu"])
    param = prototxts.read_solver(request["solver"])
    with tempfile.TemporaryDirectory() as folder:
        prefix = os.path.join(folder, "snapshot")
        nets = Nets(param, request["solver"], request["validation"])
        solver = load_solver(param, nets, dict(request, run=folder, snapshot_prefix=prefix))
        watch_losses(solver.net, nets.trained.path)
    return {}
