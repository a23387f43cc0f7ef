"""Whatever real Caffe trains by is validated and tested by the same rules, or refused first."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.caffe.client import Event
from lib.errors import UserError
from tests.lib.test_worker import request
from tests.small_world import COUNTS, DATA, Plan, World, edit

SHORT = Plan(max_iter=3, snapshot=0)


def train(world: World, name: str, folder: Path) -> list[Event]:
    """Train by prototxts that are edited already."""
    events: list[Event] = []
    world.device.engine.call("train", _request(world, name, folder), on_event=events.append)
    return events


def _request(world: World, name: str, folder: Path) -> dict[str, object]:
    kept = {path: path.read_text() for path in folder.iterdir() if path.suffix == ".prototxt"}
    asked = request(world, name, SHORT)
    for path, text in kept.items():  # `request` writes them anew
        path.write_text(text)
    return asked


def validations(events: list[Event]) -> list[tuple[int, int]]:
    return [(e["iteration"], e["images"]) for e in events if e["event"] == "validation"]


def test_stages_choose_the_layers_as_in_caffe(world: World) -> None:
    folder = world.write("a", SHORT)
    net = folder / "train_val.prototxt"
    edit(net, "include { phase: TEST }", 'include { phase: TEST stage: "mine" }')
    other = 'layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TEST not_stage: "mine" }\n'  # noqa: E501
    net.write_text(
        net.read_text().replace(
            'layer { name: "conv1"',
            other
            + f'  data_param {{ source: "{DATA.lmdb("train")}" batch_size: 1 backend: LMDB }} }}\n'
            + 'layer { name: "conv1"',
            1,
        )
    )
    solver = folder / "solver.prototxt"
    solver.write_text(solver.read_text() + 'test_state { stage: "mine" }\n')
    assert validations(train(world, "a", folder))[-1] == (3, COUNTS["val"])


def test_the_head_that_is_deployed_is_validated(world: World) -> None:
    folder = world.write("a", SHORT)
    net = folder / "train_val.prototxt"
    side = """
layer { name: "side" type: "InnerProduct" bottom: "pool2" top: "side"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "side_loss" type: "SoftmaxWithLoss" bottom: "side" bottom: "label" top: "side_loss"
  loss_weight: 0.3 }
layer { name: "conv3\""""
    edit(net, 'layer { name: "conv3"', side)
    accuracies = [e["accuracy"] for e in train(world, "a", folder) if e["event"] == "validation"]
    assert len(accuracies) == 2
    edit(folder / "deploy.prototxt", 'bottom: "fc8_tiny" top: "prob"', 'bottom: "fc7" top: "prob"')
    with pytest.raises(UserError, match="several losses"):
        train(world, "a", folder)


def test_several_test_nets_are_refused_first(world: World) -> None:
    folder = world.write("a", SHORT)
    solver = folder / "solver.prototxt"
    solver.write_text(
        solver.read_text() + 'test_state { stage: "a" } test_state { stage: "b" } test_iter: 1\n'
    )
    with pytest.raises(UserError, match="several test nets"):
        train(world, "a", folder)


def test_images_that_nobody_can_count_are_refused_first(world: World) -> None:
    folder = world.write("a", SHORT)
    net = folder / "train_val.prototxt"
    text = net.read_text()
    start = text.index('layer { name: "data" type: "Data"', 1 + text.index("phase: TRAIN"))
    end = text.index('layer { name: "conv1"')
    dummy = """layer { name: "data" type: "DummyData" top: "data" top: "label"
  include { phase: TEST }
  dummy_data_param { shape { dim: 5 dim: 3 dim: 64 dim: 64 } shape { dim: 5 } } }
"""
    net.write_text(text[:start] + dummy + text[end:])
    with pytest.raises(UserError, match=r"layer 'data' \(DummyData\): the TEST net must read"):
        train(world, "a", folder)


def test_a_list_of_images_is_counted(world: World) -> None:
    folder = world.write("a", SHORT)
    images = DATA.path / "images"
    listed = Path("val_images.txt")
    lines = DATA.list("val").read_text().splitlines()[:7]
    listed.write_text("".join(f"{images.resolve()}/{line}\n" for line in lines))
    net = folder / "train_val.prototxt"
    text = net.read_text()
    before = f'data_param {{ source: "{DATA.lmdb("val")}" batch_size: 5 backend: LMDB }}'
    assert before in text
    after = (
        f'image_data_param {{ source: "{listed}" batch_size: 5 new_height: 256 new_width: 256 }}'
    )
    head, _, tail = text.partition(before)
    place = head.rindex('type: "Data"')
    head = head[:place] + 'type: "ImageData"' + head[place + len('type: "Data"') :]
    net.write_text(head + after + tail)
    assert validations(train(world, "a", folder))[-1] == (3, 7)


def test_a_dead_net_is_told_with_its_iteration(world: World) -> None:
    folder = world.write("a", SHORT)
    for name in ("train_val.prototxt", "deploy.prototxt"):
        path = folder / name
        text = path.read_text()
        place = text.index('layer { name: "accuracy"') if "accuracy" in text else None
        place = place or text.index('layer { name: "prob"')
        dying = (
            'layer { name: "off" type: "Power" bottom: "fc8_tiny" top: "off"\n'
            "  power_param { shift: -1000000 } }\n"
            'layer { name: "dead" type: "ReLU" bottom: "off" top: "dead" }\n'
        )
        tail = text[place:].replace('bottom: "fc8_tiny"', 'bottom: "dead"')
        path.write_text(text[:place] + dying + tail)
    with pytest.raises(UserError, match=r"the net is dead at iteration 3: .* all 13 validation"):
        train(world, "a", folder)


def test_fixed_and_moving_statistics(world: World) -> None:
    norm = """layer { name: "bn" type: "BatchNorm" bottom: "conv1" top: "conv1"
  batch_norm_param { use_global_stats: %s } }
layer { name: "relu_conv1\""""
    for name, fixed in (("a", "true"), ("b", "false")):
        folder = world.write(name, SHORT)
        for net in ("train_val.prototxt", "deploy.prototxt"):
            edit(folder / net, 'layer { name: "relu_conv1"', norm % fixed)
        if fixed == "true":  # zeros are no statistics: a small learning rate keeps it from NaN
            edit(folder / "solver.prototxt", "base_lr: 0.01", "base_lr: 1e-12")
        start = next(e for e in train(world, name, folder) if e["event"] == "start")
        layers = {layer["name"]: layer["frozen"] for layer in start["layers"]}
        assert layers["bn"] == (fixed == "true")
