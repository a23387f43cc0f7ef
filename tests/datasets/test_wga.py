"""The catalogue of the Web Gallery of Art in each form it comes in, whole and damaged."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from pathlib import Path

import openpyxl
import pytest
import xlwt

from datasets.catalogue import missing, read_catalogue
from datasets.select import select
from datasets.tasks import get_task
from lib.errors import UserError

HEADER = "AUTHOR;BORN-DIED;TITLE;DATE;TECHNIQUE;LOCATION;URL;FORM;TYPE;SCHOOL;TIMEFRAME"
PAGE = "https://www.wga.hu/html/a/aachen/{}.html"


def row(name: str, author: str = "AACHEN, Hans von", title: str = "", **more: str) -> list[str]:
    fields = {
        "BORN-DIED": "(b. 1552, Köln, d. 1615, Praha)",
        "DATE": "1598",
        "TECHNIQUE": "Oil on copper; 56 x 47 cm",
        "LOCATION": "Alte Pinakothek, Munich",
        "FORM": "painting",
        "TYPE": "portrait",
        "SCHOOL": "German",
        "TIMEFRAME": "1601-1650",
        "URL": PAGE.format(name),
        "AUTHOR": author,
        "TITLE": title or name,
    } | more
    return [fields[column] for column in HEADER.split(";")]


ROWS = [
    row("adonis"),
    row("adonis1", title="adonis (detail)"),
    row("rudolf", DATE="-"),
    row("dürer", author="DÜRER, Albrecht", TYPE="-"),
    row("statue", FORM="sculpture", title='The "Great"; Statue'),
]


def as_csv(rows: list[list[str]], separator: str = ";", encoding: str = "cp1252") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\r\n")
    writer.writerows([HEADER.split(";"), *rows])
    return text.getvalue().encode(encoding)


def as_xlsx(rows: list[list[str]]) -> bytes:
    book, out = openpyxl.Workbook(), io.BytesIO()
    for cells in [HEADER.split(";"), *rows]:
        book.active.append(cells)
    book.save(out)
    return out.getvalue()


def as_xls(rows: list[list[str]]) -> bytes:
    book, out = xlwt.Workbook(), io.BytesIO()
    sheet = book.add_sheet("catalog")
    for number, cells in enumerate([HEADER.split(";"), *rows]):
        for column, cell in enumerate(cells):
            sheet.write(number, column, cell)
    book.save(out)
    return out.getvalue()


def zipped(data: bytes, name: str, *others: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for one in (name, *others):
            archive.writestr(one, data)
    return out.getvalue()


FORMS = {
    "catalog.csv": as_csv(ROWS),
    "catalog.xlsx": as_xlsx(ROWS),
    "catalog.xls": as_xls(ROWS),
    "catalog.zip": zipped(as_csv(ROWS), "catalog.csv", "readme.txt"),
    "data_xls.zip": zipped(as_xls(ROWS), "catalog.xls"),
    "Catalog.CSV": as_csv(ROWS, separator=",", encoding="utf-8"),
    "catalog_tabs.csv": as_csv(ROWS, separator="\t", encoding="utf-16"),
    "catalog_bom.csv": as_csv(ROWS, encoding="utf-8-sig"),
}
TASK = get_task("wga_artist")


def put(raw: Path, name: str, data: bytes) -> None:
    (raw / "wga").mkdir(parents=True)
    (raw / "wga" / name).write_bytes(data)


@pytest.mark.parametrize("name", FORMS)
def test_every_form_reads_the_same(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, FORMS[name])
    assert missing(TASK, tmp_path, images=False) == []
    catalogue = read_catalogue(TASK, tmp_path)
    table = catalogue.table
    assert catalogue.images == tmp_path / "wga" / "images"
    assert catalogue.notes == []
    assert list(table.index) == [f"{name} row {number}" for number in range(2, 7)]
    first = table.iloc[0]
    assert first["image"] == "a/aachen/adonis.jpg"
    assert first["url"] == "https://www.wga.hu/art/a/aachen/adonis.jpg"
    assert first["artist"] == "AACHEN, Hans von"
    assert (first["genre"], first["nationality"]) == ("portrait", "German")
    assert (first["timeframe"], first["form"]) == ("1601-1650", "painting")
    assert table.iloc[3]["artist"] == "DÜRER, Albrecht"
    assert table["genre"].isna().tolist() == [False, False, False, True, False]
    assert table["style"].isna().all()
    assert table.iloc[4]["title"] == 'The "Great"; Statue'
    assert table.iloc[0]["work"] == table.iloc[1]["work"]
    assert table["work"].nunique() == 4


def test_addresses_of_pages_within_frames_and_of_older_kinds(tmp_path: Path) -> None:
    rows = [
        row("a", URL="http://www.wga.hu/frames-e.html?/html/a/aachen/a.html"),
        row("b", URL=" http://www.wga.hu/html/a/aachen/1/b.htm"),
    ]
    put(tmp_path, "catalog.csv", as_csv(rows))
    table = read_catalogue(TASK, tmp_path).table
    assert table["url"].tolist() == [
        "http://www.wga.hu/art/a/aachen/a.jpg",
        "http://www.wga.hu/art/a/aachen/1/b.jpg",
    ]


def test_rules_of_the_paper_apply_to_paintings_only(tmp_path: Path) -> None:
    rows = [row(f"a{i}", author="A") for i in range(171)] + [row("s", author="B", FORM="graphics")]
    rows += [row(f"b{i}", author="B") for i in range(170)]
    rows += [row(f"c{i}", author="C") for i in range(172)]
    put(tmp_path, "catalog.csv", as_csv(rows))
    chosen = select(read_catalogue(TASK, tmp_path), TASK)
    assert chosen.counts == {"A": 171, "C": 172}  # more than 170
    assert chosen.left_out == {
        "form is not painting": 1,
        "class without more than 170 images": 170,
    }


def read(raw: Path, name: str, data: bytes) -> str:
    put(raw, name, data)
    with pytest.raises(UserError) as caught:
        read_catalogue(TASK, raw)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    data = as_csv(ROWS).replace(b"SCHOOL", b"SKOOL")
    error = read(tmp_path, "catalog.csv", data)
    assert "catalog.csv: no column SCHOOL; it has 'AUTHOR'" in error


def test_an_unknown_separator_is_pointed_out(tmp_path: Path) -> None:
    error = read(tmp_path, "catalog.csv", as_csv(ROWS, separator="#"))
    assert "if 'AUTHOR#BORN-DIED#" in error
    assert "separated by ; or , or tab or |" in error


def test_an_unknown_encoding_is_pointed_out(tmp_path: Path) -> None:
    error = read(tmp_path, "catalog.csv", as_csv(ROWS).replace(b"1615", b"\x81\x8d"))
    assert "catalog.csv line 2: neither UTF-8 nor Windows-1252" in error


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("catalog.csv", b"", "is empty"),
        ("catalog.csv", b" \n\n", "is empty"),
        ("catalog.csv", as_csv([]), "a header .* and no rows"),
        ("catalog.csv", as_csv([]) + b";;;\r\n", "a header .* and no rows"),
        ("catalog.csv", FORMS["catalog.xls"], "is not a text file"),
        ("catalog.xls", as_csv(ROWS), "not a whole spreadsheet"),
        ("catalog.xlsx", FORMS["catalog.xlsx"][:2000], "not a whole spreadsheet"),
        ("catalog.xls", FORMS["catalog.xls"][:1000], "not a whole spreadsheet"),
        ("catalog.zip", FORMS["catalog.zip"][:200], "cannot be read"),
        ("catalog.zip", zipped(b"", "readme.txt"), "must hold one .csv"),
        ("catalog.zip", zipped(as_csv(ROWS), "a.csv", "b.csv"), "must hold one .csv"),
        ("catalog.csv", as_csv(ROWS) + b'a;"never closed\r\nx;y;z\r\n', "quotation mark left open"),
        ("catalog.csv", as_csv(ROWS) + b"a;" * 12 + b"b\r\n", "row 7 has 13 fields, the header 11"),
        ("catalog.csv", as_csv(ROWS).replace(b"/html/", b"/page/"), "no URL is the address"),
        ("catalog.csv", as_csv(ROWS).replace(b"TITLE", b"AUTHOR"), "two columns named AUTHOR"),
    ],
)
def test_damaged_catalogues(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    assert re.search(words, read(tmp_path, name, data))


def test_short_rows_and_odd_addresses_are_counted_and_named(tmp_path: Path) -> None:
    rows = [*ROWS, row("x", URL="https://www.wga.hu/index.html"), row("y", URL="no address")]
    rows += [row("z", URL="https://www.wga.hu/html/a/../../etc/passwd.html")]
    put(tmp_path, "catalog.csv", as_csv(rows) + b"\r\nKLEE, Paul;;short\r\n")
    catalogue = read_catalogue(TASK, tmp_path)
    notes = "\n".join(str(note) for note in catalogue.notes)
    assert "1 row of" in notes
    assert "shorter than its header, the rest is unknown: row 11" in notes
    assert "4 rows left out, their URL is no page's" in notes
    assert "https://www.wga.hu/index.html (catalog.csv row 7)" in notes
    assert catalogue.table["image"].isna().sum() == 4


def test_nothing_there(tmp_path: Path) -> None:
    lacks = missing(TASK, tmp_path)
    assert len(lacks) == 2
    assert f"goes into {tmp_path}/wga/; get it with: make images SOURCE=wga" in lacks[0]
    assert f"go into {tmp_path}/wga/images/; get them with: make images SOURCE=wga" in lacks[1]


def test_the_projects_wga_tasks_follow_the_paper() -> None:
    rules = {"artist": 170, "genre": 1000, "timeframe": 500, "nationality": 500}
    for name, number in rules.items():
        task = get_task(f"wga_{name}")
        assert (task.label, task.minimum, task.forms) == (name, number + 1, ("painting",))
