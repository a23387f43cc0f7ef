"""Scenarios for any net: its learnable layers in blocks, and which of them are frozen.

A block is what is learnt between two places where a single blob carries everything: one layer of a
plain net with its BatchNorm and Scale, a whole residual block, a whole Inception module. Layers
that share the first part of a name (fire2/squeeze1x1, fire2/expand1x1) are one block too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lib.errors import UserError, unknown
from prototxt.caffenet import SCENARIOS
from prototxt.description import Description
from prototxt.heads import DATA, Head, ancestors, writers

# Learnable layers that belong to the one before them.
_ATTACHED = ("BatchNorm", "Scale", "Bias", "PReLU")
# Scenario -> how many blocks before the classifier freeze, of so many (paper, section 5.2).
_FROZEN = {
    "all": lambda blocks: 0,
    "skip_first": lambda blocks: 1,
    "skip_first2": lambda blocks: 2,
    "only_last3": lambda blocks: blocks - 2,
    "only_last": lambda blocks: blocks,
}
assert set(_FROZEN) == set(SCENARIOS)


@dataclass(frozen=True)
class Block:
    """Learnable layers that freeze together."""

    layers: tuple[str, ...]

    @property
    def title(self) -> str:
        """What to call it: its only layer, or the first and the last one."""
        first, *rest = self.layers
        return f"{first} to {rest[-1]}" if rest else first


def find_blocks(net: Description, main: Head) -> list[Block]:
    """The blocks that lead to the main classifier, in the prototxt's order, without it."""
    trunk = sorted(
        place
        for place in ancestors(net.layers, main.classifier) - {main.classifier}
        if net.layers[place].type not in DATA
    )
    segments: list[list[str]] = [[]]
    for place, live in zip(trunk, _live(net, [*trunk, main.classifier]), strict=True):
        if net.layers[place].blobs:
            segments[-1].append(net.layers[place].name)
        if live == 1:
            segments.append([])
    return [Block(tuple(names)) for names in _merged(net, [each for each in segments if each])]


def frozen_layers(
    net: Description, heads: Sequence[Head], scenario: str, freeze: str
) -> tuple[str, ...]:
    """The layers that do not learn in a scenario, or up to and with the block of layer `freeze`.

    Layers of an auxiliary head are frozen with the block that they read; classifiers always learn.
    Raises UserError for a scenario or layer that there is not.
    """
    if scenario not in SCENARIOS:
        raise unknown("scenario", scenario, SCENARIOS)
    blocks = find_blocks(net, heads[0])
    if not freeze:
        count = min(max(_FROZEN[scenario](len(blocks)), 0), len(blocks))
    elif scenario != "all":
        raise UserError(f"FREEZE={freeze} and SCENARIO={scenario}: give one of the two")
    else:
        count = 1 + _block_of(net, heads, blocks, freeze)
    frozen = {name for block in blocks[:count] for name in block.layers}
    return tuple(
        layer.name
        for place, layer in enumerate(net.layers)
        if layer.blobs
        and (
            layer.name in frozen
            or (_is_auxiliary(net, heads, place) and _reads(net, place, frozen, blocks))
        )
    )


def _block_of(net: Description, heads: Sequence[Head], blocks: list[Block], freeze: str) -> int:
    for number, block in enumerate(blocks):
        if freeze in block.layers:
            return number
    if freeze in {net.layers[head.classifier].name for head in heads}:
        raise UserError(f"FREEZE={freeze}: that is the classifier, which is new and always learns")
    raise unknown("layer", freeze, [name for block in blocks for name in block.layers])


def _is_auxiliary(net: Description, heads: Sequence[Head], place: int) -> bool:
    """Whether a layer is of an auxiliary head, and not its classifier."""
    if place in {head.classifier for head in heads}:
        return False
    main = ancestors(net.layers, heads[0].classifier)
    return place not in main and any(
        place in ancestors(net.layers, head.classifier) for head in heads[1:]
    )


def _reads(net: Description, place: int, frozen: set[str], blocks: list[Block]) -> bool:
    """Whether the last block that a layer is computed from is frozen."""
    before = {net.layers[each].name for each in ancestors(net.layers, place)}
    below = [block for block in blocks if set(block.layers) & before]
    return bool(below) and set(below[-1].layers) <= frozen


def _live(net: Description, trunk: list[int]) -> list[int]:
    """After each layer of `trunk` but the last: how many blobs are still to be read by others."""
    before = writers(net.layers)
    last_read: dict[tuple[str, int], int] = {}  # (blob, its writer) -> place of its last reader
    for place in trunk:
        for blob, writer in before[place].items():
            last_read[blob, writer] = place
    return [
        len([1 for (_, writer), reader in last_read.items() if writer <= place < reader])
        for place in trunk[:-1]
    ]


def _merged(net: Description, segments: list[list[str]]) -> list[list[str]]:
    types = {layer.name: layer.type for layer in net.layers}
    blocks: list[list[str]] = []
    waiting: list[str] = []  # a BatchNorm before anything that it could belong to
    for names in segments:
        if all(types[name] in _ATTACHED for name in names):
            (blocks[-1] if blocks else waiting).extend(names)
        else:
            blocks.append([*waiting, *names])
            waiting = []
    if waiting:
        blocks.append(waiting)
    prefixes = [{name.rpartition("/")[0] for name in names} for names in blocks]
    if len({prefix for some in prefixes for prefix in some}) < 2:
        return blocks  # all in one folder of names, or none: the names say nothing
    joined: list[list[str]] = []
    for number, names in enumerate(blocks):
        same = number and len(prefixes[number]) == 1 and prefixes[number] == prefixes[number - 1]
        if same and prefixes[number] != {""}:
            joined[-1].extend(names)
        else:
            joined.append(list(names))
    return joined
