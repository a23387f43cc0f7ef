"""Every form in which people hold their collections is read by what it is, not by its names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from datasets.catalogue import missing, read_catalogue
from datasets.select import Selection, select, with_images
from datasets.tasks import Task
from lib.errors import UserError

STYLES = ("Impressionism", "Post_Impressionism", "Romanticism")
ARTISTS = {
    "Impressionism": "claude-monet",
    "Post_Impressionism": "paul-cezanne",
    "Romanticism": "arnold-bã¶cklin",  # as the real lists have it: UTF-8 once read as Latin-1
}
WORKS = [f"{style}/{ARTISTS[style]}_work-{n}.jpg" for style in STYLES for n in range(4)]
NUMBERS = {"Impressionism": 12, "Post_Impressionism": 20, "Romanticism": 23}


def put(root: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(data)


def images(root: Path, names: list[str]) -> None:
    put(root, dict.fromkeys(names, b"\xff\xd8\xff an image"))


def chosen(raw: Path, label: str, source: str = "wikiart", **more: Any) -> Selection:
    collection = "mine" if source == "folder" else None
    task = Task("t", source, label, 1, "at least 1", collection=collection, **more)
    assert missing(task, raw) == []
    catalogue = read_catalogue(task, raw)
    return with_images(select(catalogue, task), catalogue.images)


def parts(selection: Selection) -> dict[str, int]:
    return {str(k): int(n) for k, n in selection.table["part"].value_counts().items()}


def error(raw: Path, label: str, source: str = "folder", **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        chosen(raw, label, source, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def style_lists(end: str = "\r\n") -> dict[str, str]:
    lines = [f"{work},{NUMBERS[work.split('/')[0]]}{end}" for work in WORKS]
    names = "".join(f"{number} {style}\n" for style, number in NUMBERS.items())
    return {
        "style_class.txt": names,
        "style_train.csv": "".join(lines[::2]),
        "style_val.csv": "".join(lines[1::2]),
    }


# ---- The ArtGAN release --------------------------------------------------------------------------


@pytest.mark.parametrize("lists", ["", "WikiArt Dataset/Style/", "a/b/c/", "wikiart_csv/"])
@pytest.mark.parametrize("pictures", ["", "images/", "wikiart/", "download/wikiart/"])
def test_the_release_at_any_depth(tmp_path: Path, lists: str, pictures: str) -> None:
    root = tmp_path / "wikiart"
    put(root, {f"{lists}{name}": text for name, text in style_lists().items()})
    images(root, [f"{pictures}{work}" for work in WORKS])
    found = chosen(tmp_path, "style")
    assert found.counts == {"Impressionism": 4, "Post Impressionism": 4, "Romanticism": 4}
    assert sorted(found.table["image"]) == sorted(WORKS)  # the same split wherever they lie
    assert parts(found) == {"train": 6, "val": 6}
    assert chosen(tmp_path, "artist").counts == {
        "arnold böcklin": 4,
        "claude monet": 4,
        "paul cezanne": 4,
    }


@pytest.mark.parametrize(
    "spelling",
    [
        "arnold-b#U00e3#U00b6cklin",  # Info-ZIP's unzip in the C locale
        "arnold-bã¶cklin".encode().decode("latin-1"),  # read wrongly once more
        "arnold-bã¶cklin".encode().decode("cp437"),
        "arnold-böcklin",
        "arnold-bo\u0308cklin",
        "ARNOLD-BÖCKLIN",
    ],
)
def test_names_as_archives_leave_them(tmp_path: Path, spelling: str) -> None:
    root = tmp_path / "wikiart"
    put(root, style_lists())
    images(root / "images", [work.replace("arnold-bã¶cklin", spelling) for work in WORKS])
    found = chosen(tmp_path, "style")
    assert found.counts["Romanticism"] == 4
    notes = "\n".join(str(note) for note in found.notes)
    assert "4 images found under another spelling of the name: Romanticism/arnold-bã¶cklin" in notes


@pytest.mark.parametrize("folder", ["", "images/", "wikiart/", "images/images/"])
def test_folders_of_styles_without_lists(tmp_path: Path, folder: str) -> None:
    images(tmp_path / "wikiart", [f"{folder}{work}" for work in WORKS])
    found = chosen(tmp_path, "style")
    assert found.counts == {"Impressionism": 4, "Post Impressionism": 4, "Romanticism": 4}
    assert chosen(tmp_path, "artist").counts["claude monet"] == 4
    said = error(tmp_path, "genre", "wikiart")
    assert "no image has a genre; genre_class.txt" in said
    assert "put there a table of artists" in error(tmp_path, "nationality", "wikiart")


def test_folders_that_are_no_styles_are_not_taken_for_them(tmp_path: Path) -> None:
    images(tmp_path / "wikiart", ["images/claude-monet/1.jpg", "images/edgar-degas/2.jpg"])
    assert "are no styles of WikiArt" in error(tmp_path, "style", "wikiart")


def test_two_sets_of_lists_of_one_label_are_a_question(tmp_path: Path) -> None:
    root = tmp_path / "wikiart"
    put(root, {f"old/{name}": text for name, text in style_lists().items()})
    lists = style_lists() | {"style_val.csv": f"{WORKS[1]},12\n"}
    put(root, {f"new/{name}": text for name, text in lists.items()})
    images(root / "images", WORKS)
    said = error(tmp_path, "style", "wikiart")
    assert "can be read in 2 ways" in said
    assert "READ_AS=lists:new" in said
    assert "READ_AS=lists:old" in said
    assert len(chosen(tmp_path, "style", read_as="lists:old").table) == 12
    assert len(chosen(tmp_path, "style", read_as="lists:new").table) == 7
    # The same lists twice are no question.
    put(root, {f"new/{name}": text for name, text in style_lists().items()})
    assert len(chosen(tmp_path, "style").table) == 12


# ---- Tables --------------------------------------------------------------------------------------


def kaggle(root: Path) -> None:
    classes = ["filename,artist,genre,description,genre_count,subset"]
    codes = ["file,artist,genre,style"]
    for number, work in enumerate(WORKS):
        style, _, name = work.partition("/")
        artist = name.partition("_")[0].replace("-", " ")
        shown = [style.replace("_", " ")] + (["Realism"] if number == 0 else [])
        if number == 1:
            shown.insert(0, "Realism")  # the folder says which of the two counts
        subset = "train" if number % 4 else "test"
        classes.append(f'{work},{artist},"{shown}",x,{len(shown)},{subset}')
        codes.append(f"{work},4,{129 + (number % 2) * 4},{140 + NUMBERS[style]}")
    put(root, {"classes.csv": "\n".join(classes), "wclasses.csv": "\n".join(codes)})
    images(root, WORKS)


def test_kaggles_column_genre_holds_styles(tmp_path: Path) -> None:
    kaggle(tmp_path / "wikiart")
    style = chosen(tmp_path, "style")
    assert style.counts == {"Impressionism": 4, "Post Impressionism": 4, "Romanticism": 4}
    assert chosen(tmp_path, "genre").counts == {"abstract painting": 6, "landscape": 6}
    assert set(chosen(tmp_path, "artist").counts) == {
        "arnold böcklin",
        "claude monet",
        "paul cezanne",
    }
    assert parts(style) == {"test": 3, "train": 9}
    (tmp_path / "wikiart" / "wclasses.csv").unlink()
    assert chosen(tmp_path, "style").counts == style.counts
    assert "no image has a genre" in error(tmp_path, "genre", "wikiart")


def test_painter_by_numbers(tmp_path: Path) -> None:
    rows = ["artist,date,genre,pixelsx,source,style,title,artist_group,in_train,new_filename"]
    for n in range(8):
        style = "" if n == 7 else ("Impressionism", "Realism")[n % 2]
        rows.append(f"Painter {n % 2},1955.0,landscape,9,wikiart,{style},T,x,{n < 6},{n}.jpg")
    put(tmp_path / "wikiart", {"all_data_info.csv": "\r\n".join(rows)})
    images(tmp_path / "wikiart", [f"{'train' if n < 6 else 'test'}/{n}.jpg" for n in range(8)])
    found = chosen(tmp_path, "style")
    assert found.counts == {"Impressionism": 4, "Realism": 3}
    assert found.left_out == {"style unknown": 1}
    assert parts(found) == {"test": 1, "train": 6}


SEMART = "IMAGE_FILE\tDESCRIPTION\tAUTHOR\tTITLE\tTECHNIQUE\tDATE\tTYPE\tSCHOOL\tTIMEFRAME\n"


@pytest.mark.parametrize("folder", ["Images/", "images/", "SemArt/Images/", ""])
def test_semart(tmp_path: Path, folder: str) -> None:
    schools = ("Italian", "German")
    for part, number in (("train", 6), ("val", 2), ("test", 2)):
        rows = [
            f"{part}{n}.jpg\tA “café”\tBOSCH\tT\tOil\t1500\tgenre\t{schools[n % 2]}\t1501-1550\n"
            for n in range(number)
        ]
        text = (SEMART + "".join(rows)).encode("cp1252")
        for root in ("mine", "wga"):
            put(tmp_path / root, {f"semart_{part}.csv": text})
            images(tmp_path / root, [f"{folder}{part}{n}.jpg" for n in range(number)])
    for label in ("SCHOOL", "nationality", "school"):
        found = chosen(tmp_path, label, "folder")
        assert found.counts == {"German": 5, "Italian": 5}
        assert parts(found) == {"test": 2, "train": 6, "val": 2}
    of_wga = chosen(tmp_path, "nationality", "wga", forms=("painting",))
    assert of_wga.counts == {"German": 5, "Italian": 5}


@pytest.mark.parametrize(
    "header",
    ["Image_Path,Kind", "file_name\tKind", "Kind;IMG", "Kind|the picture", "photo,Kind,note"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_a_table_with_any_usual_column_of_paths(tmp_path: Path, header: str, encoding: str) -> None:
    separator = next(mark for mark in ",;\t|" if mark in header)
    columns = header.split(separator)
    rows = [header]
    for n in range(6):
        cells = [("é", "b")[n % 2] if c == "Kind" else f"{n}.jpg" for c in columns]
        rows.append(
            separator.join(
                "" if c == "note" else cell for c, cell in zip(columns, cells, strict=True)
            )
        )
    put(tmp_path / "mine", {"my labels.csv": "\r\n".join(rows).encode(encoding)})
    images(tmp_path / "mine", [f"photos/{n}.jpg" for n in range(6)])
    assert chosen(tmp_path, "Kind", "folder").counts == {"b": 3, "é": 3}


def test_sep_lines_and_tables_without_a_header(tmp_path: Path) -> None:
    rows = [f"{n}.jpg;{'ab'[n % 2]}" for n in range(4)]
    images(tmp_path / "mine", [f"{n}.jpg" for n in range(4)])
    put(tmp_path / "mine", {"x.csv": "\n".join(["sep=;", "file;kind", *rows])})
    assert chosen(tmp_path, "kind", "folder").counts == {"a": 2, "b": 2}
    put(tmp_path / "mine", {"x.csv": "\n".join(rows)})
    assert chosen(tmp_path, "class", "folder").counts == {"a": 2, "b": 2}


@pytest.mark.parametrize("name", ["metadata.jsonl", "labels.json"])
def test_tables_in_json(tmp_path: Path, name: str) -> None:
    records = [{"file_name": f"{n}.jpg", "kind": "ab"[n % 2]} for n in range(4)]
    lines = "\n".join(json.dumps(record) for record in records)
    put(tmp_path / "mine", {name: lines if name.endswith("l") else json.dumps(records)})
    images(tmp_path / "mine", [f"train/{n}.jpg" for n in range(4)])
    assert chosen(tmp_path, "kind", "folder").counts == {"a": 2, "b": 2}


def test_tables_that_contradict_each_other_are_a_question(tmp_path: Path) -> None:
    images(tmp_path / "mine", ["0.jpg", "1.jpg", "2.jpg"])
    put(tmp_path / "mine", {"one.csv": "file,kind\n0.jpg,a\n1.jpg,b\n2.jpg,b\n"})
    put(tmp_path / "mine", {"two.csv": "file,kind,size\n0.jpg,b,1\n1.jpg,b,2\n2.jpg,a,2\n"})
    said = error(tmp_path, "kind")
    assert "one.csv and two.csv say different things of kind (0.jpg is 'a' and 'b'" in said
    assert "READ_AS=table:one.csv or READ_AS=table:two.csv" in said
    assert chosen(tmp_path, "kind", "folder", read_as="table:two.csv").counts == {"a": 1, "b": 2}
    assert chosen(tmp_path, "size", "folder").counts == {"1": 1, "2": 2}


# ---- Records of WikiArt's API --------------------------------------------------------------------


def test_records_of_the_second_api_with_flat_images(tmp_path: Path) -> None:
    works = [
        {
            "id": f"57727444edc2cb3880cb7b{n:02d}",
            "title": "T",
            "artistUrl": "claude-monet",
            "artistName": "Claude Monet",
            "completitionYear": None,
            "genres": ["landscape"],
            "styles": [("Impressionism", "Realism")[n % 2]],
        }
        for n in range(6)
    ]
    put(
        tmp_path / "wikiart",
        {
            "meta/paintings/claude-monet.json": json.dumps(works),
            "meta/painters/1.json": json.dumps({"id": "1", "artistName": "Claude Monet"}),
            "meta/_context.json": '{"requestId": 3, "hasMore": false}',
            "dataset_infos.json": '{"x": {"features": {"artist": {"names": ["a"]}}}}',
        },
    )
    images(tmp_path / "wikiart", [f"images/{work['id']}.jpg" for work in works])
    found = chosen(tmp_path, "style")
    assert found.counts == {"Impressionism": 3, "Realism": 3}
    assert not found.notes


# ---- Caffe's own lists ---------------------------------------------------------------------------


def caffe_lists(root: Path, folder: str = "", end: str = "\n", before: str = "") -> None:
    names = [f"{'ab'[n % 2]} {n}.jpg" for n in range(20)]  # names with a blank
    lines = [f"{before}{name} {1 - n % 2}{end}" for n, name in enumerate(names)]
    put(
        root,
        {
            f"{folder}train.txt": "".join(lines[:12]) + end,
            f"{folder}val.txt": "".join(lines[12:16]),
            f"{folder}test.txt": "".join(lines[16:]).rstrip(),
        },
    )
    images(root / "images", names)


@pytest.mark.parametrize("folder", ["", "lists/", "labels/"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("labels.txt", "woodcut\netching\n"),
        ("names.txt", "woodcut\t0\r\netching\t1\r\n"),
        ("synset_words.txt", "0 woodcut\n1 etching"),
        ("classes.csv", "1,etching\n0,woodcut\n"),
    ],
)
def test_caffes_own_lists(tmp_path: Path, folder: str, end: str, file: str, names: str) -> None:
    caffe_lists(tmp_path / "mine", folder, end)
    put(tmp_path / "mine", {f"{folder}{file}": names})
    found = chosen(tmp_path, "class", "folder")
    assert found.counts == {"woodcut": 10, "etching": 10}
    assert found.classes == ["woodcut", "etching"]  # the numbers stay
    assert set(found.table["label"][found.table["image"] == "a 0.jpg"]) == {"etching"}
    assert parts(found) == {"test": 4, "train": 12, "val": 4}


def test_digits_writes_paths_from_the_top_of_a_disk(tmp_path: Path) -> None:
    elsewhere = "/no/such/place/images/"
    caffe_lists(tmp_path / "mine", before=elsewhere)
    put(tmp_path / "mine", {"labels.txt": "x\ny\n"})
    assert sorted(chosen(tmp_path, "class", "folder").table["image"])[0] == "a 0.jpg"
    outside = tmp_path / "other disk"
    caffe_lists(tmp_path / "mine", before=f"{outside}/images/")
    for file in (tmp_path / "mine" / "images").iterdir():
        file.unlink()
    images(outside / "images", [f"{'ab'[n % 2]} {n}.jpg" for n in range(20)])
    task = Task("t", "folder", "class", 1, "at least 1", collection="mine")
    catalogue = read_catalogue(task, tmp_path)
    assert catalogue.images == outside / "images"
    assert len(with_images(select(catalogue, task), catalogue.images).table) == 20
    put(tmp_path / "mine", {"val.txt": "/etc/passwd 0\n"})
    assert "17 paths not below" in error_of(task, tmp_path)


def error_of(task: Task, raw: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_catalogue(task, raw)
    return str(caught.value)


def test_lists_of_ticc(tmp_path: Path) -> None:
    caffe_lists(tmp_path / "ticc", "labels/")
    put(tmp_path / "ticc", {"labels/names.txt": "Rembrandt Harmensz. van Rijn\t0\nGoltzius\t1\n"})
    found = chosen(tmp_path, "artist", "ticc")
    assert found.counts == {"Rembrandt Harmensz. van Rijn": 10, "Goltzius": 10}


def test_lists_and_a_table_of_one_label_are_a_question(tmp_path: Path) -> None:
    caffe_lists(tmp_path / "mine")
    put(tmp_path / "mine", {"info.csv": "file,class,colour\na 0.jpg,x,red\nb 1.jpg,y,blue\n"})
    said = error(tmp_path, "class")
    assert "READ_AS=lists (" in said
    assert "READ_AS=table (" in said
    assert chosen(tmp_path, "colour", "folder").counts == {"blue": 1, "red": 1}  # only one knows it
    assert len(chosen(tmp_path, "class", "folder", read_as="lists").table) == 20
    assert "unknown READ_AS 'list'" in error(tmp_path, "class", read_as="list")


# ---- Folders of classes --------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", "images/", "images/images/", "a/b/c/", "Images/"])
def test_a_folder_per_class_at_any_depth(tmp_path: Path, folder: str) -> None:
    images(tmp_path / "mine", [f"{folder}{'xy'[n % 2]}/{n}.jpg" for n in range(8)])
    found = chosen(tmp_path, "class", "folder")
    assert found.counts == {"x": 4, "y": 4}
    assert sorted(found.table["image"])[0] == "x/0.jpg"


@pytest.mark.parametrize(
    "place", ["{part}/{name}", "images/{part}/{name}", "data/art_{part}/{name}", "{name}/{part}"]
)
@pytest.mark.parametrize("words", [("train", "val", "test"), ("Training", "valid", "TEST")])
def test_folders_of_a_given_split(tmp_path: Path, place: str, words: tuple[str, str, str]) -> None:
    for part in words:
        for n in range(4):
            file = place.format(part=part, name="xy"[n % 2])
            images(tmp_path / "mine", [f"{file}/{n}.jpg"])
    found = chosen(tmp_path, "class", "folder")
    assert found.counts == {"x": 6, "y": 6}
    assert parts(found) == {"test": 4, "train": 4, "val": 4}


def test_never_one_class_called_images(tmp_path: Path) -> None:
    images(tmp_path / "mine", [f"images/images/{n}.jpg" for n in range(4)])
    assert "all 4 images lie in images: a folder per class is needed" in error(tmp_path, "class")
    images(tmp_path / "mine", [f"images/images/only/{n}.jpg" for n in range(4)])
    (tmp_path / "mine" / "images" / "images" / "0.jpg").unlink()
    assert "a folder per class is needed" in error(tmp_path, "class")


def test_images_beside_folders_of_classes_are_a_question(tmp_path: Path) -> None:
    images(tmp_path / "mine", ["images/0.jpg", "images/1.jpg", "x/2.jpg", "y/3.jpg"])
    said = error(tmp_path, "class")
    assert "is images a class too" in said
    assert "READ_AS=folders:." in said
    counts = chosen(tmp_path, "class", "folder", read_as="folders:.").counts
    assert counts == {"images": 2, "x": 1, "y": 1}


# ---- Artists -------------------------------------------------------------------------------------


def test_nationality_counts_before_citizenship_row_by_row(tmp_path: Path) -> None:
    put(tmp_path / "wikiart", style_lists())
    images(tmp_path / "wikiart" / "images", WORKS)
    table = (
        "artist,Nationality,citizenship\nClaude Monet,French,Elsewhere\n"
        'Paul Cezanne,,France\nArnold Böcklin,"Swiss,German",Switzerland\n'
    )
    put(tmp_path / "wikiart", {"PainterPalette.csv": table})
    found = chosen(tmp_path, "nationality")
    assert found.counts == {"French": 8, "Swiss": 4}
    notes = "\n".join(str(note) for note in found.notes)
    assert "of 3 artists 3 are in PainterPalette.csv, 3 with a nationality (12 of 12" in notes
    assert "1 artist of several nationalities, the first counts: Arnold Böcklin" in notes
