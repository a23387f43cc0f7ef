"""Extraction beside Caffe's own extract_features; exact search, its memory, and the page's answer.

    python -m tools.bench.similar           about 4 minutes on 2 cores; 2 GB of disk, 4 GB of memory
    python -m tools.bench.similar --quick   about 1 minute: 10,000 vectors, 64 images

Both extractors take the same LMDB through the same CaffeNet with the same batch, in turn, their
start included. The vectors of the search are made up: clustered, sparse and not negative, as those
of fc7.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx
import numpy as np
import uvicorn
from numpy.typing import NDArray

from datasets.build import build_lmdbs
from datasets.folders import PARTS, DataFolder
from datasets.image_files import images_below
from experiments.similarity.collection import Collection, task_collection
from experiments.similarity.extractor import Extractor
from experiments.similarity.feature_models import Model
from experiments.similarity.feature_set import FeatureSet, Item, Source, Writer
from experiments.similarity.index import Index, build
from experiments.similarity.make_features import make_features
from experiments.similarity.page.app import make_app
from experiments.similarity.page.engine import EngineQueue
from experiments.similarity.page.gallery import Gallery
from experiments.similarity.page.page_parts import Page
from experiments.similarity.page.thumbs import Thumbs
from experiments.similarity.page.uploads import Decoder, Uploads
from lib.caffe.client import Engine, find_engine
from lib.caffe.device import Device
from lib.cli import Parser, run
from lib.errors import UserError
from lib.files import readable, require_space, sha256
from lib.machine import usable_cores
from prototxt.render import Run, render

SAMPLE = Path("datasets/raw/met/images").absolute()
DIMS = 4096
T = TypeVar("T")

# argv: deploy, weights to write
_WEIGHTS = "import sys, caffe; caffe.Net(sys.argv[1], caffe.TEST).save(sys.argv[2])"


def main() -> None:
    """Measure, and print."""
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller numbers of everything")
    parser.add_argument(
        "--approximate", action="store_true", help="also hnsw and ivf: minutes more"
    )
    arguments = parser.parse_args()
    if not SAMPLE.is_dir():
        raise UserError("no sample images: make sample")
    load = os.getloadavg()[0]
    print(f"{usable_cores()} cores; load before this: {load:.1f}")
    with tempfile.TemporaryDirectory(prefix="bench.", dir=".") as room:
        folder = Path(room).absolute()
        with contextlib.chdir(folder):  # where the features go
            _extraction(folder, 64 if arguments.quick else 384, 2 if arguments.quick else 3)
        _search(folder, 10_000 if arguments.quick else 100_000, arguments.approximate)


# ---- Extraction ----------------------------------------------------------------------------------


def _extraction(folder: Path, images: int, rounds: int) -> None:
    data = _lmdb(folder / "data", images)
    texts = render(
        Run(
            task="bench", classes=10, train=1000, val=100, train_lmdb=str(data.lmdb("train")),
            val_lmdb=str(data.lmdb("train")), mean=str(data.mean), net="x", snapshot_prefix="x",
        )
    )  # fmt: skip
    deploy, net = folder / "deploy.prototxt", folder / "train_val.prototxt"
    deploy.write_text(texts["deploy.prototxt"])
    net.write_text(_with_batch(texts["train_val.prototxt"], 32))
    engine = find_engine()
    weights = folder / "bench.caffemodel"
    _quiet([str(engine.python), "-c", _WEIGHTS, str(deploy), str(weights)], engine)
    model = Model("bench", deploy, weights, data.mean)
    device = Device(engine, {}, None)
    collection = task_collection(data, ["train"])
    ours, theirs = [], []
    for turn in range(rounds):
        ours.append(
            _timed(
                lambda: make_features(collection, model, device, force=True), "ours", images, turn
            )
        )
        theirs.append(
            _timed(lambda: _extract_features(engine, folder, images), "Caffe's", images, turn)
        )
    ratios = [other / own for own, other in zip(ours, theirs, strict=True)]
    print(
        f"extraction of {images} images: {images / statistics.median(ours):.1f} images/s, "
        f"Caffe's own extract_features {images / statistics.median(theirs):.1f}; "
        f"{statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def _lmdb(folder: Path, images: int) -> DataFolder:
    data = DataFolder(folder)
    folder.mkdir()
    there = images_below(SAMPLE)
    names = [there[row % len(there)] for row in range(images)]
    data.classes.write_text("one\ntwo\n")
    for part in PARTS:
        some = names if part == "train" else names[:1]
        data.list(part).write_text("".join(f"{name} 0\n" for name in some))
    files = [data.classes, *(data.list(part) for part in PARTS)]
    hashes = ", ".join(f'"{path.name}": "{sha256(path)}"' for path in files)
    data.record.write_text(f'{{"images_root": "{SAMPLE}", "sha256": {{{hashes}}}}}')
    build_lmdbs(data, SAMPLE, workers=usable_cores())
    return data


def _with_batch(train_val: str, batch: int) -> str:
    """The TEST batch of a train_val.prototxt as wanted."""
    head, test, rest = train_val.partition("phase: TEST")
    before, word, after = rest.partition("batch_size: ")
    return head + test + before + word + str(batch) + after[after.index("\n") :]


def _extract_features(engine: Engine, folder: Path, images: int) -> None:
    """Caffe's own program, to an LMDB as it does; at least the same images."""
    program = engine.python.parent / "extract_features"
    out = folder / f"out-{time.monotonic_ns()}"
    words = [str(program), str(folder / "bench.caffemodel"), str(folder / "train_val.prototxt")]
    batches = -(-images // 32)
    _quiet([*words, "fc7", str(out), str(batches), "lmdb", "CPU"], engine)


def _quiet(words: list[str], engine: Engine) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"{words[0]} failed: {done.stderr[-500:]}")


def _timed(work: Callable[[], object], who: str, images: int, turn: int) -> float:
    began = time.monotonic()
    work()
    seconds = time.monotonic() - began
    print(f"  {turn + 1}: {who:8} {images / seconds:5.1f} images/s", flush=True)
    return seconds


# ---- Search --------------------------------------------------------------------------------------


def _search(folder: Path, count: int, approximate: bool) -> None:
    features = _features(folder / "fc7", count)
    own = features.vectors.nbytes
    print(f"search among {count:,} x {DIMS} ({readable(own)})")
    before = _memory("RssAnon")
    index, seconds = _clocked(lambda: build(features))
    grown = _memory("RssAnon") - before
    print(
        f"  exact: built in {seconds:.1f} s, {readable(grown)} of memory "
        f"({grown / own:.2f} times the vectors), {_speeds(index)}"
    )
    _page(folder, index)
    del index
    for kind in ("half", *(("hnsw", "ivf") if approximate else ())):
        other, seconds = _clocked(partial(build, features, kind))
        size = other.record["bytes"]
        print(
            f"  {kind}: built in {other.record['seconds']:.1f} s, {readable(size)} "
            f"({size / own:.2f} times the vectors), recall@10 {other.record['recall']:.4f}, "
            f"{_speeds(other)}"
        )


def _features(path: Path, count: int) -> FeatureSet:
    require_space(path.parent, count * DIMS * 4, f"{count:,} vectors")
    random = np.random.default_rng(1)
    centres = random.standard_normal((200, DIMS), dtype=np.float32)
    source = Source("bench", str(SAMPLE), "i", "bench", "w", "d", "m", "fc7", 2000)
    items = [Item(f"{row}.jpg", "train", f"class {row % 10}") for row in range(count)]
    writer = Writer(path, source, items, DIMS)
    for number in writer.missing:
        size = min(2000, count - number * 2000)
        noise = random.standard_normal((size, DIMS), dtype=np.float32)
        writer.put(number, np.maximum(centres[random.integers(0, 200, size)] + noise - 0.8, 0))
    return writer.finish()


def _speeds(index: Index) -> str:
    queries: NDArray[np.float32] = np.array(index.features.vectors[:32]) + np.float32(0.01)
    single = [_clocked(partial(index.search, queries[row], 10))[1] for row in range(12)]
    batch = [_clocked(lambda: index.search(queries, 10))[1] / 32 for _ in range(4)]
    return (
        f"{1000 * statistics.median(single):.0f} ms a query (best {1000 * min(single):.0f}), "
        f"{1000 * statistics.median(batch):.1f} ms in batches of 32 (best {1000 * min(batch):.1f})"
    )


def _page(folder: Path, index: Index) -> None:
    """The time from a click's request to the whole of its answer, over real HTTP."""
    items = tuple(index.features.items)
    collection = Collection("bench", SAMPLE, items, "fingerprint")
    known = {
        item.image: {"artist": f"artist {row % 3000}", "title": f"picture {row}"}
        for row, item in enumerate(items)
    }
    model = Model("bench", folder / "none", folder / "none", folder / "none")
    gallery = Gallery(collection, [model], [index], known)
    engine = EngineQueue(Extractor(Device(find_engine(), {}, None)), 4)
    thumbs, uploads = Thumbs(gallery, folder / "thumbs"), Uploads(folder / "uploads")
    app = make_app(Page(gallery, engine, thumbs, uploads, Decoder()), ["127.0.0.1"])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            times = []
            for row in np.random.default_rng(2).choice(len(items), 15, replace=False).tolist():
                answer, seconds = _clocked(
                    partial(client.get, "/api/search", params={"image": items[row].image})
                )
                assert len(answer.json()["results"][0]["images"]) == 12
                times.append(seconds)
    finally:
        server.should_exit = True
        thread.join()
    print(
        f"  page: a click on one of {len(items):,} images is answered in "
        f"{1000 * statistics.median(times):.0f} ms (best {1000 * min(times):.0f}, "
        f"worst {1000 * max(times):.0f})"
    )


def _clocked(work: Callable[[], T]) -> tuple[T, float]:
    began = time.monotonic()
    result = work()
    return result, time.monotonic() - began


def _memory(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    run(main)
