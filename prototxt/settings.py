"""The settings of one training. The defaults are the paper's (section 4 and Tables 2 and 3)."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

from lib.errors import UserError


def _setting(default: float | str, help: str) -> Any:
    return field(default=default, metadata={"help": help})


BN = ("", "fixed", "batch")


@dataclass(frozen=True)
class Settings:
    """What a run's prototxts are made from, besides its task, init and scenario.

    Raises UserError, naming the setting, for a value that makes no sense. Each field is also a
    flag of the tools (`add_settings_flags`): `new_layer_lr` is `--new-layer-lr`.
    """

    epochs: float = _setting(100, "passes over the training images")
    lr: float = _setting(1e-4, "learning rate (base_lr)")
    lr_step_epochs: float = _setting(
        0, "multiply the learning rate by lr_gamma every so many epochs; 0: keep it fixed"
    )
    lr_gamma: float = _setting(0.1, "factor of each step of the learning rate")
    momentum: float = _setting(0.9, "momentum of SGD")
    weight_decay: float = _setting(0.0005, "L2 weight decay")
    batch: int = _setting(256, "images a weight update")
    dropout: float = _setting(0.5, "share of fc6 and fc7 dropped in training")
    # Left open by the paper; the default is that of BVLC's own example, finetune_flickr_style.
    new_layer_lr: float = _setting(
        10, "lr_mult of the new last layer's weights (its biases learn at twice that)"
    )
    seed: int = _setting(1, "Caffe's random_seed: fillers, crops, mirrors, dropout")
    # Not the paper's: 32 at once are as fast as 256 on a CPU and need 1.6 GB instead of 3.9 GB.
    device_batch: int = _setting(
        0, "images in memory at once, a divisor of the batch; 0: its largest divisor up to 32"
    )

    net: str = _setting("", "net to train from scratch (empty: the init's own; else CaffeNet)")
    freeze: str = _setting("", "freeze all layers up to and with this one, whatever the scenario")
    bn: str = _setting(
        "",
        "BatchNorm's statistics: fixed as the weights bring them, or of each batch (empty: fixed "
        "where there are weights)",
    )

    @classmethod
    def of_record(cls, said: Mapping[str, int | float | str]) -> Settings:
        """The settings that a record names; those that it lacks are the paper's.

        Raises UserError for a setting that is not known, and for a value that makes no sense.
        """
        known = {each.name: each.type for each in fields(cls)}
        for name, value in said.items():
            if name not in known:
                raise UserError(f"unknown setting {name!r}: written by another version?")
            if isinstance(value, str) != (known[name] == "str"):
                raise UserError(f"setting {name} is {value!r}")
        return cls(**said)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type != "str":
                _require(each.name, math.isfinite(value), value, "a finite number")
        if self.bn not in BN:
            raise UserError(f"setting bn is {self.bn}: it must be fixed or batch")
        for name in ("epochs", "lr", "lr_gamma", "batch", "new_layer_lr"):
            value = getattr(self, name)
            _require(name, value > 0, value, "more than 0")
        for name in ("lr_step_epochs", "weight_decay", "device_batch"):
            value = getattr(self, name)
            _require(name, value >= 0, value, "0 or more")
        for name in ("momentum", "dropout"):
            value = getattr(self, name)
            _require(name, 0 <= value < 1, value, "from 0 up to, but not, 1")
        _require("seed", 0 <= self.seed < 2**32, self.seed, "from 0 to 4294967295")
        _require("lr_gamma", self.lr_gamma <= 1, self.lr_gamma, "at most 1")
        if self.device_batch and self.batch % self.device_batch:
            near = next(d for d in range(self.device_batch, 0, -1) if self.batch % d == 0)
            raise UserError(
                f"device_batch is {self.device_batch}: it must divide the batch of {self.batch}; "
                f"the nearest smaller one is {near}"
            )


def add_settings_flags(parser: argparse.ArgumentParser) -> None:
    """Give a tool one flag for each setting, with the paper's value as its default."""
    group = parser.add_argument_group("settings of the training (defaults: the paper's)")
    for each in fields(Settings):
        group.add_argument(
            _flag(each.name),
            type=_READ[each.type](each.name),
            default=each.default,
            metavar="WORD" if each.type == "str" else "N",
            help=each.metadata["help"] + ("" if each.default == "" else " (%(default)s)"),
        )


def settings_from(flags: Mapping[str, Any]) -> Settings:
    """The settings that a tool's parsed flags, by name, ask for; UserError if one makes no sense.

    Flags that are no settings are passed over: `settings_from(vars(arguments))`.
    """
    return Settings(**{each.name: flags[each.name] for each in fields(Settings)})


def in_words(value: float | str) -> str:
    """The value of a setting, as tables and pages have it: '0.001', '20'."""
    return value if isinstance(value, str) else f"{value:g}"


def _number(name: str, kind: type[int] | type[float], text: str) -> float:
    try:
        return kind(text)
    except ValueError:
        words = "a whole number" if kind is int else "a number"
        raise UserError(f"setting {name} is {text}: it must be {words}") from None


_READ: dict[Any, Callable[[str], Callable[[str], Any]]] = {
    "int": lambda name: partial(_number, name, int),
    "float": lambda name: partial(_number, name, float),
    "str": lambda name: str,
}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _require(name: str, holds: bool, value: float, rule: str) -> None:
    if not holds:
        raise UserError(f"setting {name} is {value:g}: it must be {rule}")


PAPER = Settings()
