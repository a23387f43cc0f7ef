"""Grids of runs: small TOML files that say which runs there shall be.

A grid file holds one block or more, each a product of its lists:

    [[runs]]
    tasks = ["wga_artist", "wga_genre"]     # of datasets/tasks.toml
    inits = ["hybrid", "run:wga_artist/hybrid-all"]
    scenarios = ["all", "only_last"]        # without it: ["all"]
    seeds = [1, 2, 3]                       # Caffe's random_seed; without it: [1]
    split_seeds = [1]                       # of the split into train, val, test; without it: [1]
    split = "by_image"                      # or "by_work"
    settings = {epochs = 20, lr = [1e-3, 1e-4]}   # without it: the paper's

A list in `settings` tries each of its values; a list of such tables tries each table. What several
blocks, or several grids, have in common is one run.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from datasets.folders import SPLITS
from datasets.tasks import load_tasks
from experiments.single_run.plan import RunPlan
from experiments.single_run.start import OWN_RUN, SCRATCH
from lib.errors import UserError, unknown
from lib.text import read_toml
from models.cards import load_cards
from prototxt.caffenet import SCENARIOS
from prototxt.settings import Settings

GRIDS = Path("experiments/grids")

_KEYS = ("tasks", "inits", "scenarios", "seeds", "split_seeds", "split", "settings")
_SETTINGS = {each.name: each for each in fields(Settings)}


def grid_names() -> list[str]:
    """The names of the project's own grids."""
    return sorted(path.stem for path in GRIDS.glob("*.toml"))


def find_grid(word: str) -> Path:
    """A TOML file, or the name of one of the project's grids: table2.

    Raises UserError, with the nearest names, for a bare word that is neither.
    """
    path, own = Path(word), GRIDS / f"{word}.toml"
    if path.is_file():
        return path
    if own.is_file():
        return own
    if path.suffix or path.name != word:
        return path  # load_grid says that there is no such file
    raise unknown("grid", word, grid_names())


def load_grid(path: Path) -> list[RunPlan]:
    """The runs of a grid file, each once, in the order of the file.

    Raises UserError naming the file and block for a word or key that is not known (with the nearest
    ones), a value that makes no sense, and a grid without runs.
    """
    if not path.exists():
        raise UserError(f"no grid {path}: a TOML file, as those in {GRIDS}/ are")
    said = read_toml(path)
    for key in said:
        if key != "runs":
            raise unknown(f"key in {path},", key, ["runs"])
    blocks = said.get("runs")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise UserError(f"{path}: a grid is made of blocks that begin with a line [[runs]]")
    tasks, inits = list(load_tasks()), _inits()
    runs = merge(
        *(
            _block(block, f"{path}: [[runs]] number {number}", tasks, inits)
            for number, block in enumerate(blocks, start=1)
        )
    )
    if not runs:
        raise UserError(f"{path}: no runs in it: a grid needs a block [[runs]] with tasks, inits")
    return runs


def merge(*grids: Iterable[RunPlan]) -> list[RunPlan]:
    """The runs of several grids, each once: Tables 2 and 3 have 81 together, not 90."""
    found: dict[tuple[str, str], RunPlan] = {}
    for run in itertools.chain(*grids):
        found.setdefault((run.task, run.name), run)
    return list(found.values())


def _block(
    block: dict[str, Any], here: str, tasks: Sequence[str], inits: dict[str, str]
) -> Iterator[RunPlan]:
    for key in block:
        if key not in _KEYS:
            raise unknown(f"key in {here},", key, _KEYS)
    split = block.get("split", "by_image")
    if split not in SPLITS:
        raise unknown(f"split in {here},", str(split), SPLITS)
    yield from (
        RunPlan(task, init, scenario, settings, split, split_seed)
        for task, init, scenario, split_seed, settings in itertools.product(
            _words(block, "tasks", here, tasks),
            [_init(word, here, inits) for word in _words(block, "inits", here)],
            _words(block, "scenarios", here, SCENARIOS, ["all"]),
            _numbers(block, "split_seeds", here),
            _settings(block, here),
        )
    )


def _words(
    block: dict[str, Any],
    key: str,
    here: str,
    valid: Iterable[str] | None = None,
    default: list[str] | None = None,
) -> list[str]:
    words = block.get(key, default)
    if words is None:
        raise UserError(f"{here} has no {key}")
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        raise UserError(f'{here}: {key} is {words!r}, must be a list of names: ["a", "b"]')
    for word in words:
        if valid is not None and word not in valid:
            raise unknown(f"{key.removesuffix('s')} in {here},", word, valid)
    return words


def _numbers(block: dict[str, Any], key: str, here: str) -> list[int]:
    numbers = block.get(key, [1])
    if not isinstance(numbers, list) or not numbers or not all(type(n) is int for n in numbers):
        raise UserError(f"{here}: {key} is {numbers!r}, must be a list of whole numbers: [1, 2]")
    return numbers


def _inits() -> dict[str, str]:
    """Every word for an init of models/, with the init that it means."""
    meant = {word: card.init for card in load_cards() for word in (*card.aliases, card.init)}
    return {**meant, SCRATCH: SCRATCH}


def _init(word: str, here: str, inits: dict[str, str]) -> str:
    if word.startswith(OWN_RUN):
        task, slash, name = word.removeprefix(OWN_RUN).partition("/")
        if not (task and slash and name):
            raise UserError(f"{here}: init {word}: an earlier run is named run:<task>/<run>")
        return word
    if word not in inits:
        raise unknown(f"init in {here},", word, inits)
    return inits[word]


def _settings(block: dict[str, Any], here: str) -> list[Settings]:
    """Every combination of the block's settings and seeds."""
    tables = block.get("settings", {})
    tables = [tables] if isinstance(tables, dict) else tables
    if not isinstance(tables, list) or not tables or not all(isinstance(t, dict) for t in tables):
        raise UserError(f"{here}: settings is {tables!r}, must be a table: {{epochs = 20}}")
    seeds = _numbers(block, "seeds", here)
    found = []
    for table in tables:
        choices = {name: _choices(name, value, here) for name, value in table.items()}
        for values in itertools.product(*choices.values(), seeds):
            chosen = dict(zip([*choices, "seed"], values, strict=True))
            try:
                found.append(Settings(**chosen))
            except UserError as error:
                raise UserError(f"{here}: {error}") from None
    return found


def _choices(name: str, value: Any, here: str) -> list[float]:
    if name == "seed":
        raise UserError(f"{here}: seeds are written beside the settings: seeds = [1, 2, 3]")
    if name not in _SETTINGS:
        raise unknown(f"setting in {here},", name, set(_SETTINGS) - {"seed"})
    whole = _SETTINGS[name].type == "int"
    values = value if isinstance(value, list) else [value]
    right = (int,) if whole else (int, float)
    if not values or not all(type(each) in right for each in values):
        kind = "a whole number" if whole else "a number"
        raise UserError(f"{here}: setting {name} is {value!r}, must be {kind}, or a list of such")
    return [each if whole else float(each) for each in values]
