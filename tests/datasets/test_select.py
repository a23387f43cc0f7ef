"""Which rows and classes a task takes, and what it says of those it leaves."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from datasets.select import Selection, select, with_images
from datasets.table import Catalogue, build
from datasets.tasks import Task
from lib.errors import UserError

NO_NAME = None


def catalogue(rows: list[dict[str, str | None]]) -> Catalogue:
    where = [f"catalog.csv row {number}" for number in range(2, len(rows) + 2)]
    table, notes = build(pd.DataFrame(rows), where=where)
    return Catalogue(table, images=Path("images"), edition="", notes=notes)


def task(minimum: int = 2, **more: tuple[str, ...]) -> Task:
    return Task("t", "wga", "artist", minimum, f"at least {minimum}", **more)  # type: ignore[arg-type]


def rows_of(counts: dict[str | None, int], **more: str) -> list[dict[str, str | None]]:
    return [
        {"image": f"{name}{i}.jpg", "artist": name, **more}
        for name, number in counts.items()
        for i in range(number)
    ]


def texts(selection: Selection) -> str:
    return "\n".join(str(note) for note in selection.notes)


def test_classes_have_the_minimum_and_are_sorted() -> None:
    chosen = select(catalogue(rows_of({"Zorn": 3, "Anker": 2, "Hals": 1, NO_NAME: 5})), task())
    assert chosen.classes == ["Anker", "Zorn"]
    assert chosen.counts == {"Anker": 2, "Zorn": 3}
    assert chosen.left_out == {"artist unknown": 5, "class without at least 2 images": 1}
    assert chosen.notes == []


def test_forms_and_labels_left_out() -> None:
    rows = rows_of({"A": 3, "B": 3, "Various": 9}, form="Painting")
    rows += [{"image": "s.jpg", "artist": "A", "form": "sculpture"}, {"image": "n", "artist": "A"}]
    only = select(catalogue(rows), task(forms=("painting",), labels_left_out=("various",)))
    assert only.counts == {"A": 3, "B": 3}
    assert only.left_out == {
        "form is not painting": 2,
        "artist 'various' left out by the task": 9,
    }
    without = select(catalogue(rows), task(forms_left_out=("sculpture",)))
    assert without.counts == {"A": 4, "B": 3, "Various": 9}  # works of unknown form stay


def test_a_form_or_label_that_no_row_has_is_pointed_out() -> None:
    rows = rows_of({"A": 3, "B": 3}, form="painting")
    with pytest.raises(UserError, match="'paintings': did you mean painting"):
        select(catalogue(rows), task(forms=("paintings",)))
    assert "labels_left_out has 'C', which no row has" in texts(
        select(catalogue(rows), task(labels_left_out=("C",)))
    )


def test_odd_spaces_and_case_make_no_class_of_their_own() -> None:
    rows = rows_of({"Jan van Eyck": 3, "B": 2})
    rows += rows_of({" Jan  van\u00a0Eyck ": 1, "JAN VAN EYCK": 1, "Jan van Eyck\u2028": 1})
    chosen = select(catalogue(rows), task())
    assert chosen.counts == {"B": 2, "Jan van Eyck": 6}
    assert texts(chosen).splitlines() == [
        "2 rows with odd spaces or letters in artist, set right: "
        r"' Jan  van\xa0Eyck ' (catalog.csv row 7); 'Jan van Eyck\u2028' (catalog.csv row 9)",
        "1 row with 'JAN VAN EYCK' read as 'Jan van Eyck': catalog.csv row 8",
    ]


def test_composed_and_decomposed_letters_are_one_label() -> None:
    rows = rows_of({"Du\u0308rer": 2, "D\u00fcrer": 1, "B": 2})
    chosen = select(catalogue(rows), task())
    assert chosen.counts == {"B": 2, "D\u00fcrer": 3}
    assert "2 rows with odd spaces or letters in artist" in texts(chosen)


def test_repeated_rows_count_once_and_are_named() -> None:
    rows = rows_of({"A": 3, "B": 3})
    chosen = select(catalogue([*rows, rows[1], rows[1]]), task())
    assert chosen.counts == {"A": 3, "B": 3}
    assert chosen.left_out == {"image repeated": 2}
    assert "2 rows left out: they repeat an image: A1.jpg (catalog.csv row 8)" in texts(chosen)


def test_a_repeat_without_label_takes_nothing_away() -> None:
    rows = rows_of({"A": 3, "B": 3})
    rows.insert(0, {"image": "A1.jpg", "artist": None})
    chosen = select(catalogue(rows), task())
    assert chosen.counts == {"A": 3, "B": 3}


def test_rows_at_odds_are_both_left_out_and_named() -> None:
    rows = rows_of({"A": 3, "B": 3})
    rows.append({"image": "A1.jpg", "artist": "B"})
    chosen = select(catalogue(rows), task())
    assert chosen.counts == {"A": 2, "B": 3}
    assert chosen.left_out == {"rows at odds over artist": 2}
    assert (
        "1 image left out: rows give them different values of artist: "
        "A1.jpg is 'A' (catalog.csv row 3); A1.jpg is 'B' (catalog.csv row 8)"
    ) in texts(chosen)


@pytest.mark.parametrize("minimum", [4, 10])
def test_fewer_than_two_classes_is_an_error_that_says_what_there_is(minimum: int) -> None:
    with pytest.raises(UserError, match=r"two are needed; the largest are: A 9, B 3"):
        select(catalogue(rows_of({"A": 9, "B": 3})), task(minimum))


def test_rows_without_image_file_are_named(tmp_path: Path) -> None:
    chosen = select(catalogue(rows_of({"A": 3, "B": 9})), task())
    names = [name for name in chosen.table["image"] if name not in ("A2.jpg", "B0.jpg")]
    for name in names:
        (tmp_path / name).touch()
    found = with_images(chosen, tmp_path)
    assert sorted(found.table["image"]) == sorted(names)
    assert found.left_out["image file missing"] == 2
    assert f"2 images of the catalogue not found below {tmp_path}: A2.jpg (catalog" in texts(found)
    assert len(found.notes[-1].rows) == 2
