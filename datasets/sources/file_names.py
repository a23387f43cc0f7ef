"""How the names in a catalogue find the files on the disk, however these were unpacked.

The same picture may be called `arnold-bã¶cklin_x.jpg` in a list (UTF-8 once read as Latin-1),
`arnold-b#U00e3#U00b6cklin_x.jpg` on the disk (Info-ZIP's unzip in the C locale writes so), or
`arnold-böcklin_x.jpg`: names are compared by what they mean.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from datasets.image_files import is_image_name
from datasets.sources.listing import Listing
from datasets.table import Note, count, some
from lib.errors import UserError

_UNZIP = re.compile(r"#U([0-9a-fA-F]{4})|#L([0-9a-fA-F]{6})")
_OUTSIDE = r"/|[A-Za-z]:|(.*/)?\.\.(/|$)"
_TIMES = 3  # a name may have been read wrongly more than once


@dataclass(frozen=True)
class FoundFiles:
    """The names of a catalogue as files below `folder`, and notes for people.

    Names that are no file's stay as they are.
    """

    names: pd.Series
    folder: Path
    notes: list[Note]


def find_files(names: pd.Series, listing: Listing) -> FoundFiles:
    """Look for the images of a catalogue in its folder. `names` are paths, or pd.NA.

    A name is a file's path from some folder on. Where none is exactly so it is looked for in
    another spelling, without its folder, and without its suffix; then exactly one file must
    answer, and to no other name.
    """
    wanted = list(dict.fromkeys(names.dropna().tolist()))
    root = _likely_root(wanted, listing.images)
    there = set(listing.images)
    found: dict[str, str] = {}
    lost = []
    for name in wanted:
        if root + name in there:
            found[name] = root + name
        else:
            lost.append(name)
    respelt = []
    if lost and listing.images:
        for key, other_spelling in (
            (_tail, False),
            (lambda path: meaning(_tail(path)), True),
            (_last, False),
            (lambda path: meaning(_last(path)), True),
            (lambda path: meaning(_stem(path)), False),
        ):
            taken = set(found.values())
            free = [path for path in listing.images if path not in taken]
            # Another folder may mean another picture: then no other name may have found the file.
            matched = _unique([name for name in lost if "/" in name], free, key)
            matched |= _unique([name for name in lost if "/" not in name], listing.images, key)
            if other_spelling:
                respelt += [f"{name} is {path}" for name, path in matched.items()]
            found |= matched
            lost = [name for name in lost if name not in matched]
    elsewhere = any(not path.startswith(root) for path in found.values())
    if elsewhere or (found and not root and not any("/" in name for name in wanted)):
        root = _shared_folder(found.values())
    below = len(root)
    renamed = {name: path[below:] for name, path in found.items() if path[below:] != name}
    if renamed:
        names = names.map(lambda name: renamed.get(name, name), na_action="ignore")
        names = names.astype("string")
    notes = []
    if respelt:
        text = f"{count(len(respelt), 'image')} found under another spelling of the name"
        notes.append(Note(text, respelt))
    return FoundFiles(names, listing.folder / root if root else listing.folder, notes)


def find_below(names: pd.Series, listing: Listing, file: Path) -> FoundFiles:
    """As find_files, for names that `file` gives and that may begin at the top of a disk.

    Such a name (DIGITS writes them) is a file of the collection where its end is one's path; or
    all are where they say, outside of the collection. UserError for a name that leads elsewhere.
    """
    paths = names.astype("string")
    paths = paths.mask(paths.str.strip() == "")
    outside = paths.str.match(_OUTSIDE, na=False).astype(bool)
    found = find_files(paths.str.replace(r"^([A-Za-z]:)?/+", "", regex=True), listing)
    if not outside.any():
        return found
    start = "" if found.folder == listing.folder else found.folder.relative_to(listing.folder)
    there = {
        (listing.folder / path).relative_to(found.folder).as_posix()
        for path in listing.images
        if not start or path.startswith(f"{start}/")
    }
    lost = outside & ~found.names.isin(there)
    if not lost.any():
        return found
    absolute = paths[paths.notna()]
    if lost.all() and all(map(_is_image_file, absolute)):
        root = Path(os.path.commonpath([str(Path(name).parent) for name in absolute]))
        relative = paths.map(lambda name: os.path.relpath(name, root), na_action="ignore")
        return FoundFiles(relative.astype("string"), root, [])
    named = [f"{image} ({where})" for where, image in names[lost].items()]
    raise UserError(
        f"{file}: {count(len(named), 'path')} not below {listing.folder / 'images'}: "
        f"{some(named)}; paths must be relative to that folder"
    )


def _is_image_file(name: str) -> bool:
    return name.startswith("/") and is_image_name(name) and Path(name).is_file()


def meaning(name: str) -> str:
    """A name as it was meant: unzip's #Uxxxx and UTF-8 read as something else put right, NFC."""
    if name.isascii() and "#" not in name:
        return name.casefold()
    name = _UNZIP.sub(lambda match: chr(int(match[1] or match[2], 16)), name)
    with suppress(UnicodeError):  # bytes on the disk that are no UTF-8
        name = name.encode("utf-8", "surrogateescape").decode("utf-8")
    if any("\udc80" <= letter <= "\udcff" for letter in name):
        name = name.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    for _ in range(_TIMES):
        mended = _mended(name)
        if mended is None:
            break
        name = mended
    return unicodedata.normalize("NFC", name).casefold()


def _mended(name: str) -> str | None:
    """The name read as UTF-8 once more; None when it is none."""
    # WikiArt wrote such names in small letters: Ã and Â, the first bytes, became ã and â.
    capital = name.replace("ã", "Ã").replace("â", "Â")
    for spelling in dict.fromkeys((name, capital)):
        for encoding in ("latin-1", "cp1252", "cp437"):
            with suppress(UnicodeError):
                mended = spelling.encode(encoding).decode("utf-8")
                if mended != spelling:
                    return mended
    return None


def _likely_root(names: list[str], images: list[str]) -> str:
    """The folder that most names with a folder of their own start from; else 'images/' or ''."""
    below = any(path.startswith("images/") for path in images)
    start = "images/" if below or not images else ""
    with_folder = [name for name in names if "/" in name][:5000]
    there = set(images)
    if sum(start + name in there for name in with_folder) == len(with_folder):
        return start
    tails = set(with_folder)
    votes: Counter[str] = Counter()
    for path in images:
        parts = path.split("/")
        for depth in range(len(parts) - 1):
            if "/".join(parts[depth:]) in tails:
                votes["".join(f"{part}/" for part in parts[:depth])] += 1
                break
    if not votes:
        return start
    most = max(votes.values())
    return start if votes[start] == most else min(p for p in votes if votes[p] == most)


def _unique(names: list[str], paths: list[str], key: Callable[[str], str]) -> dict[str, str]:
    """The pairs of a name and a path that share a key which no other name and no other path has."""
    by_key: dict[str, list[str]] = {}
    for path in paths:
        by_key.setdefault(key(path), []).append(path)
    wanted = Counter(key(name) for name in names)
    return {
        name: by_key[k][0]
        for name in names
        if wanted[k := key(name)] == 1 and len(by_key.get(k, ())) == 1
    }


def _tail(path: str) -> str:
    """The last folder and the name."""
    return "/".join(path.split("/")[-2:])


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _stem(path: str) -> str:
    name = _last(path)
    return name.rpartition(".")[0] if is_image_name(name) else name


def _shared_folder(paths: Iterable[str]) -> str:
    """The deepest folder that all paths lie below."""
    folders = [path.split("/")[:-1] for path in paths]
    shared = []
    for level in zip(*folders, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "".join(f"{part}/" for part in shared)
