"""WEIGHTS= and MODELS=: from a word to a net, its weights and its mean, ready to take features."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.similarity.collection import Collection
from experiments.similarity.feature_set import Source
from experiments.single_run.find_run import LAST, find_run
from experiments.single_run.folder import RUNS, RunFolder, run_folder
from experiments.single_run.own_weights import require_own_weights
from experiments.single_run.run_json import TRAINED, read_run_record
from lib.caffe.client import find_engine
from lib.errors import UserError, unknown
from lib.files import sha256, write_text
from models.cards import Card, find_card, init_names, load_cards
from models.nets import card_net
from models.store import missing
from prototxt.read import classifier_input
from prototxt.render import Run, render

FEATURES = Path("experiments/features")
BATCH = 32  # images a forward pass: a third faster than deploy.prototxt's own 10
# A net of no task, for features alone.
_NO_TASK = Run(
    task="none", classes=2, train=1000, val=100, train_lmdb="none", val_lmdb="none",
    mean="none", net="none", snapshot_prefix="none",
)  # fmt: skip


@dataclass(frozen=True)
class Model:
    """A trained or untuned net. `name` is <task>/<run>, an init, or a file's name."""

    name: str
    deploy: Path
    weights: Path
    mean: Path
    task: str | None = None
    run: RunFolder | None = None
    train_val: Path | None = None  # of a net that is no run's; None: pixels minus the mean

    @property
    def slug(self) -> str:
        """The name as that of a folder."""
        return self.name.replace("/", ".")

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of weights, deploy net and mean."""
        return {name: sha256(getattr(self, name)) for name in ("weights", "deploy", "mean")}

    def request(self) -> dict[str, Any]:
        """The part of the worker's requests that names the model."""
        files = {name: str(getattr(self, name)) for name in ("deploy", "weights", "mean")}
        return {**files, "net": str(self.net) if self.net else None}

    @property
    def net(self) -> Path | None:
        """The train_val net, a run's own, whose TEST phase says how pixels become its input."""
        if self.run is None:
            return self.train_val
        return self.run.train_val if self.run.train_val.is_file() else None

    @cached_property
    def blob(self) -> str:
        """The blob that its classifier reads: fc7 of CaffeNet. Features are taken there.

        Raises UserError where its deploy net has no classifier.
        """
        return classifier_input(self.deploy)

    @cached_property
    def transformation(self) -> str:
        """ "" where the TEST net only crops and subtracts the model's mean; else one word for it.

        Features of before this was recorded are those of "".
        """
        if self.net is None:
            return ""
        text = re.sub(r"#.*", "", self.net.read_text(encoding="utf-8", errors="replace"))
        means = re.findall(r"""\bmean_file\s*:\s*["']([^"']*)["']""", text)
        own = {str(self.mean), str(self.mean.resolve())}
        changed = re.search(r"\b(?:scale|mean_value|force_gray|force_color)\s*:", text)
        plain = bool(means) and set(means) <= own and not changed
        return "" if plain else hashlib.sha256(text.encode()).hexdigest()

    def check_blob(self, blob: str) -> None:
        """Raise UserError when the deploy net has no such blob: before any work, Caffe's included.

        Only its layers' tops are looked at; whether the net can run is for Caffe to say.
        """
        text = re.sub(r"#.*", "", self.deploy.read_text(encoding="utf-8"))
        tops = re.findall(r"""\btop\s*:\s*["']([^"']*)["']""", text)
        if blob not in tops:
            raise unknown(f"BLOB of {self.name}", blob, set(tops))

    def source(self, collection: Collection, blob: str | None = None, batch: int = BATCH) -> Source:
        """What features of a collection by this model are made from."""
        return Source(
            collection=collection.name,
            images_root=str(collection.root),
            images=collection.fingerprint,
            model=self.name,
            blob=blob or self.blob,
            batch=batch,
            transformation=self.transformation,
            **self.hashes,
        )

    def features(self, collection: Collection, blob: str | None = None) -> Path:
        """Where its features of a collection lie."""
        return FEATURES / collection.name / self.slug / (blob or self.blob)


def find_model(word: str, mean: Path | None = None) -> Model:
    """The model that a word names: a run, an init, or a .caffemodel file.

    A run is named <task>/<run>, <run>, by any part of that which only one has, or `last`.

    A file needs `mean` unless it lies in the folder of a run. Raises UserError for an unknown word,
    a run that is not trained, weights that are not in place.
    """
    if not word:
        raise UserError("no model named: WEIGHTS=<task>/<run>, an init, or a .caffemodel file")
    path = Path(word)
    if word.endswith(".caffemodel"):
        return _from_file(path, mean)
    if word in init_names():
        return _from_card(word)
    if word == LAST:
        last = find_run(LAST, what="MODELS").path
        return _from_run(last.parent.name, RunFolder(last))
    found = [each for each in finished_runs() if word in (each, each.partition("/")[2])]
    parts = [] if found else [each for each in finished_runs() if word in each]
    if len(parts) > 1:
        raise UserError(f"model '{word}' may be {', '.join(parts)}: name more of one of them")
    found = found or parts
    if len(found) > 1:
        raise UserError(f"model '{word}' is a run of several tasks: {', '.join(found)}")
    if not found:
        task, _, run = word.partition("/")
        if run and run_folder(task, run).record.exists():
            raise UserError(f"{run_folder(task, run).path} is not trained yet: train it first")
        runs = finished_runs() if "/" in word else [r.partition("/")[2] for r in finished_runs()]
        raise unknown("model", word, {*runs, *init_names()})
    task, _, run = found[0].partition("/")
    return _from_run(task, run_folder(task, run))


def finished_runs() -> list[str]:
    """All runs that are trained, as <task>/<run>."""
    return sorted(
        f"{path.parent.parent.name}/{path.parent.name}"
        for path in RUNS.glob("*/*/final.caffemodel")
        if (path.parent / "run.json").is_file()
    )


def _from_run(task: str, folder: RunFolder, weights: Path | None = None) -> Model:
    record = read_run_record(folder.record)
    if not record or record.state != TRAINED:
        raise UserError(f"{folder.path} is {record.state if record else 'no run'}: train it first")
    if not record.mean:
        raise UserError(f"{folder.record} does not name the run's mean: train it again")
    model = Model(
        name=f"{task}/{folder.path.name}",
        deploy=folder.deploy,
        weights=weights or folder.final,
        mean=Path(record.mean),
        task=task,
        run=folder,
    )
    _checked(model)
    if model.weights.name == folder.final.name:
        require_own_weights(folder, record, model.hashes["weights"])
    return model


def _from_card(word: str) -> Model:
    card = find_card(word)
    if lacking := missing(word):
        raise UserError(f"{' and '.join(lacking)} missing: `make weights INIT={card.init}`")
    return _model_of(card, card.weights_path, card.mean_path)


def _from_file(path: Path, mean: Path | None) -> Model:
    if not path.is_file():
        raise UserError(f"no weights file {path}")
    if (path.parent / "run.json").is_file():
        folder = RunFolder(path.parent)
        model = _from_run(path.parent.parent.name, folder, path)
        if path.name == folder.final.name:
            return model
        return Model(
            f"{model.name}/{path.stem}", model.deploy, path, model.mean, model.task, model.run
        )
    card = next((each for each in load_cards() if _is_of(path, each)), None)
    if card and (mean or card.mean_path.is_file()):
        return replace(_model_of(card, path, mean or card.mean_path), name=path.stem)
    if mean is None:
        raise UserError(
            f"{path} lies in no run's folder: MEAN= must name the mean it was trained with"
        )
    return _checked(Model(path.stem, _caffenet(), path, mean))


def _checked(model: Model) -> Model:
    for path in (model.deploy, model.weights, model.mean):
        if not path.is_file():
            raise UserError(f"model {model.name}: {path} is missing; train it again")
    return model


def _is_of(path: Path, card: Card) -> bool:
    """Whether weights lie in the folder of a card."""
    return path.resolve().parent == card.folder.resolve()


def _model_of(card: Card, weights: Path, mean: Path) -> Model:
    """Weights in the net of a card. Raises UserError where its net can't be read."""
    if card.net == "caffenet" and card.scale == 1 and card.crop is None:
        return Model(card.init, _caffenet(), weights, mean)
    if mean.is_relative_to(Path.cwd()):  # the same text in every checkout
        mean = mean.relative_to(Path.cwd())
    run = replace(
        _NO_TASK,
        init=card.init,
        mean=str(mean),
        architecture=card_net(card, find_engine),
        crop=card.crop,
        scale=card.scale,
    )
    texts = render(run)
    deploy, train_val = FEATURES / f"{card.init}.prototxt", FEATURES / f"{card.init}.input.prototxt"
    _write(deploy, texts["deploy.prototxt"])
    _write(train_val, texts["train_val.prototxt"])
    return Model(card.init, deploy, weights, mean, train_val=train_val)


def _caffenet() -> Path:
    """CaffeNet's deploy net. Its classifier, of no task, is cut off before any use."""
    path = FEATURES / "caffenet.prototxt"
    _write(path, render(_NO_TASK)["deploy.prototxt"])
    return path


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
