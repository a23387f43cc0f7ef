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

MODELS = Path(__file__).resolve().parent
CARD = "readme.md"

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
    mean: str  # the name of the mean file in the folder, a .binaryproto
    mean_url: tuple[str, ...]
    mean_member: tuple[str, ...]
    mean_value: tuple[float, ...]  # B, G, R, where these are published and no file is
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
        mean=word("mean"),
        mean_url=words("mean_url"),
        mean_member=words("mean_member") or words("mean"),
        mean_value=numbers("mean_value"),
        last_layer=word("last_layer"),
        outputs=_count(path, word("outputs")),
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


def _count(path: Path, word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise UserError(f"{path}: 'outputs' is '{word}', not a number of outputs")
    return int(word)


def _check(path: Path, card: Card) -> None:
    files = {"caffemodel": (card.caffemodel, ".caffemodel"), "mean": (card.mean, ".binaryproto")}
    for key, (name, suffix) in files.items():
        if Path(name).name != name or not name.endswith(suffix):
            raise UserError(f"{path}: '{key}' is '{name}', not the plain name of a {suffix} file")
    if card.mean_url and card.mean_value:
        raise UserError(f"{path}: give 'mean_url' or 'mean_value' (B, G, R), one of the two")
    if card.mean_value and len(card.mean_value) != 3:
        raise UserError(f"{path}: 'mean_value' has {len(card.mean_value)} numbers, not 3 (B, G, R)")
    for sha1 in card.sha1:
        if len(sha1) != 40 or set(sha1) - set("0123456789abcdef"):
            raise UserError(f"{path}: '{sha1}' is no SHA-1 (40 hexadecimal digits)")
    for url in card.caffemodel_url + card.mean_url:
        if not url.startswith(("http://", "https://")):
            raise UserError(f"{path}: '{url}' is no http or https address")
