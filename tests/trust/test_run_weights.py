"""A run whose weights or net were changed after its training is not tested as if they were not."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.single_run.evaluation import evaluate
from experiments.single_run.training import train
from lib.errors import UserError
from tests.small_world import World


def test_changed_weights_are_not_tested(world: World) -> None:
    world.write("a")
    train(world.job("a"))
    plan, folder = world.job("a").plan, world.folder("a")
    whole = folder.final.read_bytes()
    changes = {
        "300 bytes changed": whole[:-300] + bytes(byte ^ 255 for byte in whole[-300:]),
        "cut short": whole[:-300],
        "empty": b"",
    }
    for content in changes.values():
        folder.final.write_bytes(content)
        with pytest.raises(UserError, match="not what its training gave") as raised:
            evaluate(plan, lambda: world.device)
        assert "\n" not in str(raised.value)
        assert not folder.results.exists()
    folder.final.write_bytes(whole)
    evaluate(plan, lambda: world.device)
    first = folder.results.read_bytes()
    folder.final.write_bytes(changes["300 bytes changed"])
    with pytest.raises(UserError, match="FORCE=1"):
        evaluate(plan, lambda: world.device, force=True)
    assert folder.results.read_bytes() == first


def test_the_test_of_a_run_writes_no_file_that_its_net_names(world: World) -> None:
    world.write("a")
    train(world.job("a"))
    mine = Path("mine.txt").absolute()
    mine.write_text("do not touch")
    net = world.folder("a").train_val
    writer = (
        'layer { name: "out" type: "HDF5Output" bottom: "data" bottom: "label" '
        f'hdf5_output_param {{ file_name: "{mine}" }} }}\n'
    )
    net.write_text(net.read_text() + writer)
    evaluate(world.job("a").plan, lambda: world.device)
    assert mine.read_text() == "do not touch"
    assert world.folder("a").results.is_file()
