"""Names of runs: another name for whatever makes another run, and always one for a folder."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from experiments.single_run.folder import check_run_name, run_folder
from experiments.single_run.plan import RunPlan
from lib.errors import UserError
from prototxt.caffenet import SCENARIOS
from prototxt.settings import PAPER, Settings

OTHER: dict[str, float | str] = {
    "epochs": 20,
    "lr": 1e-5,
    "lr_step_epochs": 5,
    "lr_gamma": 0.5,
    "momentum": 0.85,
    "weight_decay": 0,
    "batch": 128,
    "dropout": 0.4,
    "new_layer_lr": 1,
    "seed": 2,
    "net": "alexnet",
    "freeze": "conv2",
    "bn": "batch",
}


def named(settings: Settings) -> str:
    return RunPlan("wga_genre", "hybrid", "all", settings).name


def test_the_papers_run_has_a_plain_name() -> None:
    assert RunPlan("wga_genre", "hybrid", "skip_first").name == "hybrid-skip_first"


def test_every_setting_that_matters_is_in_the_name() -> None:
    unnamed = {"device_batch"}  # the same numbers, computed in other portions
    assert set(OTHER) == {each.name for each in fields(Settings)} - unnamed
    names = {
        named(replace(PAPER, **{name: value}))  # type: ignore[arg-type]
        for name, value in OTHER.items()
    }
    names.add(named(PAPER))
    assert len(names) == len(OTHER) + 1
    assert named(replace(PAPER, device_batch=8)) == "hybrid-all"


def test_names_are_told_apart() -> None:
    parts = [
        (init, scenario, settings, split, split_seed)
        for init in ("hybrid", "scratch", "run:wga_genre/hybrid-all", "run:wga_genre/hybrid")
        for scenario in SCENARIOS
        for settings in (
            PAPER,
            Settings(epochs=20),
            Settings(epochs=2),
            Settings(epochs=20.5),
            Settings(lr=0.1),
            Settings(lr=0.1, seed=11),
            Settings(lr=0.11, seed=1),
            Settings(lr=1e-7),
            Settings(lr=0.123456789),
            Settings(lr=0.123456788),
            Settings(epochs=1234567),
            Settings(epochs=1234568),
        )
        for split in ("by_image", "by_work")
        for split_seed in (1, 2)
    ]
    names = {RunPlan("wga_genre", *part).name for part in parts}
    assert len(names) == len(parts)
    for name in names:
        check_run_name(name)


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "-f", "a b", "a'b", "Ærø", "a\n"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UserError, match="letters, digits"):
        check_run_name(name)


def test_where_a_run_lies() -> None:
    folder = run_folder("wga_genre", "hybrid-all")
    assert str(folder.path) == "experiments/runs/wga_genre/hybrid-all"
    assert folder.final.name == "final.caffemodel"
