"""Spreadsheets and archives made to hurt: each ends in one line, and soon."""

from __future__ import annotations

import io
import threading
import warnings
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from datasets.sources import spreadsheet, wga
from lib.errors import UserError
from lib.fetch import Timeouts, download
from tests.datasets.test_wga import ROWS, as_csv


def refused(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        spreadsheet.read(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_cell_at_the_far_end(tmp_path: Path) -> None:
    book, file = openpyxl.Workbook(), tmp_path / "far.xlsx"
    book.active["A1"], book.active["XFD1048576"] = "image", "x"
    book.save(file)
    assert "cells far beyond its table" in refused(file)


def test_an_archive_that_unpacks_to_more_than_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spreadsheet, "LARGEST", 1_000_000)
    file = tmp_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("catalog.csv", b"a" * 50_000_000)
    assert file.stat().st_size < 100_000
    assert "holds a table larger than 1.0 MB" in refused(file)


def test_a_second_member_of_the_wanted_name(tmp_path: Path) -> None:
    file = tmp_path / "two.zip"
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w") as archive:
        archive.writestr("catalog.csv", b"a,b\n1,2\n")
        archive.writestr("catalog.csv", b"a,b\n3,4\n")
    assert "must hold one .csv, .xls or .xlsx file, it has 2" in refused(file)


@pytest.mark.parametrize("damage", [b"PK\x03\x04 no book", b"\xd0\xcf\x11\xe0" + b"\xff" * 600])
def test_what_is_no_workbook(tmp_path: Path, damage: bytes) -> None:
    for suffix in (".xls", ".xlsx"):
        (tmp_path / f"a{suffix}").write_bytes(damage)
        assert "is not a whole spreadsheet" in refused(tmp_path / f"a{suffix}")


# ---- The catalogue of the Web Gallery of Art, from a server of ours --------


class _Site(BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}  # noqa: RUF012 - the test's own

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        data = self.files.get(self.path)
        self.send_response(200 if data is not None else 404)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(wga, "DOWNLOADS", (f"{address}/data_txt.zip", f"{address}/data_xls.zip"))
    monkeypatch.setattr(_Site, "files", {})
    yield address
    server.shutdown()


def fetch(*given: Any, **named: Any) -> str:
    return download(*given, timeouts=Timeouts(1, 1, 0.01), **named)


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("catalog.csv", data)
    return out.getvalue()


def test_the_sites_own_catalogue_is_got(tmp_path: Path, site: str) -> None:
    _Site.files["/data_txt.zip"] = zipped(as_csv(ROWS))
    assert wga.get_catalogue(tmp_path, fetch) == tmp_path / "data_txt.zip"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data_txt.zip"]
    assert len(spreadsheet.read(tmp_path / "data_txt.zip")[0]) == len(ROWS)


def test_a_download_that_is_no_catalogue_gives_way_to_the_next(tmp_path: Path, site: str) -> None:
    _Site.files["/data_txt.zip"] = zipped(b"a;b\n1;2\n")
    _Site.files["/data_xls.zip"] = zipped(as_csv(ROWS))
    assert wga.get_catalogue(tmp_path, fetch) == tmp_path / "data_xls.zip"
    _Site.files.clear()
    with pytest.raises(UserError, match=r"could not get the catalogue of www\.wga\.hu: .*404"):
        wga.get_catalogue(tmp_path / "other", fetch)
