"""Reads the log of any Caffe's training: 1.0, its release candidates, and what wraps them.

1.0 writes `Iteration 20 (1.2 iter/s, 16s/20 iters), loss = 2.1`, the candidates before rc4 wrote
`Iteration 20, loss = 2.1` (solver.cpp, Solver::Step). The rest has not changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from lib.errors import UserError
from lib.text import read_log as read_log_text

_NUMBER = r"[-+]?(?:nan|inf|\d[\d.]*(?:e[-+]?\d+)?)"
_LOSS = re.compile(rf"\bIteration (\d+)(?: \([^)]*\))?, loss = ({_NUMBER})", re.IGNORECASE)
_RATE = re.compile(rf"\bIteration (\d+), lr = ({_NUMBER})", re.IGNORECASE)
_TEST = re.compile(r"\bIteration (\d+), Testing net \(#(\d+)\)")
_OUTPUT = re.compile(rf"\bTest net output #\d+: (\S+) = ({_NUMBER})", re.IGNORECASE)


@dataclass
class Log:
    """What a log tells, by iteration. Where a training was resumed, its last word counts."""

    loss: dict[int, float] = field(default_factory=dict)
    lr: dict[int, float] = field(default_factory=dict)
    accuracy: dict[int, float] = field(default_factory=dict)  # of the first test net
    test_loss: dict[int, float] = field(default_factory=dict)
    accuracy_name: str = ""  # how the log calls it

    def drop_from(self, iteration: int) -> None:
        """Forget this iteration and all later ones: they are trained again."""
        for series in (self.loss, self.lr, self.accuracy, self.test_loss):
            for known in [each for each in series if each >= iteration]:
                del series[known]


def read_log(path: Path) -> Log:
    """The log at `path`; UserError when it can't be read, or is no log of a training."""
    log, last, tested = Log(), -1, None
    for line in read_log_text(path).split("\n"):
        if "Iteration" not in line and "output #" not in line:
            continue
        if found := _TEST.search(line):
            iteration = int(found[1])
            tested = iteration if found[2] == "0" else None
            last = _went_on(log, last, iteration)
        elif found := _LOSS.search(line):
            last = _went_on(log, last, int(found[1]))
            log.loss[last] = float(found[2])
        elif found := _RATE.search(line):
            log.lr[int(found[1])] = float(found[2])
        elif tested is not None and (found := _OUTPUT.search(line)):
            _note_output(log, tested, found[1], float(found[2]))
    if not log.loss and not log.accuracy:
        raise UserError(
            f"{path}: no line of a training in it (`Iteration N, loss = ...`): is it Caffe's log, "
            "with GLOG_minloglevel=0?"
        )
    return log


def _went_on(log: Log, last: int, iteration: int) -> int:
    """The iteration; a step back is a training resumed from a snapshot, or begun anew."""
    if iteration < last:
        log.drop_from(iteration)
    return iteration


def _note_output(log: Log, iteration: int, name: str, value: float) -> None:
    """A test net's output: by its name it is an accuracy, a loss, or nothing of ours."""
    word = name.lower()
    if "loss" in word:
        log.test_loss[iteration] = value
    elif ("acc" in word or "top" in word) and log.accuracy_name in ("", name):
        log.accuracy_name = name
        log.accuracy[iteration] = value
