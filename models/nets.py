"""The net that an init's weights belong to: one of ours, or a prototxt in its folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lib.cli import warn
from lib.errors import UserError
from models.cards import Card
from models.compare import CAFFENET, Comparison, compare
from prototxt.description import Description, Engine, Shapes, describe
from prototxt.heads import find_heads
from prototxt.own_nets import NAMES, net_text, own_net


@dataclass(frozen=True)
class Wanted:
    """What a net takes from weights: its layers with their shapes, without the classifiers."""

    net: Description
    layers: Mapping[str, Shapes]


def card_net(card: Card, engine: Callable[[], Engine]) -> Description:
    """The net of a card, for the prototxts of a run. The engine is asked for a user's net only.

    Raises UserError in one line for a prototxt that Caffe can't read or build.
    """
    if card.net in NAMES:
        return own_net(card.net)
    return describe(engine(), card.folder / card.net)


def wanted(card: Card, engine: Engine) -> Wanted:
    """What training takes from the weights of a card; UserError as `card_net`."""
    if card.net == "caffenet":
        return Wanted(own_net("caffenet"), CAFFENET)  # without the engine: it is the paper's
    if card.net in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{card.net}.prototxt"
            path.write_text(net_text(card.net), encoding="utf-8")
            net = describe(engine, path)
    else:
        net = describe(engine, card.folder / card.net)
    classifiers = {net.layers[head.classifier].name for head in find_heads(net)}
    layers = {name: shapes for name, shapes in net.weights.items() if name not in classifiers}
    return Wanted(net, layers)


def compare_with_card(engine: Engine, weights: Path, card: Card) -> Comparison:
    """How a .caffemodel and the net of a card compare; UserError as models.compare.compare."""
    found = wanted(card, engine)
    return compare(
        engine,
        weights,
        card.last_layer,
        outputs=card.outputs,
        expected=found.layers,
        net=found.net,
    )


def check_card_weights(
    engine: Engine,
    weights: Path,
    card: Card,
    cards: list[Card],
    *,
    any_order: bool = False,
    warn: Callable[[str], None] = warn,
) -> Comparison:
    """Compare, and raise UserError in one line unless training can start from `weights`.

    Where they do not fit, the card whose net they fit is named, if there is one among `cards`.
    `warn` is told of a classifier of another name, and with `any_order` of another order of layers.
    """
    comparison = compare_with_card(engine, weights, card)
    if not comparison.problem:
        if comparison.other_order and not any_order:
            raise UserError(comparison.other_order)
        for sentence in (comparison.other_name, comparison.other_order):
            if sentence:
                warn(sentence)
        return comparison
    held = {row.layer for row in comparison.rows if row.found}
    for other in cards:
        if other.net != card.net and other.net in NAMES:
            layers = {each.name for each in own_net(other.net).layers if each.blobs}
            if layers <= held | {other.last_layer} and other.last_layer in held:
                raise UserError(
                    f"{comparison.problem}; its layers are those of {other.init}: "
                    f"INIT={other.init}?"
                )
    raise UserError(comparison.problem)
