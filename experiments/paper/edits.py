"""What somebody edited by hand in the prototxts that a run was made from.

Its settings don't say it, but such a run is another net, or learnt in another way: an experiment of
its own.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from experiments.single_run.folder import RunFolder, prototxt_folder
from experiments.single_run.record import Record
from lib.files import sha256
from prototxt.keep import RECORD
from prototxt.settings import Settings

# Comments, and what differs between seeds, places and devices of one experiment.
_ASIDE = re.compile(
    rb"#.*|^\s*(random_seed|net|snapshot_prefix|source|mean_file|solver_mode|device_id)\s*:.*$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Edits:
    """The edits of one run; those of an unedited one are false."""

    what: tuple[str, ...] = ()  # "batch 64", "train_val.prototxt"
    contents: tuple[str, ...] = ()  # the same for runs that were edited in the same way

    def __bool__(self) -> bool:
        return bool(self.what)

    def __str__(self) -> str:
        return f"edited by hand ({', '.join(self.what)})" if self.what else ""


def find_edits(folder: RunFolder, record: Record, settings: Settings) -> Edits:
    """The edits of a run, as far as its record and the one of its prototxts' folder tell of them.

    Where the folder of prototxts was not brought along, only another batch is known.
    """
    batch = record.get("batch", settings.batch)
    what = [f"batch {batch}"] if batch != settings.batch else []
    contents = list(what)
    made_in = prototxt_folder(record["task"], record["run"])
    hashes = _made(made_in)
    for path in (folder.train_val, folder.solver):
        if hashes is None or not path.is_file():
            continue
        if _is_edited(path, made_in / path.name, hashes.get(path.name)):
            what.append(path.name)
            contents.append(hashlib.sha256(_bare(path)).hexdigest())
    return Edits(tuple(what), tuple(contents))


def _made(folder: Path) -> dict[str, object] | None:
    """The hashes of what was generated in a folder, by file; None where nothing is known."""
    try:
        made = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return made if isinstance(made, dict) else None


def _is_edited(kept: Path, made: Path, hashes: object) -> bool:
    """Whether a run's prototxt is not what was generated.

    What is generated anew for another device (GPU=) has another hash, but is no edit.
    """
    known = hashes if isinstance(hashes, list) else []
    if sha256(kept) in known:
        return False
    is_anew = made.is_file() and sha256(made) in known
    return not (is_anew and _bare(made) == _bare(kept))


def _bare(path: Path) -> bytes:
    """A prototxt without what makes no other experiment, its words a blank apart."""
    return b" ".join(_ASIDE.sub(b"", path.read_bytes()).split())
