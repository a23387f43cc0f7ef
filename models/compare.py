"""Compares a .caffemodel with a net, layer by layer, before anything is trained from it.

The engine's verb `inspect` says what the file holds and what real Caffe makes of it; the judging is
done here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lib.errors import UserError
from lib.files import readable
from prototxt.description import Description, Shapes

# The layers that every init gives (prototxt.caffenet.COPIED_LAYERS), with the shapes that BVLC's
# CaffeNet gives them: outputs x inputs (of one group) x height x width. conv2, conv4 and conv5 have
# two groups; fc6 sees 256 maps of 6 x 6.
CAFFENET: dict[str, Shapes] = {
    "conv1": ((96, 3, 11, 11), (96,)),
    "conv2": ((256, 48, 5, 5), (256,)),
    "conv3": ((384, 256, 3, 3), (384,)),
    "conv4": ((384, 192, 3, 3), (384,)),
    "conv5": ((256, 192, 3, 3), (256,)),
    "fc6": ((4096, 9216), (4096,)),
    "fc7": ((4096, 4096), (4096,)),
}

_NAMED = 8  # layers that an error names: all of CaffeNet's

COPIED = "copied"
LEFT_OUT = "left out: the source task's classifier"
NOT_OURS = "left out: not a layer of the net"


class Engine(Protocol):
    """What is needed of lib.caffe.client.Engine."""

    def call(self, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        """Run one verb of the worker."""
        ...


@dataclass(frozen=True)
class Row:
    """One layer: its blobs in the file, those that the net wants, and what comes of it."""

    layer: str
    found: Shapes | None
    wanted: Shapes | None
    verdict: str  # COPIED, LEFT_OUT, NOT_OURS, or what is wrong
    good: bool


@dataclass(frozen=True)
class Comparison:
    """How a .caffemodel and the net compare."""

    weights: Path
    form: str  # of NetParameter: "V2" (`layer`), "V1" (`layers`) or "V0"; Caffe upgrades the latter
    legacy: bool  # 4-D blobs of num, channels, height, width
    size: int  # bytes
    rows: tuple[Row, ...]
    net: str = "CaffeNet"  # what it is compared with
    others: tuple[str, ...] = ()  # layers whose way from the layer before is another in the file

    @property
    def copied(self) -> tuple[str, ...]:
        """The layers that Caffe copies from the file."""
        return tuple(row.layer for row in self.rows if row.verdict == COPIED)

    @property
    def other_name(self) -> str:
        """A sentence where the classifier has another name than its card says; else empty."""
        for row in self.rows:
            if row.good and row.verdict.startswith(f"{LEFT_OUT} ("):
                said = row.verdict.removeprefix(LEFT_OUT).strip(" ()")
                return f"{self.weights}: '{row.layer}' is taken for the classifier ({said})"
        return ""

    @property
    def problem(self) -> str | None:
        """What does not fit, in one line naming the layers and shapes; None where all does."""
        wrong = [f"layer '{row.layer}': {row.verdict}" for row in self.rows if not row.good]
        if len(wrong) > _NAMED:
            wrong[_NAMED:] = [f"and {len(wrong) - _NAMED} layers more (`make inspect` shows all)"]
        if wrong:
            return f"{self.weights} does not fit {self.net}: {'; '.join(wrong)}"
        return None

    @property
    def other_order(self) -> str | None:
        """Where the file carries another net with the same names and shapes, in one line."""
        if not self.others:
            return None
        return (
            f"{self.weights} carries another net than {self.net}, though names and shapes are "
            f"the same: {'; '.join(self.others)}. It would train, by other rules than it was "
            "trained by: give its card the net that it belongs to, or ANY_ORDER=1 goes on"
        )

    def require(self) -> Comparison:
        """Itself; raises UserError with the problem where there is one."""
        if wrong := self.problem or self.other_order:
            raise UserError(wrong)
        return self

    def table(self) -> str:
        """The comparison as text, one line a layer."""
        lines = [("layer", "in the file", self.net, "verdict")]
        for row in self.rows:
            lines.append((row.layer, _text(row.found), _text(row.wanted), row.verdict))
        widths = [max(len(line[column]) for line in lines) for column in range(3)]
        body = "\n".join(
            "  ".join(
                [*(cell.ljust(width) for cell, width in zip(line, widths, strict=False)), line[3]]
            )
            for line in lines
        )
        form = {
            "V2": "today's form (V2, `layer`)",
            "V1": "V1-era form (`layers`), upgraded by Caffe",
            "V0": "V0-era form, upgraded by Caffe",
        }[self.form]
        legacy = ", legacy 4-D blobs" if self.legacy else ""
        return f"{self.weights}: {readable(self.size)}, {form}{legacy}\n{body}"


def check_weights(
    engine: Engine,
    weights: Path,
    last_layer: str | None,
    *,
    outputs: int | None = None,
    expected: Mapping[str, Shapes] = CAFFENET,
    net: Description | None = None,
) -> Comparison:
    """Compare, and raise UserError in one line unless training can start from `weights`.

    Every layer of `expected` must be in the file with its shapes, and real Caffe must have read it
    bit for bit. `last_layer` is the classifier of the source task (a card's last_layer); it must
    be there too, with `outputs` outputs where these are given. None asks for no classifier.
    `net`, where given, is the net that they are layers of: its order is compared with the file's.
    """
    return compare(
        engine, weights, last_layer, outputs=outputs, expected=expected, net=net
    ).require()


def compare(
    engine: Engine,
    weights: Path,
    last_layer: str | None = None,
    *,
    outputs: int | None = None,
    expected: Mapping[str, Shapes] = CAFFENET,
    net: Description | None = None,
) -> Comparison:
    """As check_weights, but a file that does not fit is returned with its problem, not raised.

    Raises UserError for a file that holds nothing to compare: missing, empty, foreign, truncated.
    """
    if not weights.is_file():
        raise UserError(f"no weights at {weights}")
    answer = engine.call(
        "inspect", {"weights": str(weights.absolute()), "expected": dict(expected)}
    )
    title = (net.name if net else "") or "CaffeNet"
    return Comparison(
        weights=weights,
        form=answer["form"],
        legacy=any(layer["legacy"] for layer in answer["layers"]),
        size=answer["bytes"],
        rows=tuple(judge(answer["layers"], last_layer, outputs, expected, title)),
        net=title,
        others=tuple(other_order(net, answer["net"])) if net else (),
    )


def judge(
    layers: Sequence[Mapping[str, Any]],
    last_layer: str | None,
    outputs: int | None,
    expected: Mapping[str, Shapes],
    title: str = "CaffeNet",
) -> list[Row]:
    """A row for each layer of the net and of the file, from the engine's answer."""
    found = {layer["name"]: layer for layer in layers}
    rows = []
    for name, wanted in expected.items():
        if name not in found:
            rows.append(Row(name, None, wanted, "missing from the file", False))
            continue
        layer = found[name]
        shapes = _shapes(layer["caffe"] or layer["shapes"])
        if shapes != wanted:
            verdict = f"the file has {_text(shapes)}, {title} {_text(wanted)}"
        elif not layer["finite"]:
            verdict = "the file holds NaN or infinite weights"
        elif layer["caffe"] is None and is_tried(wanted):
            verdict = "Caffe did not copy it"
        else:
            verdict = COPIED
        rows.append(Row(name, _shapes(layer["shapes"]), wanted, verdict, verdict == COPIED))
    instead = _instead(found, last_layer, outputs, expected)
    if last_layer is not None and last_layer not in found and not instead:
        others = ", ".join(name for name in found if name not in expected) or "none"
        verdict = f"missing from the file, though it is the source's classifier (others: {others})"
        rows.append(Row(last_layer, None, None, verdict, False))
    for name, layer in found.items():
        if name in expected:
            continue
        shapes = _shapes(layer["shapes"])
        verdict, good = (LEFT_OUT if name == last_layer else NOT_OURS), True
        if name == instead:
            verdict = f"{LEFT_OUT} (its card calls it '{last_layer}')"
        if name == last_layer and outputs is not None and _outputs(shapes) != outputs:
            verdict, good = f"{_outputs(shapes)} outputs where {outputs} are expected", False
        rows.append(Row(name, shapes, None, verdict, good))
    return rows


def _instead(
    found: Mapping[str, Mapping[str, Any]],
    last_layer: str | None,
    outputs: int | None,
    expected: Mapping[str, Shapes],
) -> str | None:
    """The one layer that has the classifier's outputs, where none has its name."""
    if last_layer is None or last_layer in found or outputs is None:
        return None
    fitting = [
        name
        for name, layer in found.items()
        if name not in expected and _outputs(_shapes(layer["shapes"])) == outputs
    ]
    return fitting[0] if len(fitting) == 1 else None


def is_tried(wanted: Shapes) -> bool:
    """Whether the engine has Caffe copy blobs of these shapes, to see whether it does."""
    first, *rest = wanted
    return len(first) in (1, 2, 4) and all(shape == (first[0],) for shape in rest)


def other_order(net: Description, carried: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the net that a file carries goes another way between two layers, in words.

    AlexNet normalises before it pools, CaffeNet after: names and shapes tell nothing of it. Layers
    whose way the file does not hold whole are passed over.
    """
    ours = _ways([(each.name, each.type, each.bottoms, each.tops) for each in net.layers])
    theirs = _ways([(e["name"], e["type"], e["bottoms"], e["tops"]) for e in carried])
    learnt = net.weights
    return [
        f"before layer '{name}' it has {_steps(theirs[name])}, this net {_steps(way)}"
        for name, way in ours.items()
        if name in learnt and way != theirs.get(name, way) and theirs[name][0] == way[0]
    ]


# Of no effect on what is computed in use, or of an effect whatever its place.
_PASSED_OVER = ("Dropout", "Split", "ReLU")
_LEARNT = ("Convolution", "InnerProduct", "Deconvolution", "BatchNorm", "Scale", "PReLU", "Bias")


def _ways(layers: Sequence[tuple[str, str, Sequence[str], Sequence[str]]]) -> dict[str, list[str]]:
    """Layer -> the learnable layer that it starts from, and the types of those on the way.

    Only for layers that are reached in one line.
    """
    ways: dict[str, list[str]] = {}
    at: dict[str, list[str]] = {}  # blob -> the way to it
    for name, kind, bottoms, tops in layers:
        before = at.get(bottoms[0]) if len(bottoms) == 1 else None
        if before and kind in _LEARNT:
            ways[name] = before
        if kind in _LEARNT:
            after: list[str] | None = [name]
        elif kind == "Split" or kind in _PASSED_OVER:
            after = before
        else:
            after = [*before, kind] if before else None
        for blob in tops:
            if after is None:
                at.pop(blob, None)
            else:
                at[blob] = after
    return ways


def _steps(way: Sequence[str]) -> str:
    return " then ".join(way[1:]) or "nothing"


def _outputs(shapes: Shapes) -> int:
    weights = shapes[0]
    # A legacy inner product is 1 x 1 x outputs x inputs.
    return weights[2] if len(weights) == 4 and weights[:2] == (1, 1) else (*weights, 1)[0]


def _shapes(shapes: Sequence[Sequence[int]]) -> Shapes:
    return tuple(tuple(shape) for shape in shapes)


def _text(shapes: Shapes | None) -> str:
    if shapes is None:
        return "-"
    return " + ".join("x".join(map(str, shape)) or "one number" for shape in shapes)
