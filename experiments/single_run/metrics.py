"""What the predictions of a test set are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Scores:
    """Test metrics (paper, section 5): all over the same images, each counted once."""

    summary: dict[str, Any]  # top1, top5, macro_f1, weighted_f1, chance, majority, images
    per_class: list[dict[str, Any]]  # class, images, right, accuracy
    confusion: np.ndarray  # (classes, classes) counts, true by predicted


def score(probabilities: np.ndarray, labels: np.ndarray, classes: list[str]) -> Scores:
    """Score probabilities (images, classes) against labels (images,).

    Raises ValueError when a probability is not finite or the shapes do not fit.
    """
    # Here, because it takes 2 s to import and most calls of `make` find nothing new to score.
    from sklearn.metrics import confusion_matrix, f1_score

    if probabilities.shape != (len(labels), len(classes)):
        raise ValueError(
            f"{probabilities.shape} probabilities for {len(labels)} images, {len(classes)} classes"
        )
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities hold NaN or infinite numbers")
    every = np.arange(len(classes))
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(labels, predicted, labels=every)
    images = confusion.sum(axis=1)
    right = np.diag(confusion)
    return Scores(
        summary={
            "images": len(labels),
            "classes": len(classes),
            "top1": float(right.sum() / len(labels)),
            "top5": _top_k(probabilities, labels, 5),
            "macro_f1": float(
                f1_score(labels, predicted, labels=every, average="macro", zero_division=0)
            ),
            "weighted_f1": float(
                f1_score(labels, predicted, labels=every, average="weighted", zero_division=0)
            ),
            "chance": 1 / len(classes),
            "majority": float(images.max() / len(labels)),
        },
        per_class=[
            {
                "class": name,
                "images": int(images[label]),
                "right": int(right[label]),
                "accuracy": float(right[label] / images[label]) if images[label] else None,
            }
            for label, name in enumerate(classes)
        ],
        confusion=confusion,
    )


def shares(confusion: np.ndarray) -> np.ndarray:
    """Counts with each row as shares of its true class; a class without images stays 0."""
    return np.asarray(confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1))


def _top_k(probabilities: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Share of images whose class is among the k likeliest; 1.0 when there are no more than k."""
    classes = probabilities.shape[1]
    if classes <= k:
        return 1.0
    from sklearn.metrics import top_k_accuracy_score

    return float(top_k_accuracy_score(labels, probabilities, k=k, labels=np.arange(classes)))
