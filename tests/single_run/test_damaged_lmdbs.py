"""A damaged LMDB ends a training or a test with its name, never with an answer or a signal."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from datasets.lmdb_pages import LmdbFile
from experiments.single_run import results_json
from experiments.single_run.evaluation import score_weights
from experiments.single_run.training import train
from lib.errors import UserError
from tests.small_world import DATA, TASK, Plan, World


@pytest.fixture(autouse=True)
def own_lmdbs(world: World) -> None:
    """The small world's LMDBs are shared by all tests: these get a copy to damage."""
    shared = DATA.path.resolve()
    DATA.path.unlink()
    shutil.copytree(shared, DATA.path)


def flip_a_pixel(part: str, row: int) -> None:
    path = DATA.lmdb(part) / "data.mdb"
    with LmdbFile(path) as file:
        record = list(file.scan())[row]
    with path.open("r+b") as handle:
        handle.seek(record.offset + 5000)
        byte = handle.read(1)[0]
        handle.seek(record.offset + 5000)
        handle.write(bytes([byte ^ 255]))


@pytest.mark.parametrize("damage", ["cut short", "zeroed", "pixel"])
def test_a_training_ends_and_names_the_lmdb(world: World, damage: str) -> None:
    world.write("a", Plan())
    path = DATA.lmdb("train") / "data.mdb"
    if damage == "cut short":
        path.write_bytes(path.read_bytes()[:-100_000])
    elif damage == "zeroed":
        path.write_bytes(bytes(2 * 4096) + path.read_bytes()[2 * 4096 :])
    else:
        flip_a_pixel("train", 3)
    with pytest.raises(UserError, match="train_lmdb is damaged or was replaced") as error:
        train(world.job("a"))
    assert "\n" not in str(error.value)
    assert not world.folder("a").final.exists()


def test_a_test_ends_and_names_the_record(world: World, tmp_path: Path) -> None:
    world.write("a", Plan(max_iter=1))
    train(world.job("a"))
    nets = world.job("a").plan.prototxts
    flip_a_pixel("test", 2)
    with pytest.raises(UserError, match=r"test_lmdb is damaged or was replaced: record 2 "):
        score_weights(
            world.folder("a").final,
            nets / "train_val.prototxt",
            DATA,
            world.device,
            out=tmp_path,
            task=TASK,
            tested=results_json.Tested(weights="", list=""),
        )
    assert not (tmp_path / "predictions.csv").exists()
