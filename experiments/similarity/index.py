"""Nearest neighbours by cosine distance, with faiss: exact, in half precision, or approximate.

Cosine distance is 1 - a.b / (|a| |b|) (paper, section 5.4): faiss searches the inner product
of unit vectors. A vector of zeros has no direction: its distance to all others is 1.
INDEX= takes any word of faiss.index_factory, or one of the names in NAMED.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.similarity.feature_set import FeatureSet, Vectors
from experiments.similarity.optional_packages import load
from lib.errors import UserError, unknown
from lib.files import whole_folder, write_text
from lib.machine import usable_cores

# Names for good choices. `cells` of the inverted file is a number that suits the collection.
NAMED = {
    "exact": "Flat",
    "half": "SQfp16",
    "hnsw": "HNSW24,SQfp16",
    "ivf": "IVF{cells},SQfp16",
}
_CHUNK = 4096  # rows in hand while an index is filled
_SAMPLE = 200  # queries that recall is measured with
_TRAINING = 16384  # rows that an index learns from, at least (fewer where there are fewer)
_SEED = 1
_FORM = 2  # of the kept indexes: those of another form are made anew

Ticker = Callable[[int], None]  # told how many rows are done


@dataclass(frozen=True)
class Found:
    """Neighbours of queries, nearest first. Both arrays are queries x k."""

    distances: NDArray[np.float32]  # 0 for the same direction, 1 for a right angle, at most 2
    rows: NDArray[np.int64]  # -1 where an approximate index found fewer


class Index:
    """An index over the rows of a feature set: one faiss index, or slices searched side by side.

    faiss searches for one query on one core. The exact index is therefore one slice per core.
    """

    def __init__(
        self,
        slices: list[Any],
        starts: list[int],
        features: FeatureSet,
        record: dict[str, Any],
    ) -> None:
        """`starts`: the first row of each slice."""
        self.features = features
        self.record = record  # factory, seconds to build, bytes, recall@10 (1.0 for Flat)
        self._slices = slices
        self._starts = starts
        self._ends = [*starts[1:], len(features)]
        self._pool: ThreadPoolExecutor | None = None
        if len(slices) > 1:
            one_thread = load("faiss").omp_set_num_threads
            self._pool = ThreadPoolExecutor(len(slices), "search", one_thread, (1,))

    def __len__(self) -> int:
        return len(self.features)

    def search(self, queries: Vectors, k: int, only: NDArray[np.bool_] | None = None) -> Found:
        """The `k` nearest rows to each of the queries (queries x dims).

        `only` (one per row) says which rows may be found; where an approximate index finds fewer
        than `k` of them, the rest of `rows` is -1. Raises UserError when `k` is larger than the
        collection (or than what `only` leaves of it), or the queries have another number of
        dimensions: they are features of another net or blob.
        """
        queries = np.atleast_2d(np.asarray(queries, np.float32))
        if queries.shape[1] != self.features.dims:
            raise UserError(
                f"a vector of {queries.shape[1]:,} numbers can't be looked up among vectors of "
                f"{self.features.dims:,}: they are of different models or blobs"
            )
        there = len(self) if only is None else int(only.sum())
        if not 1 <= k <= there:
            what = "the collection has" if only is None else "the filter leaves"
            raise UserError(f"K={k}: {what} {there:,} images; K is 1 to {there:,}")
        units = unit(queries)

        def look(number: int) -> tuple[Vectors, NDArray[np.int64]]:
            start, end = self._starts[number], self._ends[number]
            mine = None if only is None else only[start:end]
            scores, rows = _search_one(self._slices[number], units, min(k, end - start), mine)
            return scores, np.where(rows >= 0, rows + start, -1)

        if self._pool is None:
            scores, rows = look(0)
        else:
            parts = list(self._pool.map(look, range(len(self._slices))))
            scores = np.hstack([each[0] for each in parts])
            rows = np.hstack([each[1] for each in parts])
            # Of equally near ones the first row comes first, as in one slice.
            order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            scores = np.take_along_axis(scores, order, axis=1)
            rows = np.take_along_axis(rows, order, axis=1)
        return Found(np.clip(1 - scores, 0, 2), rows)

    def vector(self, row: int) -> Vectors:
        """The features of one row of the collection (dims,)."""
        return np.array(self.features.vectors[row])


def scan(features: FeatureSet, query: Vectors, k: int, only: NDArray[np.int64]) -> Found:
    """The `k` nearest of the rows `only` to one query, read from the disk: no index is built."""
    blocks = (
        unit(features.vectors[only[start : start + _CHUNK]])
        for start in range(0, len(only), _CHUNK)
    )
    scores, places = _exact(unit(np.atleast_2d(query)), blocks, k)
    return Found(np.clip(1 - scores, 0, 2), only[places])


def unit(vectors: Vectors) -> Vectors:
    """The vectors at length 1; zeros stay zeros."""
    vectors = np.asarray(vectors, np.float32)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scale: Vectors = np.where(norms > 0, norms, 1).astype(np.float32)
    return np.asarray(vectors / scale, np.float32)


def index_word(word: str) -> str:
    """`word`, a name of NAMED or a word of faiss's: as a flag's type it is refused before any work.

    Raises UserError for any other word. Whether it fits a collection is for `check_index` to say.
    """
    if word in NAMED:
        return word
    try:
        load("faiss").index_factory(64 * 63, word, load("faiss").METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        if "could not parse" in str(error):
            raise unknown("INDEX", word, NAMED) from None
        if " % " not in str(error):  # dimensions that don't divide: known with the features
            raise UserError(f"INDEX={word}: {_reason(error)}") from None
    return word


def check_index(word: str, count: int, dims: int) -> str:
    """The words of index_factory for a collection of `count` vectors of `dims` numbers.

    Raises UserError when the index does not fit it: before any work.
    """
    index_word(word)
    faiss = load("faiss")
    factory = NAMED.get(word, word)
    if "{cells}" in factory:  # faiss wants 39 rows for each cell
        factory = factory.format(cells=max(1, min(round(4 * math.sqrt(count)), count // 39)))
    try:
        faiss.index_factory(dims, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise UserError(
            f"INDEX={word} does not fit vectors of {dims:,} numbers: {_reason(error)}"
        ) from None
    cells = re.search(r"IVF(\d+)", factory)
    if cells and not 1 <= int(cells[1]) <= count:
        raise UserError(
            f"INDEX={word}: {int(cells[1]):,} cells for {count:,} images; take at most "
            f"{max(1, count // 39):,} (39 images for each), or INDEX=exact"
        )
    # A product quantizer learns 2^bits centres (8 bits where none are named).
    for bits in re.findall(r"PQ\d+(?:x(\d+))?", factory):
        if (centres := 2 ** int(bits or 8)) > count:
            raise UserError(
                f"INDEX={word}: PQ learns {centres:,} centres from at least as many images, and "
                f"there are {count:,}; INDEX=exact is fast enough for so few"
            )
    return factory


def build(features: FeatureSet, word: str = "exact", tick: Ticker | None = None) -> Index:
    """An index over all rows of `features`.

    Flat ("exact") is filled in memory each time, as large as the vectors. Every other one is kept
    beside the features and used again while these are the same; it carries its recall@10, measured
    with rows of the collection.
    Raises UserError for an unknown word, one that does not fit, or an empty collection.
    """
    if not len(features):
        raise UserError(f"{features.path} holds no images: there is nothing to search")
    factory = check_index(word, len(features), features.dims)
    if factory == "Flat":
        return _exact_index(features, tick)
    kept = features.path / f"index-{re.sub(r'[^A-Za-z0-9_]+', '-', word)}"
    found = _read_kept(kept, features, factory) or _make_kept(kept, features, word, factory, tick)
    return Index([found[0]], [0], features, found[1])


# ---- Exact --------------------------------------------------------------------------------------


def _exact_index(features: FeatureSet, tick: Ticker | None) -> Index:
    faiss = load("faiss")
    began = time.monotonic()
    count = len(features)
    size = -(-count // min(usable_cores(), -(-count // _CHUNK)))
    starts = list(range(0, count, size))
    slices = []
    for start in starts:
        index = faiss.index_factory(features.dims, "Flat", faiss.METRIC_INNER_PRODUCT)
        _add(index, features, start, min(start + size, count), tick)
        slices.append(index)
    record = _record("Flat", began, count * features.dims * 4) | {"recall": 1.0}
    return Index(slices, starts, features, record)


def _add(index: Any, features: FeatureSet, start: int, end: int, tick: Ticker | None) -> None:
    for first in range(start, end, _CHUNK):
        last = min(first + _CHUNK, end)
        index.add(unit(features.vectors[first:last]))
        if tick:
            tick(last)


def _exact(
    queries: Vectors, blocks: Iterator[Vectors], k: int
) -> tuple[Vectors, NDArray[np.int64]]:
    """Scores and places of the `k` best among blocks of unit vectors (faiss's own exact search)."""
    faiss = load("faiss")
    search = load("faiss.contrib.exhaustive_search")
    scores, places = search.knn_ground_truth(queries, blocks, k, faiss.METRIC_INNER_PRODUCT)
    return scores, places.astype(np.int64)


# ---- One faiss index ----------------------------------------------------------------------------


def _search_one(
    index: Any, units: Vectors, k: int, only: NDArray[np.bool_] | None
) -> tuple[Vectors, NDArray[np.int64]]:
    """Scores and rows; -1 for the rows that are not found."""
    if only is None:
        scores, rows = index.search(units, k)
        return scores, rows
    faiss = load("faiss")
    bits = np.packbits(only, bitorder="little")
    selector = faiss.IDSelectorBitmap(bits)
    kind = faiss.downcast_index(index)
    if isinstance(kind, faiss.IndexHNSW):
        parameters = faiss.SearchParametersHNSW(sel=selector, efSearch=kind.hnsw.efSearch)
    elif isinstance(kind, faiss.IndexIVF):
        parameters = faiss.SearchParametersIVF(sel=selector, nprobe=kind.nprobe)
    else:
        parameters = faiss.SearchParameters(sel=selector)
    try:
        scores, rows = index.search(units, k, params=parameters)
        return scores, rows
    except RuntimeError:  # an index that takes no selection: leave out afterwards
        return _search_more(index, units, k, only)


def _search_more(
    index: Any, units: Vectors, k: int, only: NDArray[np.bool_]
) -> tuple[Vectors, NDArray[np.int64]]:
    """Search for ever more rows until `k` of the wanted ones are among them."""
    most = min(len(only), 8 * k)
    while True:
        scores, rows = index.search(units, most)
        wanted = (rows >= 0) & only[rows]
        if most == len(only) or (wanted.sum(axis=1) >= k).all():
            break
        most = min(len(only), 4 * most)
    order = np.argsort(~wanted, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(wanted, order, axis=1)
    return (
        np.where(found, np.take_along_axis(scores, order, axis=1), -1).astype(np.float32),
        np.where(found, np.take_along_axis(rows, order, axis=1), -1),
    )


def _make_kept(
    kept: Path, features: FeatureSet, word: str, factory: str, tick: Ticker | None
) -> tuple[Any, dict[str, Any]]:
    faiss = load("faiss")
    began = time.monotonic()
    index = faiss.index_factory(features.dims, factory, faiss.METRIC_INNER_PRODUCT)
    cells = int(found[1]) if (found := re.search(r"IVF(\d+)", factory)) else 0
    try:
        _tune(index, cells)
        if not index.is_trained:
            count = min(len(features), max(_TRAINING, 64 * cells))
            random = np.random.default_rng(_SEED)
            rows = np.sort(random.choice(len(features), count, replace=False))
            index.train(unit(features.vectors[rows]))
        _add(index, features, 0, len(features), tick)
        recall, queries = _recall(index, features)
    except RuntimeError as error:
        raise UserError(f"INDEX={word} can't be built: {_reason(error)}") from None
    with whole_folder(kept) as aside:
        faiss.write_index(index, str(aside / "index.faiss"))
        record = _record(factory, began, (aside / "index.faiss").stat().st_size)
        record |= {
            "features": features.identity,
            "form": _FORM,
            "recall": recall,
            "recall_queries": queries,
        }
        write_text(aside / "record.json", json.dumps(record, indent=1) + "\n")
    return index, record


def _tune(index: Any, cells: int) -> None:
    """How widely an approximate index looks: faiss's defaults find too little."""
    faiss = load("faiss")
    settings = faiss.ParameterSpace()
    kind = faiss.downcast_index(index)
    if cells:
        settings.set_index_parameter(index, "nprobe", max(1, cells // 16))
    if isinstance(kind, faiss.IndexHNSW):
        settings.set_index_parameter(index, "efConstruction", 80)
        settings.set_index_parameter(index, "efSearch", 128)
    if isinstance(kind, faiss.IndexIVF):
        kind.cp.niter, kind.cp.seed = 8, _SEED


def _read_kept(kept: Path, features: FeatureSet, factory: str) -> tuple[Any, dict[str, Any]] | None:
    """The kept index and its record; None when there is none, or it is another one."""
    faiss = load("faiss")
    try:
        record = json.loads((kept / "record.json").read_text(encoding="utf-8"))
        wanted = {"features": features.identity, "form": _FORM, "factory": factory}
        if any(record.get(name) != value for name, value in wanted.items()):
            shutil.rmtree(kept)  # stale: of other weights or images, or of an older version
            return None
        index = faiss.read_index(str(kept / "index.faiss"))
    except (OSError, ValueError, KeyError, RuntimeError):
        return None
    return index, record


def _recall(index: Any, features: FeatureSet) -> tuple[float, int]:
    """The share of the exact 10 nearest that `index` finds, over random rows, themselves left out.

    The exact ones are found chunk by chunk, so that no exact index need be in memory.
    """
    random = np.random.default_rng(_SEED)
    count = min(_SAMPLE, len(features))
    k = min(11, len(features))
    rows = np.sort(random.choice(len(features), count, replace=False))
    queries = unit(features.vectors[rows])
    blocks = (
        unit(features.vectors[start : start + _CHUNK]) for start in range(0, len(features), _CHUNK)
    )
    _, names = _exact(queries, blocks, k)
    _, found = index.search(queries, k)
    hits = total = 0
    for truth, answer, own in zip(names, found, rows, strict=True):
        wanted = [row for row in truth if row != own][:10]
        hits += len(set(wanted) & set(answer.tolist()))
        total += len(wanted)
    return (hits / total if total else 1.0), count


def _record(factory: str, began: float, size: int) -> dict[str, Any]:
    return {"factory": factory, "seconds": round(time.monotonic() - began, 3), "bytes": size}


def _reason(error: RuntimeError) -> str:
    """What faiss says is wrong, without its place in faiss's source."""
    text = str(error).splitlines()[0]
    said = text.rpartition(" failed: ")[2] if " failed: " in text else text.rpartition("cpp:")[2]
    return re.sub(r"^\d+: ", "", said).strip() or "faiss can't make it"
