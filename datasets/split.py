"""70 % train, 10 % val, 20 % test within every class (section 3 of the paper), from a seed alone.

Who goes where is decided by the SHA-256 of the seed and the image's path: no random generator whose
stream may change with a library, and no dependence on the order of files or rows.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from datasets.folders import PARTS
from lib.errors import UserError

TENTHS = {"train": 7, "val": 1, "test": 2}


def quotas(number: int) -> dict[str, int]:
    """How many of `number` images each part gets: largest remainder, no part empty from 3 on."""
    sizes = {part: number * TENTHS[part] // 10 for part in PARTS}
    by_remainder = sorted(PARTS, key=lambda part: -(number * TENTHS[part] % 10))
    for part in by_remainder[: number - sum(sizes.values())]:
        sizes[part] += 1
    for part in PARTS:
        if sizes[part] == 0 and number >= len(PARTS):
            sizes[part] += 1
            sizes[max(PARTS, key=lambda name: sizes[name])] -= 1
    return sizes


def by_image(labels: Mapping[str, str], seed: int) -> dict[str, list[str]]:
    """The images of each part, shuffled. `labels` maps image to class name.

    UserError when a class has fewer than 3 images: one for each part.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for image, label in labels.items():
        members[label].append(image)
    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for label, images in sorted(members.items()):
        if len(images) < len(PARTS):
            raise _too_few(label, len(images), "image")
        images = shuffled(images, f"{seed}/split")
        start = 0
        for part, size in quotas(len(images)).items():
            parts[part] += images[start : start + size]
            start += size
    return {part: shuffled(images, f"{seed}/order") for part, images in parts.items()}


def by_work(labels: Mapping[str, str], works: Mapping[str, str], seed: int) -> dict[str, list[str]]:
    """As by_image, with all images of one work in the same part. `works` maps image to work.

    The largest works are placed first, each where it brings the counts of its classes nearest to
    70/10/20 (least chi-square); single images then fill what is left, so that the counts of a class
    with enough of them come out exact. UserError when a class has fewer than 3 works.
    """
    wanted = {label: quotas(n) for label, n in Counter(labels.values()).items()}
    members: dict[str, list[str]] = defaultdict(list)
    for image in labels:
        members[works[image]].append(image)
    classes = {work: Counter(labels[image] for image in images) for work, images in members.items()}
    works_of: dict[str, list[str]] = defaultdict(list)
    for work, its_classes in classes.items():
        for label in its_classes:
            works_of[label].append(work)
    for label in sorted(works_of):
        if len(works_of[label]) < len(PARTS):
            raise _too_few(label, len(works_of[label]), "work")

    open_places = {label: dict(sizes) for label, sizes in wanted.items()}

    def cost(work: str, part: str) -> float:
        """How much chi-square grows when the work goes to the part."""
        return sum(
            (n * n - 2 * n * open_places[label][part]) / wanted[label][part]
            for label, n in classes[work].items()
        )

    order = shuffled(members, f"{seed}/work")
    order.sort(key=lambda work: (-len(members[work]), -len(classes[work])))
    place: dict[str, str] = {}

    def put(work: str, part: str) -> None:
        if work in place:
            for label, n in classes[work].items():
                open_places[label][place[work]] += n
        place[work] = part
        for label, n in classes[work].items():
            open_places[label][part] -= n

    for work in order:
        put(work, min(PARTS, key=lambda part: cost(work, part)))

    there: dict[str, Counter[str]] = {
        label: Counter(place[work] for work in its_works) for label, its_works in works_of.items()
    }
    for label in sorted(works_of):
        for part in PARTS:
            if there[label][part] > 0:
                continue
            # A class of a few large works: move the one that costs least and empties no part.
            spare = [
                work
                for work in works_of[label]
                if all(there[name][place[work]] > 1 for name in classes[work])
            ]
            if not spare:
                raise _too_few(label, len(works_of[label]), "work")
            work = min(spare, key=lambda work: (cost(work, part), key_of(work, str(seed))))
            for name in classes[work]:
                there[name][place[work]] -= 1
                there[name][part] += 1
            put(work, part)

    parts: dict[str, list[str]] = {part: [] for part in PARTS}
    for work, images in members.items():
        parts[place[work]] += images
    return {part: shuffled(images, f"{seed}/order") for part, images in parts.items()}


def as_given(
    labels: Mapping[str, str], parts: Mapping[str, str], seed: int
) -> tuple[dict[str, list[str]], list[str]]:
    """The source's own train, val and test, shuffled, and what had to be decided, in words.

    `parts` maps image to part. A source of two parts has no val: the second part, val or test, is
    the test set, as those who publish on such a source use it, and an eighth of each class of
    train becomes val (10 of 80, as the paper has 10 beside 70). UserError when there is one part
    only, or a class has no image to train with.
    """
    there = set(parts.values())
    if "train" not in there or len(there) < 2:
        had = f"only {' and '.join(sorted(there))}" if there else "no given split"
        raise UserError(
            f"SPLIT=given: the source has {had}; it takes train and test, with val or without"
        )
    said = []
    place = dict(parts)
    if len(there) == 2:
        if "val" in there:
            place = {image: "test" if part == "val" else part for image, part in parts.items()}
            said.append("the source has train and val, no test: its val is the test set")
        said.append("the source has no val: an eighth of each class of train is val")
        members: dict[str, list[str]] = defaultdict(list)
        for image, part in place.items():
            if part == "train":
                members[labels[image]].append(image)
        for images in members.values():
            number = round(len(images) / 8) or (1 if len(images) > 1 else 0)
            for image in shuffled(images, f"{seed}/val")[:number]:
                place[image] = "val"
    for label in sorted(set(labels.values())):
        own = Counter(place[image] for image in place if labels[image] == label)
        if not own["train"]:
            raise UserError(f"SPLIT=given: class '{label}' has no image to train with")
        said += [
            f"class '{label}' has no image in {part}" for part in ("val", "test") if not own[part]
        ]
    split: dict[str, list[str]] = {part: [] for part in PARTS}
    for image, part in place.items():
        split[part].append(image)
    return {part: shuffled(images, f"{seed}/order") for part, images in split.items()}, said


def shuffled(names: Iterable[str], seed: str) -> list[str]:
    """The names in an order that depends on them and the seed alone."""
    return sorted(names, key=lambda name: key_of(name, seed))


def key_of(name: str, seed: str) -> bytes:
    """A number for a name, as good as random, the same everywhere."""
    return hashlib.sha256(f"{seed}/{name}".encode("utf-8", "surrogateescape")).digest()


def _too_few(label: str, number: int, noun: str) -> UserError:
    return UserError(
        f"class '{label}' has {number} {noun}{'' if number == 1 else 's'} to split, too few for "
        f"train, val and test; raise the task's minimum, or leave the class out (labels_left_out)"
    )
