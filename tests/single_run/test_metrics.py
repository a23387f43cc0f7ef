"""Test metrics against examples counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.single_run.metrics import score

# Six images of three classes. By likeliest class: a a b | b c | c, so 4 of 6 are right.
PROBABILITIES = np.array(
    [
        [0.7, 0.2, 0.1],
        [0.5, 0.3, 0.2],
        [0.3, 0.6, 0.1],
        [0.1, 0.8, 0.1],
        [0.2, 0.3, 0.5],
        [0.1, 0.1, 0.8],
    ]
)
LABELS = np.array([0, 0, 0, 1, 1, 2])


def test_counted_by_hand() -> None:
    found = score(PROBABILITIES, LABELS, ["a", "b", "c"])
    # a: 2 right of 3, 2 said: precision 1, recall 2/3, F1 4/5. b: 1 of 2, 2 said: 1/2.
    # c: 1 of 1, 2 said: precision 1/2, recall 1, F1 2/3.
    assert found.summary == {
        "images": 6,
        "classes": 3,
        "top1": pytest.approx(4 / 6),
        "top5": 1.0,
        "macro_f1": pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3),
        "weighted_f1": pytest.approx((3 * 4 / 5 + 2 * 1 / 2 + 1 * 2 / 3) / 6),
        "chance": pytest.approx(1 / 3),
        "majority": 0.5,
    }
    assert found.confusion.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert found.per_class == [
        {"class": "a", "images": 3, "right": 2, "accuracy": pytest.approx(2 / 3)},
        {"class": "b", "images": 2, "right": 1, "accuracy": 0.5},
        {"class": "c", "images": 1, "right": 1, "accuracy": 1.0},
    ]


def test_top5_of_seven_classes() -> None:
    # Image i has its own class at rank i + 1, so five of seven are among the five likeliest.
    probabilities = np.empty((7, 7))
    for image in range(7):
        order = [other for other in range(7) if other != image]
        order.insert(image, image)
        for rank, label in enumerate(order):
            probabilities[image, label] = 0.25 - 0.03 * rank
    found = score(probabilities, np.arange(7), list("abcdefg"))
    assert found.summary["top1"] == pytest.approx(1 / 7)
    assert found.summary["top5"] == pytest.approx(5 / 7)


def test_top5_of_five_classes_is_all() -> None:
    found = score(np.full((2, 5), 0.2), np.array([3, 4]), list("abcde"))
    assert found.summary["top5"] == 1.0


def test_classes_absent_from_the_test_set() -> None:
    found = score(PROBABILITIES[:3], LABELS[:3], ["a", "b", "c"])  # only images of a
    assert found.per_class[1] == {"class": "b", "images": 0, "right": 0, "accuracy": None}
    assert found.summary["top1"] == pytest.approx(2 / 3)
    assert found.summary["majority"] == 1.0
    # b was said once and never right, c neither said nor there: both count 0 in the macro mean.
    assert found.summary["macro_f1"] == pytest.approx((4 / 5 + 0 + 0) / 3)
    assert found.summary["weighted_f1"] == pytest.approx(4 / 5)
    assert found.confusion.shape == (3, 3)


def test_a_class_absent_among_more_than_five() -> None:
    probabilities = np.tile(np.array([0.4, 0.2, 0.1, 0.1, 0.1, 0.06, 0.04]), (3, 1))
    found = score(probabilities, np.array([0, 5, 1]), list("abcdefg"))
    assert found.summary["top5"] == pytest.approx(2 / 3)
    assert found.confusion.sum() == 3


def test_equal_probabilities_count_for_the_first_class() -> None:
    found = score(np.full((4, 2), 0.5), np.array([0, 0, 0, 1]), ["a", "b"])
    assert found.summary["top1"] == 0.75


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_no_score(wrong: float) -> None:
    probabilities = PROBABILITIES.copy()
    probabilities[2, 1] = wrong
    with pytest.raises(ValueError, match="NaN or infinite"):
        score(probabilities, LABELS, ["a", "b", "c"])


def test_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\(6, 3\) probabilities for 6 images, 2 classes"):
        score(PROBABILITIES, LABELS, ["a", "b"])
    with pytest.raises(ValueError, match="for 5 images"):
        score(PROBABILITIES, LABELS[:5], ["a", "b", "c"])
