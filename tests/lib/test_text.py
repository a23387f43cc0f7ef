"""Text files as Windows, old Macs and spreadsheets save them, and those that are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lib.errors import UserError
from lib.text import (
    read_json,
    read_lines,
    read_log,
    read_rows,
    read_text,
    read_toml,
    require_caffe_text,
)

TEXT = "Köln, café\nsecond: “line”\n"
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "a file.txt"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_encoding_and_line_end_reads_the_same(file: Path, encoding: str, end: str) -> None:
    if encoding == "utf-16-le" or encoding == "utf-16-be":  # known by its ASCII letters
        file.write_bytes(("plain words" + end).encode(encoding))
        assert read_lines(file) == ["plain words"]
        return
    file.write_bytes(TEXT.replace("\n", end).encode(encoding))
    assert read_text(file) == TEXT
    assert read_lines(file) == TEXT.splitlines()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_an_empty_file_is_no_line(file: Path, mark: bytes) -> None:
    file.write_bytes(mark)
    assert read_lines(file) == []


def test_separators_of_unicode_are_no_line_ends(file: Path) -> None:
    file.write_text("a\u2028b\x85c\x0bd\n", encoding="utf-8")
    assert read_lines(file) == ["a\u2028b\x85c\x0bd"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xd0\xcf\x11\xe0\0\0\0\0", "is not a text file"),
        (b"a\nb\n\x81\x8d\n", "line 3: neither UTF-8 nor Windows-1252 text; save the file as"),
        (b"\xff\xfea", "is damaged: it is not whole UTF-16 text"),
        (b"\xef\xbb\xbf\xe9", "is damaged: it is not whole UTF-8 text"),
    ],
)
def test_what_is_no_text(file: Path, data: bytes, words: str) -> None:
    file.write_bytes(data)
    with pytest.raises(UserError, match=words) as caught:
        read_text(file)
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there_or_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        read_text(tmp_path / "missing")
    with pytest.raises(UserError, match="is not a file"):
        read_text(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is not a file"):
        read_text(tmp_path / "pipe")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_json_and_toml(file: Path, encoding: str) -> None:
    file.write_text('{"a": "é"}\r\n', encoding=encoding, newline="")
    assert read_json(file) == {"a": "é"}
    file.write_text('[a]\r\nb = "é"\r\n', encoding=encoding, newline="")
    assert read_toml(file) == {"a": {"b": "é"}}


def test_a_log_is_read_whatever_it_holds(file: Path) -> None:
    file.write_bytes(b"loss = 1\r\n\xff\xfe \0 half a line")
    assert read_log(file).split("\n")[0] == "loss = 1"
    file.write_bytes("Iteration 1, loss = 2\r\n".encode("utf-16"))  # PowerShell's way of saving
    assert read_log(file) == "Iteration 1, loss = 2\n"


@pytest.mark.parametrize("text", ["[", '{"a": }', "[" * 100_000, "1" * 5_000, ""])
def test_broken_json_is_one_line(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(UserError, match="is not whole JSON") as caught:
        read_json(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[a\n", "a = \n", "a = " + "[" * 5_000])
def test_broken_toml_is_one_line(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        read_toml(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        'a;b\n"x;1";y\n',
        "sep=;\na;b\nx;1\n".replace("x;1", '"x;1";y'),
        'a,b\n"x;1",y\n',
        '"sep=|"\na|b\nx;1|y\n',
        "a\tb\nx;1\ty\n",
        "sep=\t\na\tb\nx;1\ty\n",
        '"a;odd;name",b\n'.replace("a;odd;name", "a") + "x;1,y\n",
    ],
)
def test_rows_of_a_csv(file: Path, text: str) -> None:
    for end in ("\n", "\r\n", "\r"):
        file.write_text(text.replace("\n", end), encoding="utf-16", newline="")
        assert read_rows(file) == [["a", "b"], ["x;1", "y"]]


def test_a_quotation_mark_left_open(file: Path) -> None:
    file.write_text('a;b\nx;"y\n')
    with pytest.raises(UserError, match="quotation mark left open"):
        read_rows(file)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("layer {}\n".encode("utf-8-sig"), "UTF-8 with a byte order mark"),
        ("layer {}\n".encode("utf-16"), "UTF-16 with a byte order mark"),
        ("layer {}\n".encode("utf-16-le"), "UTF-16, which Caffe cannot read"),
        (b"# a net\rlayer {}\r", "line ends of an old Mac"),
    ],
)
def test_a_prototxt_that_caffe_cannot_read(file: Path, data: bytes, words: str) -> None:
    file.write_bytes(data)
    with pytest.raises(UserError, match=words):
        require_caffe_text(file)


@pytest.mark.parametrize("data", [b"layer {}\r\n", b"# \xe9t\xe9\nlayer {}\n", b""])
def test_a_prototxt_that_caffe_reads(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    require_caffe_text(file)
