"""WikiArt from the ArtGAN release and from the API's records, with nationalities joined."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from datasets.catalogue import missing, read_catalogue
from datasets.select import select
from datasets.sources.artists import key, name_of_slug, slug_of_name
from datasets.sources.wikiart_records import FORMS
from datasets.table import Catalogue
from datasets.tasks import Task, get_task
from lib.errors import UserError

ARTISTS = """artist,styles,citizenship
Vincent van Gogh,"Realism, Post-Impressionism",Kingdom of the Netherlands
Ilya Repin,Realism,Russian Empire
Joaquín Sorolla,Impressionism,Spain
Salvador Dalí,Surrealism,
"""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The root of raw material with a small ArtGAN release."""
    folder = tmp_path / "wikiart"
    folder.mkdir()
    lists = {
        "style_class.txt": "0 Art_Nouveau\n1 Impressionism\n2 Realism\n",
        "style_train.csv": (
            "Realism/vincent-van-gogh_pine-trees.jpg,2\n"
            "Realism/ilya-repin_barge-haulers(1).jpg,2\n"
            "Art_Nouveau_Modern/ilya-repin_poster.jpg,0\n"
        ),
        "style_val.csv": (
            "Impressionism/joaquã\xadn-sorolla_beach.jpg,1\n"
            "Impressionism/marc-chagall_window.jpg,1\n"
            "Realism/marc-chagall_window.jpg,2\n"
            "Realism/salvador-dali_bread.jpg,2\n"
        ),
        "genre_class": "0 landscape\n1 sketch_and_study\n\n",
        "genre_train.csv": (
            "Realism/vincent-van-gogh_pine-trees.jpg,0\nRealism/salvador-dali_bread.jpg,1\n"
        ),
        "genre_val.csv": "Realism/vincent-van-gogh_pine-trees.jpg,1\n",
        "artist_class": "0 Ilya_Repin\n1 Vincent_van_Gogh\n",
        "artist_train": (
            "(Path to image),, (Groundtruth class) \n\n"
            "Realism/vincent-van-gogh_pine-trees.jpg,,1\n"
            "Realism/ilya-repin_barge-haulers(1).jpg,,0\n"
        ),
    }
    for name, text in lists.items():
        (folder / name).write_text(text, encoding="utf-8")
    return tmp_path


def read(raw: Path, task: str = "wikiart_style") -> Catalogue:
    return read_catalogue(get_task(task), raw)


def by_image(catalogue: Catalogue) -> pd.DataFrame:
    return catalogue.table.drop_duplicates("image").set_index("image")


def notes_of(catalogue: Catalogue) -> str:
    return "\n".join(str(note) for note in catalogue.notes)


def test_release_gives_styles_genres_and_artists(release: Path) -> None:
    catalogue = read(release)
    table = by_image(catalogue)
    assert len(table) == 7
    assert catalogue.edition == "ArtGAN release, 7 images"
    pines = table.loc["Realism/vincent-van-gogh_pine-trees.jpg"]
    assert (pines["style"], pines["artist"]) == ("Realism", "Vincent van Gogh")
    assert pines["title"] == "pine trees"
    # The artists' list covers one Repin of two; the file names cover both, spelt as in the list.
    assert (table["artist"] == "Ilya Repin").sum() == 2
    assert table.loc["Art_Nouveau_Modern/ilya-repin_poster.jpg", "style"] == "Art Nouveau"
    assert table.loc["Realism/salvador-dali_bread.jpg", "genre"] == "sketch and study"
    assert table["genre"].isna().sum() == 5
    assert table.loc["Impressionism/joaquã\xadn-sorolla_beach.jpg", "artist"] == "joaquín sorolla"
    same = table[table["title"] == "window"]["work"]
    assert len(same) == 2
    assert same.nunique() == 1


def test_an_image_of_two_genres_is_left_out_of_genre_only(release: Path) -> None:
    catalogue = read(release)
    genre = Task("g", "wikiart", "genre", 0, "at least 0")
    with pytest.raises(UserError, match="sketch and study 1"):
        select(catalogue, genre)
    style = Task("s", "wikiart", "style", 1, "at least 1")
    chosen = select(catalogue, style)
    assert chosen.counts == {"Art Nouveau": 1, "Impressionism": 2, "Realism": 4}


def test_rows_at_odds_are_named_by_file_and_line(release: Path) -> None:
    (release / "wikiart" / "genre_train.csv").write_text(
        "A/a_1.jpg,0\nA/a_2.jpg,0\nA/b_1.jpg,1\nA/b_2.jpg,1\n", encoding="utf-8"
    )
    (release / "wikiart" / "genre_val.csv").write_text("A/a_2.jpg,1\n", encoding="utf-8")
    chosen = select(read(release), Task("g", "wikiart", "genre", 1, "at least 1"))
    assert chosen.counts == {"landscape": 1, "sketch and study": 2}
    assert (
        "A/a_2.jpg is 'landscape' (genre_train.csv line 2); "
        "A/a_2.jpg is 'sketch and study' (genre_val.csv line 1)"
    ) in "\n".join(str(note) for note in chosen.notes)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("style_train.csv", "Realism/a_b.jpg\n", "line 1: .* is not '<image>,<label number>'"),
        ("style_train.csv", "A/a_b.jpg,1\nA/a_c.jpg,3\n", "line 2: style_class has no label 3"),
        ("style_train.csv", "", "lists no image"),
        ("genre_class", "landscape\n", "genre_train.csv line 2: genre_class has no label 1"),
        ("genre_class", "0 landscape\n1 a\nportrait\n", "genre_class line 3: 'portrait' is not"),
    ],
)
def test_broken_lists(release: Path, name: str, text: str, words: str) -> None:
    (release / "wikiart" / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        read(release)


def test_lists_without_the_names_of_their_labels(release: Path) -> None:
    (release / "wikiart" / "genre_class").unlink()
    with pytest.raises(UserError, match=r"needs genre_class\.txt beside it"):
        read(release)


def test_nationality_is_joined_by_name(release: Path) -> None:
    (release / "wikiart" / "artists.csv").write_text(ARTISTS, encoding="utf-8")
    catalogue = read(release)
    table = by_image(catalogue)
    joined = table.dropna(subset="nationality").groupby("artist")["nationality"].first()
    assert joined.to_dict() == {
        "Vincent van Gogh": "Dutch",
        "Ilya Repin": "Russian",
        "joaquín sorolla": "Spanish",
    }
    assert "of 5 artists 4 are in artists.csv, 3 with a nationality (" in notes_of(catalogue)
    assert "marc chagall, 2 images, not there" in notes_of(catalogue)
    assert "salvador dali, 1 image, without nationality there" in notes_of(catalogue)
    told = select(catalogue, Task("n", "wikiart", "nationality", 1, "at least 1"))
    assert any("artists.csv" in note.text for note in told.notes)
    silent = select(catalogue, Task("s", "wikiart", "style", 1, "at least 1"))
    assert not any("artists.csv" in note.text for note in silent.notes)


def test_without_artists_records_nationality_is_unknown_and_says_so(release: Path) -> None:
    catalogue = read(release)
    assert catalogue.table["nationality"].isna().all()
    assert "no artists' records with nationalities" in notes_of(catalogue)


def test_two_artists_of_one_name_are_not_guessed(release: Path) -> None:
    more = ARTISTS + "Repin Ilya,Realism,Finland\n"
    (release / "wikiart" / "artists.csv").write_text(more, encoding="utf-8")
    table = by_image(read(release))
    assert table.loc["Art_Nouveau_Modern/ilya-repin_poster.jpg", "nationality"] is pd.NA


def test_names_meet_in_spite_of_accents_case_and_order() -> None:
    assert key("Salvador Dalí") == key("salvador dali") == key("DALÍ, Salvador")
    assert key("Arnold Böcklin") == key(name_of_slug("arnold-bã¶cklin"))
    assert key("Theodor Severin Kittelsen") != key("Theodor Kittelsen")
    assert name_of_slug("antónio-ã") == "antónio ã"
    assert slug_of_name("Joan Miró i Ferrà") == "joan-miro-i-ferra"


OLD: dict[str, Any] = {
    "title": "The Starry Night",
    "contentId": 207190,
    "artistContentId": 204915,
    "artistName": "Vincent van Gogh",
    "artistUrl": "vincent-van-gogh",
    "completitionYear": 1889,
    "image": "https://uploads.example.org/starry.jpg!Large.jpg",
    "genre": "landscape, cloudscape",
    "style": "Post-Impressionism",
}
NEW: dict[str, Any] = {
    "id": "57727444edc2cb3880cb7bf6",
    "title": "Barge Haulers",
    "artistName": "Ilya Repin",
    "artistUrl": "ilya-repin",
    "completitionYear": None,
    "image": "https://uploads.example.org/barge.jpg",
    "genres": ["genre painting"],
    "styles": ["Realism"],
}
BARE: dict[str, Any] = {"contentId": 7, "artistName": "Joan Miró", "title": "x", "genre": None}
PHOTO: dict[str, Any] = {**OLD, "contentId": 8, "genre": "Photo, portrait"}


def save(raw: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        path = raw / "wikiart" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    "files",
    [
        {"all.json": [OLD, NEW, BARE, PHOTO]},
        {"meta/gogh.json": [OLD, PHOTO], "meta/repin.json": {"data": [NEW]}, "miro.json": BARE},
    ],
)
def test_records_of_the_api(tmp_path: Path, files: dict[str, Any]) -> None:
    artists = [
        {"artistName": "Vincent van Gogh", "nationality": "Dutch"},
        {"artistName": "Joan Miro", "nationality": "Spanish"},
    ]
    save(tmp_path, {**files, "artists.json": artists})
    assert missing(get_task("wikiart_style"), tmp_path, images=False) == []
    catalogue = read(tmp_path)
    table = by_image(catalogue)
    stars = table.loc["vincent-van-gogh/1889/207190.jpg"]
    assert (stars["genre"], stars["style"]) == ("landscape", "Post-Impressionism")
    assert stars["url"] == "https://uploads.example.org/starry.jpg"
    assert stars["nationality"] == "Dutch"
    barge = table.loc["ilya-repin/unknown-year/57727444edc2cb3880cb7bf6.jpg"]
    assert (barge["genre"], barge["style"]) == ("genre painting", "Realism")
    assert barge["nationality"] is pd.NA
    bare = table.loc["joan-miro/unknown-year/7.jpg"]
    assert bare[["genre", "style", "form", "url"]].isna().all()
    assert bare["nationality"] == "Spanish"
    assert table.loc["vincent-van-gogh/1889/8.jpg", "form"] == "Photo"
    assert "2 works of several genres, the first counts" in notes_of(catalogue)


def test_photographs_are_no_paintings(tmp_path: Path) -> None:
    records = [{**OLD, "contentId": 1 + number} for number in range(600)]
    records += [{**NEW, "id": f"n{number}"} for number in range(600)]
    records += [{**PHOTO, "contentId": 1000 + number} for number in range(600)]
    save(tmp_path, {"all.json": records})
    chosen = select(read(tmp_path), get_task("wikiart_artist"))
    assert chosen.counts == {"Ilya Repin": 600, "Vincent van Gogh": 600}
    assert chosen.left_out == {"form left out by the task": 600}


def test_the_projects_wikiart_tasks_follow_the_paper() -> None:
    smallest = {"artist": 500, "style": 801, "genre": 1881, "nationality": 3200}
    for name, number in smallest.items():
        task = get_task(f"wikiart_{name}")
        assert (task.label, task.minimum, task.forms) == (name, number, ())
        assert set(task.forms_left_out) == set(FORMS)  # all that is neither painting nor drawing
    assert get_task("wikiart_genre").labels_left_out == ("illustration", "sketch and study")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[", r"all\.json is not whole JSON"),
        ("3", r"all\.json holds no list of records"),
        ([], r"none of its \.json files \(all\.json, \.\.\.\) has a record"),
        ([3, {"title": "x"}], "has a record with contentId"),
    ],
)
def test_broken_records(tmp_path: Path, content: Any, words: str) -> None:
    save(tmp_path, {"all.json": content})
    with pytest.raises(UserError, match=words):
        read(tmp_path)


def test_a_record_that_is_none_is_left_out_and_named(tmp_path: Path) -> None:
    save(tmp_path, {"all.json": [OLD, {"title": "x"}, 3, NEW]})
    catalogue = read(tmp_path)
    assert len(catalogue.table) == 2
    assert (
        "2 records left out, without contentId or artistName: all.json record 2; all.json record 3"
    ) in notes_of(catalogue)
