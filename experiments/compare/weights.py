"""Compare two .caffemodels layer by layer: which are the same, how far apart are the others?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lib import text_tables
from lib.caffe.client import find_engine
from lib.errors import UserError

_HEAD = ("layer", "", "shape", "largest difference", "rms difference", "relative", "cosine")


def compare_weights(one: Path, other: Path) -> list[dict[str, Any]]:
    """The layers of two files, as the worker's verb `blobs` compares them.

    Raises UserError when one is not there or can't be read.
    """
    for path in (one, other):
        if not path.is_file():
            raise UserError(f"no weights at {path}")
    answer = find_engine(threads=1).call(
        "blobs", {"weights": str(one.absolute()), "with": str(other.absolute())}
    )
    return list(answer["layers"])


def table(layers: list[dict[str, Any]], width: int | None = None) -> str:
    """A line a blob; `relative` is the rms difference over the rms of the first file's numbers."""
    lines: list[tuple[str, ...]] = []
    for layer in layers:
        mine, its = layer["shapes"]
        if mine is None or its is None:
            where = "only in the first" if its is None else "only in the second"
            lines.append((layer["name"], "", _shape((mine or its)[0]), where, "", "", ""))
            continue
        for index in range(max(len(mine), len(its))):
            what = ("weights", "biases")[index] if index < 2 else f"blob {index}"
            found = layer["blobs"][index] if index < len(layer["blobs"]) else None
            if found is None:
                shapes = " / ".join(
                    _shape(s[index]) if index < len(s) else "-" for s in (mine, its)
                )
                lines.append((layer["name"], what, shapes, "other shapes", "", "", ""))
                continue
            relative = f"{found['rms'] / found['scale']:.3g}" if found["scale"] else "-"
            cosine = "-" if found["cosine"] is None else f"{found['cosine']:.6f}"
            apart = "identical" if found["equal"] else f"{found['largest']:.3g}"
            if not found["finite"]:
                apart += ", NaN or infinite numbers"
            numbers = ("", "", "") if found["equal"] else (f"{found['rms']:.3g}", relative, cosine)
            lines.append((layer["name"], what, _shape(mine[index]), apart, *numbers))
    return text_tables.aligned(_HEAD, lines, width)


def verdict(layers: list[dict[str, Any]]) -> str:
    """One line: how many layers are the same."""
    common = [layer for layer in layers if None not in layer["shapes"]]
    same = [
        layer["name"]
        for layer in common
        if len(layer["shapes"][0]) == len(layer["shapes"][1])
        and all(blob and blob["equal"] for blob in layer["blobs"])
    ]
    if not common:
        return "the two files have no layer of the same name"
    return (
        f"{len(same)} of {len(common)} common layers are bit for bit the same"
        + (f": {', '.join(same)}" if same and len(same) < len(common) else "")
        + (
            f"; {len(layers) - len(common)} are in one file only"
            if len(layers) > len(common)
            else ""
        )
    )


def _shape(shape: list[int]) -> str:
    return "x".join(map(str, shape)) or "one number"
