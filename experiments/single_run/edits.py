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
from experiments.single_run.run_json import RunRecord
from lib.files import sha256
from prototxt.keep import RECORD

# Comments, and what differs between seeds, places and devices of one experiment.
_IGNORED = re.compile(
    rb"#.*|^\s*(random_seed|net|train_net|test_net|snapshot_prefix|source|mean_file"
    rb"|solver_mode|device_id)\s*:.*$",
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


def find_edits(folder: RunFolder, record: RunRecord) -> Edits:
    """The edits of a run, as its record says.

    Of a run whose record was written before records said so: as far as the record of its
    prototxts' folder tells; where that was not brought along, only another batch is known.
    """
    planned = record.plan.settings.batch
    batch = planned if record.batch is None else record.batch
    what = [f"batch {batch}"] if batch != planned else []
    edited = record.edits
    if edited is None:
        made_in = prototxt_folder(record.task, record.run)
        edited = edited_prototxts(folder, made_in) if _read_made(made_in) is not None else {}
    return Edits((*what, *edited), (*what, *edited.values()))


def edited_prototxts(folder: RunFolder, made_in: Path) -> dict[str, str]:
    """The prototxts in a run's folder that are not as they were generated in the folder `made_in`.

    By name, with the SHA-256 of what they say. Where nothing says what was generated (the record in
    `made_in` is missing or broken), all of them, as `make prototxt` takes them for edited too.
    """
    hashes = _read_made(made_in) or {}
    return {
        path.name: hashlib.sha256(_bare(path)).hexdigest()
        for path in (folder.train_val, folder.solver)
        if path.is_file() and _is_edited(path, made_in / path.name, hashes.get(path.name))
    }


def _read_made(folder: Path) -> dict[str, object] | None:
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
    return b" ".join(_IGNORED.sub(b"", path.read_bytes()).split())
