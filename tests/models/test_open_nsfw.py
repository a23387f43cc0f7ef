"""Real pretrained weights of another net: fetched, compared, copied and trained from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from datasets.mean import read_mean, write_mean
from lib.caffe.client import Engine
from lib.errors import UserError
from models.cards import MODELS, Card, load_card, load_cards
from models.get import Checks, get
from models.nets import check_card_weights, compare_with_card
from prototxt.own_nets import own_net
from prototxt.render import Run, render
from tests.prototxt.test_any_net import _STEP
from tests.warm_engine import WarmEngine, warm_engine

pytestmark = pytest.mark.caffenet


@pytest.fixture(scope="module")
def warm(engine: Engine) -> Iterator[WarmEngine]:
    with warm_engine(engine.python) as started:
        yield started


@pytest.fixture(scope="module")
def card(warm: WarmEngine, tmp_path_factory: pytest.TempPathFactory) -> Card:
    """The card in a folder of its own, with the weights that pip fetches."""
    root = tmp_path_factory.mktemp("models")
    for init in ("open_nsfw", "resnet50", "squeezenet_v1.0"):
        (root / init).mkdir()
        shutil.copy(MODELS / init / "readme.md", root / init)
    found = load_card("open_nsfw", root)

    def fit(weights: Path, of: Card) -> None:
        check_card_weights(warm, weights, of, load_cards(root))

    said: list[str] = []
    get(
        found,
        Checks(weights=fit, read_mean=read_mean, write_mean=write_mean),
        say=said.append,
        root=root,
    )
    assert any(found.sha1[0] in line for line in said)
    return found


def test_every_layer_but_the_classifier_is_copied(warm: WarmEngine, card: Card) -> None:
    comparison = compare_with_card(warm, card.weights_path, card)
    learnt = [layer.name for layer in own_net("resnet50_half").layers if layer.blobs]
    assert list(comparison.copied) == [name for name in learnt if name != "fc_nsfw"]
    assert comparison.others == ()


def test_weights_of_another_net_are_told(warm: WarmEngine, card: Card) -> None:
    other = load_card("resnet50", card.folder.parent)
    cards = load_cards(card.folder.parent)
    with pytest.raises(UserError, match=r"'conv1': missing.*INIT=open_nsfw\?"):
        check_card_weights(warm, card.weights_path, other, cards)


def test_it_takes_a_step_from_them(warm: WarmEngine, card: Card, tmp_path: Path) -> None:
    run = Run(
        task="task",
        classes=3,
        train=100,
        val=20,
        train_lmdb="train_lmdb",
        val_lmdb="val_lmdb",
        mean="mean.binaryproto",
        net="train_val.prototxt",
        snapshot_prefix="snapshots/caffenet",
        init="open_nsfw",
        architecture=own_net("resnet50_half"),
        scenario="skip_first2",
    )
    texts = render(replace(run))
    net, out = tmp_path / "train_val.prototxt", tmp_path / "step.json"
    net.write_text(texts["train_val.prototxt"])
    warm.run(_STEP, net, out, "224", card.weights_path)
    moved = json.loads(out.read_text())["moved"]
    frozen = [name for name, blobs in moved.items() if not any(blobs)]
    statistics = [name for name in moved if name.startswith("bn_")]
    below = [name for name in moved if name[-2:] == "_1" or "stage0_block0" in name]
    assert set(frozen) == {*statistics, *below}
