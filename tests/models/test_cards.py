"""The cards of the initialisations."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.errors import UserError
from models.cards import find_card, init_names, load_card, load_cards

CARD = """---
name: A sixth init
caffemodel: sixth.caffemodel
caffemodel_url: http://example.org/sixth.caffemodel
license: unrestricted
sha1: 1234567890123456789012345678901234567e90
mean: sixth_mean.binaryproto
mean_url:
  - https://example.org/a.tar.gz
  - https://example.org/b.npy
mean_member: mean.binaryproto
last_layer: fc8_sixth
outputs: 6
source_task: six things
citation: Somebody (2018)
---

# Sixth
"""


def put(root: Path, text: str, init: str = "sixth") -> None:
    (root / init).mkdir()
    (root / init / "readme.md").write_text(text, encoding="utf-8")


def test_the_five_of_the_paper() -> None:
    cards = {card.init: card for card in load_cards() if card.net == "caffenet"}
    assert set(cards) == {"hybrid", "memnet", "sentiment", "caffenet", "flickr"}
    outputs = {init: (card.last_layer, card.outputs) for init, card in cards.items()}
    assert outputs == {
        "caffenet": ("fc8", 1000),
        "flickr": ("fc8_flickr", 20),
        "hybrid": ("fc8", 1183),
        "memnet": ("fc8-euclidean", 1),
        "sentiment": ("fc8_twitter", 2),
    }
    assert cards["caffenet"].sha1 == ("4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",)
    assert len(cards["flickr"].sha1) == 2
    for card in cards.values():
        assert card.caffemodel_url
        assert card.mean_url
        assert card.mean_path.parent == card.folder


def test_table_2_says_caffe() -> None:
    assert find_card("caffe").init == "caffenet"


def test_a_misspelt_init_gets_the_nearest_names() -> None:
    with pytest.raises(UserError, match="unknown init 'sentimant': did you mean sentiment"):
        find_card("sentimant")


def test_a_sixth_init_is_a_card(tmp_path: Path) -> None:
    put(tmp_path, CARD)
    assert init_names(tmp_path) == ["sixth"]
    card = find_card("sixth", tmp_path)
    assert card.weights_path == tmp_path / "sixth" / "sixth.caffemodel"
    assert card.caffemodel_member == ("sixth.caffemodel",)
    assert card.mean_url == ("https://example.org/a.tar.gz", "https://example.org/b.npy")
    # YAML would read this one as a number
    assert card.sha1 == ("1234567890123456789012345678901234567e90",)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("license:", "licence:", "unknown key 'licence': did you mean license"),
        ("outputs: 6", "outputs: six", "'outputs' is 'six'"),
        ("outputs: 6", "", "no 'outputs'"),
        ("67e90", "67e9", "is no SHA-1"),
        ("http://example.org/sixth", "file:///etc/sixth", "no http or https address"),
        ("caffemodel: sixth", "caffemodel: ../sixth", "not the plain name of a .caffemodel"),
        ("_mean.binaryproto", "_mean.npy", "not the plain name of a .binaryproto"),
        ("mean_member:", "mean_value: [1, 2, 3]\nmean_member:", "one of the two"),
        ("name: A", "name: [A", "line 3: the front matter is no YAML"),
        ("---\n\n", "\n\n", "no front matter"),
        ("last_layer: fc8_sixth", "last_layer: [a, b]", "one word is expected"),
    ],
)
def test_a_broken_card_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in CARD
    put(tmp_path, CARD.replace(old, new, 1))
    with pytest.raises(UserError, match=r"readme\.md") as caught:
        load_card("sixth", tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
