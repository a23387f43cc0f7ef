"""CaffeNet as the paper fine-tunes it: its layers with weights, and the scenarios that freeze."""

from __future__ import annotations

# In the net's own order; the eighth, the classifier, is new in each task (paper, section 4).
COPIED_LAYERS = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")

# Scenario -> layers that do not learn (paper, section 5.2).
SCENARIOS: dict[str, tuple[str, ...]] = {
    "all": (),
    "skip_first": COPIED_LAYERS[:1],
    "skip_first2": COPIED_LAYERS[:2],
    "only_last3": COPIED_LAYERS[:5],
    "only_last": COPIED_LAYERS[:7],
}

IMAGE_SIZE = 256  # pixels a side in the LMDBs; images are squashed to it
CROP_SIZE = 227  # pixels a side of the net's input: random crop in training, the centre in test


def last_layer(task: str) -> str:
    """The name of a task's classifier. It is new, so that Caffe's copying by name skips it."""
    return f"fc8_{task}"
