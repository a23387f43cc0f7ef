"""Which files below a folder are images: one list of suffixes, one walk."""

from __future__ import annotations

import os
import socket
import unicodedata
from pathlib import Path

import cv2
import pandas as pd
import pytest
from PIL import Image

from datasets.decode import BrokenImageError, decode, read_bytes
from datasets.image_files import files_below, find_images, images_below, on_disk
from datasets.select import Selection, with_images
from datasets.sources import folder as folder_source
from datasets.sources.listing import look
from tests.pictures import write_jpeg

FORMATS = {".jpg": "JPEG", ".tif": "TIFF", ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM"}
FORMATS |= {".jp2": "JPEG2000"}
MODES = {".pgm": "L", ".pbm": "1"}


def write(path: Path, suffix: str) -> None:
    """An image in the format of `suffix`, though its name ends otherwise."""
    picture = Image.new(MODES.get(suffix, "RGB"), (16, 16))
    picture.save(path, FORMATS.get(suffix, suffix[1:].upper()))


def test_every_format_that_opencv_reads_is_taken(tmp_path: Path) -> None:
    formats = {
        **{"a.jpg": ".jpg", "b.JPEG": ".jpg", "c.jpe": ".jpg", "d.jfif": ".jpg", "e.png": ".png"},
        **{"f.bmp": ".bmp", "g.dib": ".bmp", "h.tif": ".tif", "i.TIFF": ".tif", "j.webp": ".webp"},
        **{"k.ppm": ".ppm", "l.pgm": ".pgm", "m.pbm": ".pbm", "n.pnm": ".ppm"},
    }
    formats |= {
        f"o{suffix}": suffix
        for suffix in (".gif", ".jp2", ".avif")
        if cv2.haveImageWriter(f"x{suffix}")
    }
    for name, suffix in formats.items():
        write(tmp_path / name, suffix)
    assert images_below(tmp_path) == sorted(formats)
    for name in formats:
        assert decode(read_bytes(tmp_path / name)).shape == (16, 16, 3)


def test_what_looks_like_an_image_and_is_left_out_is_counted_by_suffix(tmp_path: Path) -> None:
    root = tmp_path / "images"
    for kind in ("a", "b"):
        write_jpeg(root / kind / "1.jpg", 1)
        for name in ("1.heic", "2.heic", "3.svg", "4.psd"):
            (root / kind / name).write_bytes(b"something")
    (root / "a" / "no suffix").write_bytes((root / "a" / "1.jpg").read_bytes())
    (root / "a" / "notes.txt").write_text("no image")
    found = find_images(root)
    assert found.images == ["a/1.jpg", "b/1.jpg"]
    assert found.left_out_words == "no suffix (1), .heic (4), .psd (2), .svg (2)"
    notes = [str(note) for note in folder_source.read(look(tmp_path), "class", "").notes]
    assert any(
        note.startswith(
            "9 images left out, OpenCV cannot read: no suffix (1), .heic (4), .psd (2), .svg (2)"
        )
        for note in notes
    )


def test_what_programs_put_there_is_passed_over(tmp_path: Path) -> None:
    write_jpeg(tmp_path / "a" / "1.jpg", 1)
    for folder in (".ipynb_checkpoints", "@eaDir", ".thumbnails", "__MACOSX", "#recycle"):
        write_jpeg(tmp_path / "a" / folder / "1.jpg", 1)
    for name in ("Thumbs.db", ".DS_Store", "._1.jpg", ".1.jpg.123.part"):
        (tmp_path / "a" / name).write_bytes((tmp_path / "a" / "1.jpg").read_bytes())
    assert images_below(tmp_path) == ["a/1.jpg"]
    assert find_images(tmp_path).left_out == {}


def test_links_to_folders_are_followed_and_circles_gone_through_once(tmp_path: Path) -> None:
    write_jpeg(tmp_path / "elsewhere" / "1.jpg", 1)
    root = tmp_path / "images"
    (root / "a").mkdir(parents=True)
    for row in range(3):
        write_jpeg(root / "a" / f"{row}.jpg", row)
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "a" / "itself").symlink_to(root / "a")
    (root / "a" / "up").symlink_to("..")
    (root / "a" / "link.jpg").symlink_to("0.jpg")
    (root / "a" / "dangling.jpg").symlink_to("nothing.jpg")
    assert images_below(root) == ["a/0.jpg", "a/1.jpg", "a/2.jpg", "a/link.jpg", "b/1.jpg"]


@pytest.mark.timeout(20)
def test_pipes_and_sockets_never_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket.jpg"))
        assert files_below(tmp_path) == set()
        for name in ("pipe.jpg", "socket.jpg"):
            with pytest.raises(BrokenImageError):
                read_bytes(tmp_path / name)


def test_two_unicode_forms_of_a_name_are_one_file(tmp_path: Path) -> None:
    nfc, nfd = (unicodedata.normalize(form, "dürer/ángel.jpg") for form in ("NFC", "NFD"))
    write_jpeg(tmp_path / nfd, 1)
    write_jpeg(tmp_path / "b.jpg", 2)
    names = pd.Series([nfc, "b.jpg", "c.jpg"], dtype="string")
    assert on_disk(names, tmp_path).tolist()[:2] == [nfd, "b.jpg"]
    assert on_disk(names, tmp_path).isna().tolist() == [False, False, True]
    table = pd.DataFrame({"image": names, "work": names, "label": ["x"] * 3})
    chosen = with_images(Selection(table, ["x"], {}, []), tmp_path)
    assert chosen.table["image"].tolist() == [nfd, "b.jpg"]
    write_jpeg(tmp_path / nfc, 3)  # now both are there, and each name is its own file's
    both = pd.Series([nfc, nfd], dtype="string")
    assert on_disk(both, tmp_path).tolist() == [nfc, nfd]
