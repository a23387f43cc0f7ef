"""The settings of one training. The defaults are the paper's (section 4 and Tables 2 and 3)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """What a run's prototxts are made from, besides its task, init and scenario."""

    epochs: float = 100
    lr: float = 1e-4
    lr_step_epochs: float = 0  # 0: fixed; else times lr_gamma every so many epochs
    lr_gamma: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0005
    batch: int = 256  # images a weight update
    dropout: float = 0.5
    # Left open by the paper; defaults are BVLC's own fine-tuning example (finetune_flickr_style).
    new_layer_lr: float = (
        10  # lr_mult of the new last layer's weights; its biases learn at twice that
    )
    seed: int = 1


PAPER = Settings()
