"""Reads the few numbers of a solver or net prototxt that the counts depend on.

Whether a prototxt is right is for Caffe to say; here every field that is not asked for is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from lib.caffe.messages import ENUMS, message
from lib.errors import UserError
from lib.text import require_caffe_text
from prototxt.heads import CLASSIFIERS
from prototxt.syntax import Message, parse

_PHASES = ENUMS["Phase"]


@dataclass(frozen=True)
class Solver:
    """What a solver.prototxt says; Caffe's defaults where it says nothing."""

    net: str
    max_iter: int
    iter_size: int
    test_iter: int
    snapshot_prefix: str
    snapshot: int = 0
    nets: tuple[str, ...] = ()  # the files that it names nets in; it may have nets in itself too


@dataclass(frozen=True)
class Nets:
    """The Data layers of a train_val.prototxt: images a forward pass, 0 where there is none."""

    train_batch: int
    test_batch: int
    train_source: str = ""  # the LMDBs that they read
    test_source: str = ""


def read_solver(path: Path) -> Solver:
    """The numbers of a solver.prototxt; UserError with file and line if it can't be parsed."""
    said = _parse(path, "SolverParameter")
    files = (said.net, said.train_net, *said.test_net)
    return Solver(
        net=said.net,
        nets=tuple(file for file in files if file),
        max_iter=said.max_iter,
        iter_size=said.iter_size if said.HasField("iter_size") else 1,
        test_iter=said.test_iter[0] if said.test_iter else 0,
        snapshot=said.snapshot,
        snapshot_prefix=said.snapshot_prefix,
    )


def read_nets(path: Path) -> Nets | None:
    """The batch sizes of a train_val.prototxt; UserError as in `read_solver`.

    None where only Caffe can tell them: a net of an old form, rules beside `phase`, other layers of
    data.
    """
    batch = dict.fromkeys(_PHASES, 0)
    source = dict.fromkeys(_PHASES, "")
    layers = _parse(path, "NetParameter").layer
    if not layers:
        return None
    for layer in layers:
        if layer.type != "Data":
            if layer.top and not layer.bottom:
                return None
            continue
        if layer.exclude or any(_is_more_than_a_phase(rule) for rule in layer.include):
            return None
        phases = [rule.phase for rule in layer.include if rule.HasField("phase")]
        if not phases and layer.HasField("phase"):
            phases = [layer.phase]
        for name, number in _PHASES.items():
            if not phases or number in phases:
                batch[name] = layer.data_param.batch_size
                source[name] = layer.data_param.source
    return Nets(batch["TRAIN"], batch["TEST"], source["TRAIN"], source["TEST"])


def _is_more_than_a_phase(rule: Any) -> bool:
    return any(field.name != "phase" for field, _ in rule.ListFields())


def classifier_input(path: Path) -> str:
    """The blob that the classifier of a deploy net reads: fc7 of CaffeNet, pool5 of ResNet-50.

    Its classifier is the last InnerProduct or Convolution. UserError where there is none, or the
    file is no prototxt.
    """
    require_caffe_text(path)
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except (OSError, UserError) as error:
        raise UserError(f"{path} can't be read: {error}") from None
    for each in reversed(list(document.all("layer"))):
        layer = each.value
        if isinstance(layer, Message) and layer.word("type") in CLASSIFIERS:
            bottoms = layer.words("bottom")
            if len(bottoms) == 1:
                return bottoms[0]
    raise UserError(f"{path}: no classifier found, no InnerProduct or Convolution; name a BLOB=")


def _parse(path: Path, kind: str) -> Any:
    parsed = message(kind)()
    require_caffe_text(path)
    try:
        text = path.read_text(encoding="utf-8")
        text_format.Parse(text, parsed, allow_unknown_field=True)
    except text_format.ParseError as error:
        where = str(error).replace(" : ", ": ", 1)
        raise UserError(f"{path}:{where} (mend it, or FORCE=1 makes it anew)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read: {error}") from None
    return parsed
