"""INIT=: from a word to the weights and the mean that training starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datasets.folders import DataFolder
from experiments.single_run.folder import run_folder
from experiments.single_run.run_json import TRAINED, RunRecord, read_run_record
from lib.errors import UserError, unknown
from models.cards import MODELS, Card, find_card, init_names
from models.compare import CAFFENET, Shapes
from models.store import missing
from prototxt.caffenet import last_layer

SCRATCH = "scratch"
OWN_RUN = "run:"  # run:<task>/<run>, an earlier run of ours


@dataclass(frozen=True)
class Start:
    """What training starts from. `weights` is None for CaffeNet's own fillers."""

    init: str
    weights: Path | None
    mean: Path
    last_layer: str | None  # the classifier in the weights, which is left behind
    missing: list[str]  # files that are not there yet
    layers: Mapping[str, Shapes] = field(default_factory=lambda: CAFFENET)  # what they must hold
    card: Card | None = None  # of the init, or of the one that an earlier run started from
    net: str = ""  # one of ours, where an earlier run trained it from nothing

    @property
    def is_card(self) -> bool:
        """Whether it is one of models/, whose files have checksums."""
        return self.init != SCRATCH and not self.init.startswith(OWN_RUN)


def find_start(word: str, task: str, data: DataFolder) -> Start:
    """The start that INIT=`word` names, for a task and its data; UserError for an unknown word."""
    if word == SCRATCH:
        return Start(word, None, data.mean, None, [])
    if word.startswith(OWN_RUN):
        return _own_run(word)
    if word not in (*init_names(), "caffe"):
        raise unknown("init", word, [SCRATCH, *init_names()])
    card = find_card(word)
    if card.last_layer.endswith(f"_{task}"):
        raise UserError(
            f"task {task}: its last layer would be {card.last_layer}, as in {card.init}'s weights, "
            "and Caffe would copy it; give the task another name"
        )
    return Start(
        card.init,
        _from_root(card.weights_path),
        _from_root(card.mean_path),
        card.last_layer,
        missing(card.init),
        card=card,
    )


def _own_run(word: str) -> Start:
    """Weights and mean of an earlier run; the mean stays that which these weights know."""
    task, slash, name = word.removeprefix(OWN_RUN).partition("/")
    if not (task and slash and name):
        raise UserError(f"INIT={word}: an earlier run is named run:<task>/<run>")
    folder = run_folder(task, name)
    record = read_run_record(folder.record)
    if not record or record.state != TRAINED or not folder.final.exists():
        raise UserError(f"INIT={word}: {folder.path} is no finished run; `make status` lists them")
    layers = {  # its net may have been edited
        layer.name: tuple(tuple(shape) for shape in layer.shapes) for layer in record.layers or []
    }
    classifiers = [name for name in layers if name.endswith(f"_{task}")]
    for name in classifiers:
        del layers[name]
    last = classifiers[-1] if classifiers else last_layer(task)
    mean = Path(record.mean)
    card, net = _net_of(record)
    return Start(word, folder.final, mean, last, [], layers, card, net)


def _net_of(record: RunRecord) -> tuple[Card | None, str]:
    """The card or our own net that a run's net was made from, through all runs before it."""
    if record.init.startswith(OWN_RUN):
        before = _own_run(record.init)
        return before.card, before.net
    if record.init == SCRATCH:
        return None, str(record.settings.get("net", ""))
    return find_card(record.init), ""


def _from_root(path: Path) -> Path:
    """Relative to the project's root, where it lies inside: as records and prototxts have it."""
    return path.relative_to(MODELS.parent) if path.is_relative_to(MODELS.parent) else path
