"""70/10/20 within every class, from the seed alone; and with the images of a work kept together."""

from __future__ import annotations

import random
from collections import Counter
from itertools import chain, pairwise

import pytest

from datasets.folders import PARTS
from datasets.split import by_image, by_work, quotas
from lib.errors import UserError

SIZES = {"many": 1234, "some": 97, "few": 11, "three": 3}


def collection(sizes: dict[str, int]) -> dict[str, str]:
    return {f"{name}/{i} é.jpg": name for name, size in sizes.items() for i in range(size)}


@pytest.mark.parametrize("number", [*range(3, 60), 99, 1000, 5819, 28669])
def test_quotas_sum_exactly_and_leave_no_part_empty(number: int) -> None:
    sizes = quotas(number)
    assert sum(sizes.values()) == number
    assert min(sizes.values()) >= 1
    if number >= 10:
        assert abs(sizes["train"] - 0.7 * number) < 1
        assert abs(sizes["val"] - 0.1 * number) < 1
        assert abs(sizes["test"] - 0.2 * number) < 1


def test_quotas_of_round_numbers() -> None:
    assert quotas(10) == {"train": 7, "val": 1, "test": 2}
    assert quotas(16) == {"train": 11, "val": 2, "test": 3}
    assert quotas(3) == {"train": 1, "val": 1, "test": 1}


def test_every_image_is_in_one_part_and_classes_have_their_quotas() -> None:
    labels = collection(SIZES)
    parts = by_image(labels, seed=1)
    assert sorted(chain.from_iterable(parts.values())) == sorted(labels)
    for name, size in SIZES.items():
        found = {part: sum(labels[image] == name for image in parts[part]) for part in PARTS}
        assert found == quotas(size)


def test_split_depends_on_the_seed_and_not_on_the_order_of_rows() -> None:
    labels = collection(SIZES)
    rows = list(labels.items())
    random.Random(5).shuffle(rows)
    assert by_image(dict(rows), seed=1) == by_image(labels, seed=1)
    assert by_image(labels, seed=2) != by_image(labels, seed=1)


def test_split_is_pinned_for_all_time() -> None:
    """The same lists on any machine and version; a change here changes everybody's experiments."""
    parts = by_image({f"{i}.jpg": "ab"[i % 2] for i in range(12)}, seed=1)
    assert parts == {
        "train": ["9.jpg", "0.jpg", "7.jpg", "4.jpg", "10.jpg", "6.jpg", "11.jpg", "3.jpg"],
        "val": ["8.jpg", "1.jpg"],
        "test": ["5.jpg", "2.jpg"],
    }


def test_lists_are_mixed() -> None:
    labels = collection({"a": 500, "b": 500})
    train = [labels[image] for image in by_image(labels, seed=1)["train"]]
    changes = sum(one != other for one, other in pairwise(train))
    assert 280 < changes < 420  # 350 is what chance gives


@pytest.mark.parametrize("number", [1, 2])
def test_a_class_too_small_to_split_is_named(number: int) -> None:
    with pytest.raises(UserError, match=f"'tiny' has {number} image"):
        by_image(collection({"many": 10, "tiny": number}), seed=1)


def works_of(labels: dict[str, str], sizes: list[int]) -> dict[str, str]:
    """Works of the given sizes, over and over; some have images of two classes."""
    images, works = sorted(labels), {}
    number = start = 0
    while start < len(images):
        size = sizes[number % len(sizes)]
        for image in images[start : start + size]:
            works[image] = f"work {number}"
        number, start = number + 1, start + size
    return works


def test_by_work_keeps_works_together_and_counts_exact() -> None:
    labels = collection({"many": 1234, "some": 211, "few": 60})
    works = works_of(labels, [1, 1, 5, 2, 1, 17, 1, 1, 3])
    crossing = {w for w in works.values() if len({labels[i] for i in labels if works[i] == w}) > 1}
    assert crossing, "the test needs a work whose images have different labels"
    parts = by_work(labels, works, seed=3)
    assert sorted(chain.from_iterable(parts.values())) == sorted(labels)
    part_of = {image: part for part, images in parts.items() for image in images}
    sides: dict[str, set[str]] = {}
    for image, work in works.items():
        sides.setdefault(work, set()).add(part_of[image])
    assert all(len(side) == 1 for side in sides.values())
    for name, size in Counter(labels.values()).items():
        found = {part: sum(labels[image] == name for image in parts[part]) for part in PARTS}
        wanted = quotas(size)
        assert all(abs(found[part] - wanted[part]) <= 2 for part in PARTS), (name, found, wanted)


def test_by_work_spreads_large_works_over_the_parts() -> None:
    labels = collection({"a": 1000, "b": 1000})
    works = works_of(labels, [20])
    parts = by_work(labels, works, seed=1)
    assert {part: len(images) for part, images in parts.items()} == {
        "train": 1400,
        "val": 200,
        "test": 400,
    }


def test_by_work_fills_every_part_even_of_three_large_works() -> None:
    labels = collection({"a": 300, "b": 30})
    works = {image: f"{labels[image]} {n % 3}" for n, image in enumerate(sorted(labels))}
    parts = by_work(labels, works, seed=1)
    for part in PARTS:
        assert {labels[image] for image in parts[part]} == {"a", "b"}


def test_by_work_is_independent_of_the_order_of_rows() -> None:
    labels = collection(SIZES)
    works = works_of(labels, [1, 4, 2])
    works |= {image: image for image in labels if labels[image] == "three"}
    rows = list(labels.items())
    random.Random(5).shuffle(rows)
    assert by_work(dict(rows), works, seed=1) == by_work(labels, works, seed=1)
    assert by_work(labels, works, seed=2) != by_work(labels, works, seed=1)


def test_by_work_names_a_class_of_too_few_works() -> None:
    labels = collection({"a": 300, "one picture": 30})
    works = {image: image if label == "a" else "it" for image, label in labels.items()}
    with pytest.raises(UserError, match="'one picture' has 1 work "):
        by_work(labels, works, seed=1)
