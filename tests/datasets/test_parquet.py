"""Parquet files with images inside: read, written out once, and got from a hub on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from datasets.catalogue import read_catalogue, write_out_images
from datasets.select import select, with_images
from datasets.sources import hub
from datasets.tasks import Task
from lib.errors import UserError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
STYLES = ["Art_Nouveau", "Cubism", "Ukiyo_e"]
ARTISTS = ["Unknown Artist", "claude-monet", "edgar-degas"]
JPEG, PNG = b"\xff\xd8\xff jpeg ", b"\x89PNG\r\n\x1a\n png "


def task(label: str, source: str = "wikiart") -> Task:
    return Task("t", source, label, 1, "at least 1")


def features() -> dict[str, Any]:
    return {
        "image": {"_type": "Image"},
        "artist": {"names": ARTISTS, "_type": "ClassLabel"},
        "style": {"names": STYLES, "_type": "ClassLabel"},
    }


def write(path: Path, first: int, number: int, *, inside: bool = True, text: bool = False) -> None:
    """Rows first, first+1, ...; the names of the numbers `inside` the file's metadata or not."""
    rows = range(first, first + number)
    cells = [{"bytes": (PNG if n % 2 else JPEG) + bytes([n]), "path": None} for n in rows]
    styles: Any = [n % 3 for n in rows]
    artists: Any = [n % 3 for n in rows]
    if text:
        styles = [STYLES[n] for n in styles]
        artists = [ARTISTS[n] for n in artists]
    table = pa.table({"image": pa.array(cells, type=IMAGE), "artist": artists, "style": styles})
    if inside:
        about = json.dumps({"info": {"features": features()}})
        table = table.replace_schema_metadata({"huggingface": about})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


@pytest.mark.parametrize("names", ["inside", "infos", "readme", "text"])
def test_labels_are_numbers_with_names_or_texts(tmp_path: Path, names: str) -> None:
    root = tmp_path / "wikiart"
    for number in range(2):
        file = root / "data" / f"train-{number:05d}-of-00002.parquet"
        write(file, 6 * number, 6, inside=names == "inside", text=names == "text")
    if names == "infos":
        (root / "dataset_infos.json").write_text(json.dumps({"x": {"features": features()}}))
    if names == "readme":
        told = "".join(f"        '{n}': {name}\n" for n, name in enumerate(STYLES))
        more = "".join(f"        '{n}': {name}\n" for n, name in enumerate(ARTISTS))
        (root / "README.md").write_text(
            "---\ndataset_info:\n  features:\n"
            f"  - name: style\n    dtype:\n      class_label:\n       names:\n{told}"
            f"  - name: artist\n    dtype:\n      class_label:\n       names:\n{more}---\n"
        )
    before = select(read_catalogue(task("style"), tmp_path), task("style"))
    assert before.counts == (
        {"Art_Nouveau": 4, "Cubism": 4, "Ukiyo_e": 4}
        if names == "text"
        else {"Art Nouveau": 4, "Cubism": 4, "Ukiyo e": 4}
    )
    assert write_out_images(task("style"), tmp_path)
    catalogue = read_catalogue(task("artist"), tmp_path)
    assert catalogue.edition.startswith("catalog.csv")
    artist = with_images(select(catalogue, task("artist")), catalogue.images)
    assert sorted(artist.counts.values()) == [4, 4]  # Unknown Artist is unknown
    assert sum(artist.left_out.values()) == 4
    data = root / "images" / "data" / "train-00001-of-00002"
    assert (data / "000000.jpg").read_bytes() == JPEG + bytes([6])
    assert (data / "000001.png").read_bytes() == PNG + bytes([7])
    after = with_images(select(catalogue, task("style")), catalogue.images)
    assert after.counts == before.counts


def test_what_was_written_out_needs_no_parquet_any_more(tmp_path: Path) -> None:
    file = tmp_path / "wikiart" / "train.parquet"
    write(file, 0, 6)
    write_out_images(task("style"), tmp_path)
    times = [p.stat().st_mtime_ns for p in sorted((tmp_path / "wikiart").rglob("*.*"))]
    write_out_images(task("style"), tmp_path)
    assert times == [p.stat().st_mtime_ns for p in sorted((tmp_path / "wikiart").rglob("*.*"))]
    file.unlink()
    catalogue = read_catalogue(task("style"), tmp_path)
    assert len(with_images(select(catalogue, task("style")), catalogue.images).table) == 6
    write(tmp_path / "wikiart" / "more.parquet", 6, 3)  # a file that came later is written out too
    assert "parquet" in read_catalogue(task("style"), tmp_path).edition
    write_out_images(task("style"), tmp_path)
    catalogue = read_catalogue(task("style"), tmp_path)
    assert len(with_images(select(catalogue, task("style")), catalogue.images).table) == 9


def test_given_split_and_rows_without_an_image(tmp_path: Path) -> None:
    root = tmp_path / "wikiart" / "data"
    write(root / "train-00000-of-00001.parquet", 0, 6)
    write(root / "validation-00000-of-00001.parquet", 6, 3)
    cells = [{"bytes": None, "path": None}, {"bytes": b"no image", "path": None}]
    table = pa.table({"image": pa.array(cells, type=IMAGE), "style": ["Cubism", "Cubism"]})
    pq.write_table(table, root / "test-00000-of-00001.parquet")
    write_out_images(task("style"), tmp_path)
    chosen = select(read_catalogue(task("style"), tmp_path), task("style"))
    assert chosen.table["part"].value_counts().to_dict() == {"train": 6, "val": 3}
    assert chosen.left_out == {"no image named": 2}


def test_damaged_files_and_numbers_without_a_name(tmp_path: Path) -> None:
    file = tmp_path / "wikiart" / "a.parquet"
    write(file, 0, 6)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match="is no whole parquet file"):
        read_catalogue(task("style"), tmp_path)
    write(file, 0, 6)
    about = {"huggingface": json.dumps({"info": {"features": {"style": {"names": ["a"]}}}})}
    pq.write_table(pq.read_table(file).replace_schema_metadata(about), file)
    with pytest.raises(UserError, match="style has the number 1, which has no name"):
        read_catalogue(task("style"), tmp_path)


# ---- A hub on loopback ---------------------------------------------------------------------------


class Hub(ThreadingHTTPServer):
    """Enough of Hugging Face's API for one dataset; breaks off in the middle when told to."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.files = files
        self.break_after: int | None = None
        self.asked: list[str] = []


class _Answers(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/api/datasets/huggan/tiny/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": "b" * 40}
                for name, data in self.server.files.items()
            ]
            self._send(json.dumps(tree).encode())
        elif path.startswith("/api/datasets/huggan/tiny"):
            files = [{"rfilename": n, "size": len(d)} for n, d in self.server.files.items()]
            self._send(
                json.dumps({"id": "huggan/tiny", "sha": "a" * 40, "siblings": files}).encode()
            )
        elif "/resolve/" in path and path.startswith("/datasets/huggan/tiny/"):
            name = path.split("/resolve/")[1].partition("/")[2]
            if name in self.server.files:
                self.server.asked.append(f"{self.command} {name} {self.headers.get('Range')}")
                self._send(self.server.files[name])
            else:
                self._missing("EntryNotFound")
        else:
            self._missing("RepoNotFound")

    def _missing(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, data: bytes) -> None:
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(data) - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("X-Repo-Commit", "a" * 40)
        self.send_header("ETag", f'"{abs(hash(data)):032x}"')
        self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command == "HEAD":
            return
        body = data[start:]
        if self.server.break_after is not None and len(body) > self.server.break_after:
            self.wfile.write(body[: self.server.break_after])
            self.server.break_after = None
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(body)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    constants = pytest.importorskip("huggingface_hub.constants")
    made = tmp_path / "made"
    for number in range(2):
        write(made / f"{number}.parquet", 6 * number, 6)
    files = {f"data/train-{n:05d}.parquet": (made / f"{n}.parquet").read_bytes() for n in range(2)}
    files |= {"README.md": b"---\nlicense: unknown\n---\n", "big.zip": b"not wanted"}
    server = Hub(files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    # As HF_ENDPOINT and HF_HOME do it, which the library reads when it is imported.
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()


def test_a_dataset_is_got_and_resumed(tmp_path: Path, server: Hub) -> None:
    folder = tmp_path / "raw" / "wikiart"
    assert hub.get_dataset("huggan/tiny", folder) == 2
    for name, data in server.files.items():
        if name.endswith((".parquet", ".md")):
            assert (folder / name).read_bytes() == data
    assert not (folder / "big.zip").exists()
    server.asked.clear()
    assert hub.get_dataset("huggan/tiny", folder) == 2
    assert not [each for each in server.asked if each.startswith("GET")]  # nothing comes twice
    write_out_images(task("style"), tmp_path / "raw")
    chosen = select(read_catalogue(task("style"), tmp_path / "raw"), task("style"))
    assert chosen.counts == {"Art Nouveau": 4, "Cubism": 4, "Ukiyo e": 4}


def test_what_a_hub_has_not(tmp_path: Path, server: Hub) -> None:
    with pytest.raises(UserError, match="there is no dataset huggan/none"):
        hub.get_dataset("huggan/none", tmp_path / "x")
    with pytest.raises(UserError, match="is no dataset's name"):
        hub.get_dataset("a/b/c", tmp_path / "x")
    server.files = {"README.md": b"nothing"}
    with pytest.raises(UserError, match="has no parquet files"):
        hub.get_dataset("huggan/tiny", tmp_path / "x")
    server.files = {"../../etc/x.parquet": b"x"}
    with pytest.raises(UserError, match="names a file outside of itself"):
        hub.get_dataset("huggan/tiny", tmp_path / "x")


def test_disk_space_is_asked_for_before_the_start(
    tmp_path: Path, server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("usage", (), {"free": 1000})
    monkeypatch.setattr("lib.files.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"not enough disk space for the dataset huggan/tiny"):
        hub.get_dataset("huggan/tiny", tmp_path / "x")
    assert not server.asked
