"""The cards of the initialisations: models/<init>/readme.md, as in Caffe's model zoo.

A card is a readme with YAML front matter. The zoo's keys are name, caffemodel, caffemodel_url,
license, sha1; ours are said at `Card`. A folder with a card is an init: adding one adds an init.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lib.errors import UserError, unknown
from lib.text import read_lines
from prototxt.own_nets import NAMES

MODELS = Path(__file__).resolve().parent
CARD = "readme.md"
PROTOTXTS = ("deploy.prototxt", "train_val.prototxt")  # as the model zoo gives out its nets

_REQUIRED = (
    "name",
    "caffemodel",
    "license",
    "mean",
    "last_layer",
    "outputs",
    "source_task",
    "citation",
)
_OPTIONAL = (
    "aliases",
    "caffemodel_url",
    "caffemodel_member",
    "sha1",
    "sha256",
    "md5",
    "bytes",
    "package",
    "package_sha256",
    "net",
    "crop",
    "scale",
    "mean_url",
    "mean_member",
    "mean_value",
    "caffe_commit",  # the zoo's, read by nobody here
    "gist_id",
)


@dataclass(frozen=True)
class Card:
    """What is known of an init. Lists may be written as one word or as a YAML list."""

    init: str
    folder: Path
    name: str
    aliases: tuple[str, ...]  # other names that users may give: Table 2's `caffe`
    caffemodel: str  # the name of the weights file in the folder
    caffemodel_url: tuple[str, ...]  # addresses, tried in order; of the file or of a .tar.gz
    caffemodel_member: tuple[str, ...]  # what it may be called in an archive or at an address
    sha1: tuple[str, ...]  # every published one; empty: the first seen goes into the lock
    sha256: tuple[str, ...]
    md5: tuple[str, ...]
    size: int | None  # bytes of the weights file, where published
    package: str  # name==version of a source package of the Python registry that holds the weights
    package_sha256: str
    net: str  # one of ours (prototxt.own_nets), or the name of a prototxt in the folder
    crop: int | None  # side of the net's input, where it is not what the net says
    scale: float  # of the pixels, once the mean is taken off
    mean: str  # the name of the mean file in the folder, a .binaryproto
    mean_url: tuple[str, ...]
    mean_member: tuple[str, ...]
    mean_value: tuple[float, ...]  # B, G, R, where these are published and no file is; 0 0 0: none
    last_layer: str  # the classifier of the source task, which is left out
    outputs: int  # its number of outputs
    source_task: str
    license: str
    citation: str

    @property
    def weights_path(self) -> Path:
        """Where the weights lie once they are in place."""
        return self.folder / self.caffemodel

    @property
    def mean_path(self) -> Path:
        """Where the mean lies once it is in place."""
        return self.folder / self.mean


def init_names(root: Path = MODELS) -> list[str]:
    """The inits that have a card, sorted."""
    return sorted(path.parent.name for path in root.glob(f"*/{CARD}"))


def load_cards(root: Path = MODELS) -> list[Card]:
    """All cards, sorted by init."""
    return [load_card(name, root) for name in init_names(root)]


def find_card(name: str, root: Path = MODELS) -> Card:
    """The card of an init, by its name or one of its aliases.

    Raises UserError when there is none, with the nearest names.
    """
    names = init_names(root)
    if name in names:
        return load_card(name, root)
    cards = load_cards(root)
    for card in cards:
        if name in card.aliases:
            return card
    raise unknown("init", name, [*names, *(alias for card in cards for alias in card.aliases)])


def load_card(init: str, root: Path = MODELS) -> Card:
    """Read models/<init>/readme.md.

    Raises UserError naming the card and the key that is missing, misspelt or malformed.
    """
    path = root / init / CARD
    fields = _front_matter(path)
    for key in fields:
        if key not in _REQUIRED + _OPTIONAL:
            raise UserError(f"{path}: {unknown('key', key, _REQUIRED + _OPTIONAL)}")
    for key in _REQUIRED:
        if not fields.get(key):
            raise UserError(f"{path}: the front matter has no '{key}'")

    def words(key: str) -> tuple[str, ...]:
        value = fields.get(key) or ()
        found = (value,) if isinstance(value, str) else value
        if not isinstance(found, list | tuple) or not all(isinstance(word, str) for word in found):
            raise UserError(f"{path}: '{key}' is neither a word nor a list of words")
        return tuple(found)

    def word(key: str) -> str:
        (*rest, last) = words(key) or ("",)
        if rest:
            raise UserError(f"{path}: '{key}' is a list; one word is expected")
        return last

    def numbers(key: str) -> tuple[float, ...]:
        try:
            return tuple(float(value) for value in words(key))
        except ValueError:
            raise UserError(f"{path}: '{key}' is not made of numbers") from None

    card = Card(
        init=init,
        folder=path.parent,
        name=word("name"),
        aliases=words("aliases"),
        caffemodel=word("caffemodel"),
        caffemodel_url=words("caffemodel_url"),
        caffemodel_member=words("caffemodel_member") or words("caffemodel"),
        sha1=tuple(sha1.lower() for sha1 in words("sha1")),
        sha256=tuple(digest.lower() for digest in words("sha256")),
        md5=tuple(digest.lower() for digest in words("md5")),
        size=_count(path, "bytes", word("bytes")) if word("bytes") else None,
        package=word("package"),
        package_sha256=word("package_sha256").lower(),
        net=word("net") or _net_in(path.parent),
        crop=_count(path, "crop", word("crop")) if word("crop") else None,
        scale=_positive(path, "scale", word("scale") or "1"),
        mean=word("mean"),
        mean_url=words("mean_url"),
        mean_member=words("mean_member") or words("mean"),
        mean_value=numbers("mean_value"),
        last_layer=word("last_layer"),
        outputs=_count(path, "outputs", word("outputs")),
        source_task=word("source_task"),
        license=word("license"),
        citation=word("citation"),
    )
    _check(path, card)
    return card


def _front_matter(path: Path) -> Mapping[str, Any]:
    lines = read_lines(path)
    fences = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
    if len(fences) < 2 or fences[0] != 0:
        raise UserError(f"{path}: no front matter: the card must begin with it, between two '---'")
    try:
        # BaseLoader leaves every value a string: a SHA-1 such as 1234e567 is no number here.
        fields = yaml.load("\n".join(lines[1 : fences[1]]), Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 2}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: the front matter is no YAML: {error.problem}") from None
    if not isinstance(fields, dict):
        raise UserError(f"{path}: the front matter is no list of 'key: value'")
    return fields


def _count(path: Path, key: str, word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise UserError(f"{path}: '{key}' is '{word}', not a whole number from 1 on")
    return int(word)


def _positive(path: Path, key: str, word: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise UserError(f"{path}: '{key}' is '{word}', not a number above 0")
    return number


def _net_in(folder: Path) -> str:
    """The net of a card that names none: the prototxt that lies beside it, else CaffeNet."""
    return next((name for name in PROTOTXTS if (folder / name).is_file()), "caffenet")


def _check(path: Path, card: Card) -> None:
    files = {"caffemodel": (card.caffemodel, ".caffemodel"), "mean": (card.mean, ".binaryproto")}
    for key, (name, suffix) in files.items():
        if Path(name).name != name or not name.endswith(suffix):
            raise UserError(f"{path}: '{key}' is '{name}', not the plain name of a {suffix} file")
    if card.mean_url and card.mean_value:
        raise UserError(f"{path}: give 'mean_url' or 'mean_value' (B, G, R), one of the two")
    if card.mean_value and len(card.mean_value) != 3:
        raise UserError(f"{path}: 'mean_value' has {len(card.mean_value)} numbers, not 3 (B, G, R)")
    packaged = (card.package_sha256,) if card.package else ()
    for kind, length, digests in (
        ("SHA-1", 40, card.sha1),
        ("SHA-256", 64, card.sha256 + packaged),
        ("MD5", 32, card.md5),
    ):
        for digest in digests:
            if len(digest) != length or set(digest) - set("0123456789abcdef"):
                raise UserError(f"{path}: '{digest}' is no {kind} ({length} hexadecimal digits)")
    if card.net.endswith(".prototxt"):
        if Path(card.net).name != card.net or not (path.parent / card.net).is_file():
            raise UserError(f"{path}: 'net' is '{card.net}', and no such file lies in its folder")
    elif card.net not in NAMES:
        raise UserError(f"{path}: 'net': {unknown('net', card.net, [*NAMES, *PROTOTXTS])}")
    for url in card.caffemodel_url + card.mean_url:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"{path}: '{url}' is no http or https address")
