"""Reads the log of any Caffe's training: of 2014, the release candidates, 1.0, NVIDIA's forks.

    Iteration 20 (1.2 iter/s, 16s/20 iters), loss = 2.1      1.0 (solver.cpp, Solver::Step)
    Iteration 20, loss = 2.1                                 before rc4
    [0.0] Iteration 20 (...), 0.9/20ep, loss = 2.1           NVCaffe 0.17
    Iteration 20 (24.1/s), lr = 0.01                         NVCaffe 0.11
    Test score #0: 0.25                                      2014: outputs had no names

A line about an iteration that is in none of these forms is kept, to be shown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from lib.errors import UserError
from lib.text import read_log as read_text_of_log

_NUMBER = r"([-+]?(?:nan|inf|\d[\d.]*(?:e[-+]?\d+)?))(?![\d.]|,\d)"
_AT = r"\bIteration (\d+)(?: \([^)]*\))?(?:, [\d.]+/[\d.]+ ?ep)?"
_LOSS = re.compile(rf"{_AT}, loss = {_NUMBER}", re.IGNORECASE)
_RATE = re.compile(rf"{_AT}, lr = {_NUMBER}", re.IGNORECASE)
_TEST = re.compile(r"\bIteration (\d+), Testing net \(#(\d+)\)")
_OUTPUT = re.compile(
    rf"\bTest net output #\d+: (\S+) = {_NUMBER}(?: \(\* (?P<weight>[\d.e+-]+) = )?", re.IGNORECASE
)
_SCORE = re.compile(rf"\bTest score #(\d+): {_NUMBER}", re.IGNORECASE)

# Lines that tell of an iteration, and of nothing that is compared.
_OTHER = re.compile(
    r"MultiStep Status|Snapshotting|Train net output|Optimization Done|Testing net \(#|"
    r"Restoring|snapshot|Iteration \d+(?: \([^)]*\))?,? (?:remaining|ETA)",
    re.IGNORECASE,
)
_TELLS = re.compile(r"\bIteration \d+\b|\bTest (?:net output|score) #\d+", re.IGNORECASE)

_SHOWN = 3  # lines that were not understood


@dataclass(frozen=True)
class Output:
    """One output of a test net at one iteration."""

    name: str
    value: float
    weight: float | None = None  # of a loss, where the log says it

    @property
    def head(self) -> str:
        """What stands before the last slash of its name: 'loss1' of loss1/top-1."""
        return self.name.rpartition("/")[0]

    @property
    def word(self) -> str:
        """What stands after it, in small letters."""
        return self.name.rpartition("/")[2].lower()

    @property
    def is_loss(self) -> bool:
        """A loss by its weight, which Caffe prints for losses only; else by its name."""
        return self.weight is not None or ("loss" in self.word and not self.is_accuracy)

    @property
    def is_accuracy(self) -> bool:
        """An accuracy of the likeliest class: top-5 and the like are others."""
        if self.weight is not None:
            return False
        k = re.search(r"top\D?(\d+)|(\d+)$", self.word)
        is_first = not k or (k[1] or k[2]) == "1"
        return is_first and any(part in self.word for part in ("acc", "top", "prec"))


@dataclass
class Log:
    """What a log tells, by iteration. Where a training was resumed, its last word counts."""

    loss: dict[int, float] = field(default_factory=dict)
    lr: dict[int, float] = field(default_factory=dict)
    accuracy: dict[int, float] = field(default_factory=dict)  # of the first test net
    test_loss: dict[int, float] = field(default_factory=dict)
    accuracy_name: str = ""  # how the log calls it
    notes: list[str] = field(default_factory=list)  # what was not read, or how it was understood

    def drop_from(self, iteration: int) -> None:
        """Forget this iteration and all later ones: they are trained again."""
        for series in (self.loss, self.lr, self.accuracy, self.test_loss):
            for known in [each for each in series if each >= iteration]:
                del series[known]


def read_log(path: Path) -> Log:
    """The log at `path`; UserError when it can't be read, or is no log of a training."""
    log, last, tested = Log(), -1, None
    tests: dict[int, list[Output]] = {}
    unread: list[str] = []
    for number, line in enumerate(read_text_of_log(path).split("\n"), start=1):
        if not _TELLS.search(line):
            continue
        if found := _TEST.search(line):
            iteration = int(found[1])
            tested = iteration if found[2] == "0" else None
            last = _went_on(log, tests, last, iteration)
            if tested is not None:
                tests[tested] = []
        elif found := _LOSS.search(line):
            last = _went_on(log, tests, last, int(found[1]))
            log.loss[last] = float(found[2])
        elif found := _RATE.search(line):
            log.lr[int(found[1])] = float(found[2])
        elif found := _OUTPUT.search(line):
            weight = float(found["weight"]) if found["weight"] else None
            if tested is not None:
                tests[tested].append(Output(found[1], float(found[2]), weight))
        elif found := _SCORE.search(line):
            if tested is not None:
                tests[tested].append(Output(f"#{found[1]}", float(found[2])))
        elif not _OTHER.search(line):
            unread.append(f"line {number}: {line.strip()}")
    _take_tests(log, tests)
    if unread:
        more = f"; and {len(unread) - _SHOWN} more" if len(unread) > _SHOWN else ""
        log.notes.append(
            f"not understood in {path.name}, and left out: {'; '.join(unread[:_SHOWN])}{more}"
        )
    if not log.loss and not log.accuracy and not log.test_loss:
        raise UserError(
            f"{path}: no line of a training in it (`Iteration N, loss = ...`): is it Caffe's log, "
            f"with GLOG_minloglevel=0?{f' {log.notes[-1]}' if unread else ''}"
        )
    return log


def _went_on(log: Log, tests: dict[int, list[Output]], last: int, iteration: int) -> int:
    """The iteration; a step back is a training resumed from a snapshot, or begun anew."""
    if iteration < last:
        log.drop_from(iteration)
        for known in [each for each in tests if each >= iteration]:
            del tests[known]
    return iteration


def _take_tests(log: Log, tests: dict[int, list[Output]]) -> None:
    """From all outputs of the first test net: the accuracy and the loss of its main head."""
    outputs = [output for of_test in tests.values() for output in of_test]
    if outputs and all(output.name.startswith("#") for output in outputs):
        _take_scores(log, tests)
        return
    # A name that comes twice in one test is no single number: accuracy per class, say.
    several = {
        output.name
        for of_test in tests.values()
        for output in of_test
        if sum(each.name == output.name for each in of_test) > 1
    }
    single = [output for output in outputs if output.name not in several]
    loss = _main_loss(single)
    accuracy = _main_accuracy(single, loss)
    for iteration, of_test in tests.items():
        for output in of_test:
            if output.name == accuracy:
                log.accuracy[iteration] = output.value
            elif output.name == loss:
                log.test_loss[iteration] = output.value
    log.accuracy_name = accuracy
    others = [
        name for name in dict.fromkeys(o.name for o in outputs) if name not in (accuracy, loss)
    ]
    if others:
        log.notes.append(
            f"of its test outputs, {accuracy or 'no accuracy'} and {loss or 'no loss'} are "
            f"compared; not compared: {', '.join(others)}"
        )


def _main_loss(outputs: list[Output]) -> str:
    """The loss with the largest weight, as GoogLeNet's last has; of equals the last."""
    losses = [output for output in outputs if output.is_loss]
    if not losses:
        return ""
    heaviest = max(output.weight or 0 for output in losses)
    return [output.name for output in losses if (output.weight or 0) == heaviest][-1]


def _main_accuracy(outputs: list[Output], loss: str) -> str:
    """The accuracy of the main loss's head; where no name tells it, the first one."""
    names = [output for output in outputs if output.is_accuracy]
    of_head = [output for output in names if loss and output.head == loss.rpartition("/")[0]]
    return next((output.name for output in (*of_head, *names)), "")


def _take_scores(log: Log, tests: dict[int, list[Output]]) -> None:
    """Outputs without names: the first that is always a share of 1 is the accuracy."""
    values: dict[str, dict[int, float]] = {}
    for iteration, of_test in tests.items():
        for output in of_test:
            values.setdefault(output.name, {})[iteration] = output.value
    shares = [name for name, series in values.items() if all(0 <= v <= 1 for v in series.values())]
    accuracy = shares[0] if shares else ""
    loss = next((name for name in values if name != accuracy), "")
    log.accuracy = values.get(accuracy, {})
    log.test_loss = values.get(loss, {})
    log.accuracy_name = f"Test score {accuracy}" if accuracy else ""
    log.notes.append(
        f"its test scores have no names: {accuracy or 'none'} is taken for the accuracy, "
        f"{loss or 'none'} for the loss"
    )
