"""What `make` alone prints: targets, tasks, inits, scenarios, variables. Needs no packages."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from lib.cli import Parser, run
from lib.text import read_text, read_toml
from prototxt.caffenet import SCENARIOS
from prototxt.settings import Settings

_ROOT = Path(__file__).resolve().parent.parent
_TARGET = re.compile(r"^([a-z0-9][a-z0-9 -]*):[^#=\n]*##\s*(.+)$", re.MULTILINE)

# Variables besides the settings of a training: meaning, an example.
_VARIABLES = {
    "INIT": ("weights to start from (hybrid); run:<task>/<run>: an earlier run's", "sentiment"),
    "SCENARIO": ("which layers learn (all)", "skip_first2"),
    "SPLIT": (
        "by_image as in the paper; by_work: no work on two sides; given: the source's own",
        "by_work",
    ),
    "SPLIT_SEED": ("which split (1)", "2"),
    "RUN": ("name of the run (made from its settings)", "my_run"),
    "GPU": ("a GPU's number, none: the CPU, auto: GPU 0 if Caffe can use it (auto)", "none"),
    "THREADS": ("BLAS threads (one a core)", "1"),
    "FORCE": ("make anew, edited prototxts too; a backup is kept", "1"),
    "KEEP": ("all: keep every snapshot of a run", "all"),
    "SKIP_BROKEN": ("leave broken images out of the LMDBs", "1"),
    "SIDE_BY_SIDE": ("runs of a grid at a time on this machine", "2"),
    "INDEX": ("how the nearest images are searched (exact)", "hnsw"),
    "LABEL": ("the class that `make explain` is about (the likeliest)", "portrait"),
    "HOST": ("address that `make serve` listens on (127.0.0.1: this machine alone)", "0.0.0.0"),
    "PORT": ("where `make serve` listens (8765)", "8080"),
    "WORKERS": ("processes that decode images (one a core)", "4"),
    "RAW": ("where the sources' material lies (datasets/raw)", "/mnt/paintings"),
    "CAFFE_PYTHON": ("a Python of yours that can import caffe", "/opt/caffe/bin/python3"),
    "CAFFE_DEBS": ("a folder of the packages that `make caffe` needs", "/mnt/debs"),
    "DEBIAN_MIRROR": ("the mirror that `make caffe` asks", "ADDRESS"),
    "TASK": ("task of a step: make lmdb TASK=...", "wga_artist"),
    "FROM": ("the dataset of Hugging Face that `make images` gets", "huggan/wikiart"),
    "READ_AS": ("which of two readings of a collection is meant: what the question says", "lists"),
    "SOURCE": ("whose images `make images` downloads", "wga"),
    "WEIGHTS": ("a .caffemodel to look at, compare, score or take features with", "a.caffemodel"),
    "WITH": ("the .caffemodel to compare WEIGHTS with", "b.caffemodel"),
    "FILE": ("weights of yours for `make weights`: .caffemodel or .tar.gz", "memnet.tar.gz"),
    "MEAN": ("a mean file of yours: .binaryproto or .npy", "mean.binaryproto"),
    "NET": ("the train_val.prototxt of foreign WEIGHTS", "train_val.prototxt"),
    "LOG": ("somebody's Caffe log, for `make compare`", "caffe.log"),
    "RUNS": ("runs of TASK to tell apart, for `make significance`", '"run1 run2"'),
    "GRID": ("a grid of runs: table2, table3, table4, figures, or a TOML file", "my.toml"),
    "SCHEDULER": ("the Dask scheduler of a grid", "tcp://HOST:8786"),
    "IMAGES": ("a folder of images as collection, instead of TASK", "/mnt/prints"),
    "IMAGE": ("the image that `make explain` is about", "a.jpg"),
    "QUERY": ("the image that `make similar` starts from", "a.jpg"),
    "MODELS": ("runs or inits to search with", '"genre-run style-run"'),
    "K": ("how many neighbours (10)", "5"),
    "BLOB": ("the blob that features are taken from (fc7)", "fc6"),
    "CUDA_HOME": ("the CUDA toolkit for `make caffe-gpu`", "/usr/local/cuda"),
    "CUDA_ARCH": ("architectures to build for (those of the cards here)", '"75 80 90"'),
    "CUDNN": ("0: build without cuDNN; a folder: the cuDNN there", "0"),
    "JOBS": ("compilers at once (one a core)", "4"),
    "OTHER": ("an engine to compare with, for `make parity`", "/opt/caffe/bin/python3"),
    "BENCHES": ("which figures of speed", '"lmdb grid"'),
    "TESTS": ("some of the tests", "tests/test_split.py"),
    "PYTHON": ("Python 3.11 or newer for .venv (python3)", "/usr/bin/python3.12"),
}

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
            f"{each.name.upper()}={each.default:g}": each.metadata["help"]
            for each in fields(Settings)
        },
    )
    _section(
        "other variables",
        {f"{name}={example}": words for name, (words, example) in _VARIABLES.items()},
    )
    print(f"to begin with\n{_BEGIN}", end="")  # once more, where a terminal shows it


def _inits() -> dict[str, str]:
    inits = {"scratch": "CaffeNet's own random fillers"}
    for card in sorted((_ROOT / "models").glob("*/readme.md")):
        trained = re.search(r"^source_task: *(.+)$", read_text(card), re.MULTILINE)
        inits[card.parent.name] = trained[1] if trained else ""
    return inits


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
