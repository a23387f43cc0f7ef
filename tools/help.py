"""What `make` alone prints: targets, tasks, inits, scenarios, variables. Needs no packages."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from lib.cli import Parser, run
from lib.text import read_text, read_toml
from prototxt.caffenet import SCENARIOS
from prototxt.settings import PAPER, Settings, in_words

_ROOT = Path(__file__).resolve().parent.parent
_TARGET = re.compile(r"^([a-z0-9][a-z0-9 -]*):[^#=\n]*##\s*(.+)$", re.MULTILINE)

_BEGIN = """\
  make demo                            the whole way on a small sample
  make wikiart_genre INIT=sentiment    one experiment of the paper
  make doctor                          what this machine has, and what is missing
"""


def main() -> None:
    """Print the page."""
    parser = Parser(description=__doc__)
    parser.add_argument("makefile", type=Path, help="the Makefile whose targets are listed")
    text = parser.parse_args().makefile.read_text(encoding="utf-8")
    print("Fine-tuning CaffeNet for fine art classification, on Caffe itself.\n")
    print(_BEGIN)
    _section("targets", dict(_TARGET.findall(text)))
    _section("tasks: make TASK", _tasks())
    _section("inits: make wga_genre INIT=hybrid", _inits())
    _section(
        "scenarios: make wga_genre SCENARIO=skip_first",
        {name: f"frozen: {', '.join(frozen) or 'none'}" for name, frozen in SCENARIOS.items()},
    )
    _section(
        "settings of the training, the paper's by default: make wga_genre EPOCHS=20 LR=0.001",
        {
            f"{each.name.upper()}={in_words(getattr(PAPER, each.name))}": each.metadata["help"]
            for each in fields(Settings)
        },
    )
    _section(
        "other variables",
        {f"{name}={each['example']}": each["help"] for name, each in _variables().items()},
    )
    print(f"to begin with\n{_BEGIN}", end="")  # once more, where a terminal shows it


def _inits() -> dict[str, str]:
    inits = {"scratch": "CaffeNet's own random fillers"}
    for card in sorted((_ROOT / "models").glob("*/readme.md")):
        trained = re.search(r"^source_task: *(.+)$", read_text(card), re.MULTILINE)
        inits[card.parent.name] = trained[1] if trained else ""
    return inits


def _variables() -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = read_toml(_ROOT / "tools" / "variables.toml")
    return table


def _tasks() -> dict[str, str]:
    # Only what is there is shown: what a task lacks is said where it is used.
    return {
        name: f"{entry.get('label', '?')} of {entry.get('source', '?')}"
        for name, entry in read_toml(_ROOT / "datasets" / "tasks.toml").items()
        if name != "sources" and isinstance(entry, dict)
    }


def _section(title: str, lines: dict[str, str]) -> None:
    print(f"{title}")
    for name, words in lines.items():
        print(f"  {name:<36} {words}".rstrip())
    print()


if __name__ == "__main__":
    run(main)
