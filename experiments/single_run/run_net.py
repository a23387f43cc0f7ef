"""The net of a run: that of its starting weights, or the one that NET= names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from experiments.single_run.plan import RunPlan
from experiments.single_run.start import SCRATCH, Start
from lib.caffe.client import Engine
from lib.errors import UserError
from models.nets import card_net
from prototxt.description import Description
from prototxt.finetune import Change, fine_tune
from prototxt.own_nets import NAMES, own_net


@dataclass(frozen=True)
class RunNet:
    """A net before it is changed for a task, and how pixels come into it."""

    architecture: Description
    name: str = "caffenet"  # one of ours, or the card's init where it brings its own
    crop: int | None = None  # None: the net's own input
    scale: float = 1


def find_run_net(plan: RunPlan, start: Start, engine: Callable[[], Engine]) -> RunNet:
    """The net of a run; the engine is asked only where it is a prototxt of the user's.

    Raises UserError, in one line, where it can't be read, does not go with the weights, or can't be
    fine-tuned as the plan says.
    """
    card, asked = start.card, plan.settings.net
    if card and asked and asked != card.net:
        raise UserError(
            f"NET={asked} with INIT={plan.init}: its weights belong to the net {card.net}; "
            f"NET= goes with INIT={SCRATCH}"
        )
    if card:
        name = card.net if card.net in NAMES else card.init
        net = RunNet(card_net(card, engine), name, card.crop, card.scale)
    else:
        name = asked or start.net or "caffenet"
        net = RunNet(own_net(name), name)
    change = Change(
        plan.task, 2, plan.scenario, plan.settings.freeze, start.weights is None, crop=net.crop
    )
    fine_tune(net.architecture, change)
    return net
