"""A training to be done: the plan of a run, the weights it starts from, and the device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.imagelist import read_classes
from experiments.single_run.folder import RunFolder
from experiments.single_run.plan import RunPlan
from experiments.single_run.start import Start
from lib.caffe.device import Device
from lib.errors import UserError
from models.cards import load_cards
from models.compare import Comparison, check_weights
from models.nets import check_card_weights
from models.store import require
from prototxt.caffenet import IMAGE_SIZE


@dataclass(frozen=True)
class Job:
    """What is to be trained, and with what."""

    plan: RunPlan
    start: Start
    device: Device
    any_order: bool = False  # train even from weights of a net with another order of layers

    @property
    def folder(self) -> RunFolder:
        """Where the run is kept."""
        return self.plan.folder

    @property
    def solver(self) -> Path:
        """The solver that it is trained by."""
        return self.plan.prototxts / "solver.prototxt"

    @property
    def deploy(self) -> Path:
        """The net for single images that belongs to it."""
        return self.plan.prototxts / "deploy.prototxt"

    @property
    def nets(self) -> dict[str, Any]:
        """What the worker needs to build its nets."""
        classes = self.plan.data.classes
        return {
            "solver": str(self.solver),
            "deploy": str(self.deploy),
            "classes": [len(read_classes(classes)), str(classes)],
            "validation": str(self.plan.data.lmdb("val")),
            "image_size": IMAGE_SIZE,
            "gpu": self.device.gpu,
        }

    def compare_weights(self) -> Comparison | None:
        """What of the starting weights the net takes; None when it starts from its own fillers.

        Reads the whole file. Raises UserError when the net cannot start from them.
        """
        start = self.start
        if not start.weights:
            return None
        if start.is_card:
            require(start.init)
        if start.is_card and start.card:
            comparison = check_card_weights(
                self.device.engine,
                start.weights,
                start.card,
                load_cards(start.card.folder.parent),
                any_order=self.any_order,
            )
            for row in comparison.rows:
                if row.wanted is None and row.layer.endswith(f"_{self.plan.task}"):
                    raise UserError(
                        f"{start.weights} has a layer '{row.layer}', as the new classifier may be "
                        "named, and Caffe would copy it; give the task another name"
                    )
            return comparison
        return check_weights(
            self.device.engine, start.weights, start.last_layer, expected=start.layers
        )
