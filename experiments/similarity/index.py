"""Nearest neighbours by cosine distance: exact, in half precision, or approximate.

Cosine distance is 1 - a.b / (|a| |b|) (paper, section 5.4): faiss searches the inner product
of unit vectors. A vector of zeros has no direction: its distance to all others is 1.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.similarity.extra import load
from experiments.similarity.features import FeatureSet, Vectors
from lib.errors import UserError, unknown
from lib.files import whole_folder, write_text

KINDS = ("exact", "half", "hnsw", "ivf")
_CHUNK = 4096  # rows in hand while an index is filled
_FEW = 4  # queries up to which NumPy's product is used: faiss gives each of them one core only
_SAMPLE = 200  # queries that recall is measured with
_SEED = 1

Ticker = Callable[[int], None]  # told how many rows are done


@dataclass(frozen=True)
class Found:
    """Neighbours of queries, nearest first. Both arrays are queries x k."""

    distances: NDArray[np.float32]  # 0 for the same direction, 1 for a right angle, at most 2
    rows: NDArray[np.int64]


class Index:
    """An index over the rows of a feature set."""

    def __init__(self, index: Any, features: FeatureSet, kind: str, record: dict[str, Any]) -> None:
        self.features = features
        self.kind = kind
        self.record = record  # seconds to build, bytes, recall@10 (1.0 for exact)
        self._index = index
        # The exact index's own memory, seen as an array: no second copy.
        self._units: Vectors | None = _codes(index, features.dims) if kind == "exact" else None

    def __len__(self) -> int:
        return len(self.features)

    def search(self, queries: Vectors, k: int, only: NDArray[np.bool_] | None = None) -> Found:
        """The `k` nearest rows to each of the queries (queries x dims).

        `only` (one a row) says which rows may be found; where an approximate index finds fewer
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
        if self._units is not None and len(queries) <= _FEW:
            rows, scores = _product(self._units, units, k, only)
        else:
            scores, rows = self._index.search(units, k, params=self._parameters(only))
        return Found(np.clip(1 - scores, 0, 2), rows.astype(np.int64))

    def vector(self, row: int) -> Vectors:
        """The features of one row of the collection (dims,)."""
        return np.array(self.features.vectors[row])

    def _parameters(self, only: NDArray[np.bool_] | None) -> Any:
        if only is None:
            return None
        faiss = load("faiss")
        selector = faiss.IDSelectorBatch(np.flatnonzero(only).astype(np.int64))
        if self.kind == "hnsw":
            return faiss.SearchParametersHNSW(sel=selector, efSearch=self._index.hnsw.efSearch)
        if self.kind == "ivf":
            return faiss.SearchParametersIVF(sel=selector, nprobe=self._index.nprobe)
        return faiss.SearchParameters(sel=selector)


def scan(features: FeatureSet, query: Vectors, k: int, only: NDArray[np.int64]) -> Found:
    """The `k` nearest of the rows `only` to one query, read from the disk: no index is built."""
    query = unit(query)
    scores = np.concatenate(
        [
            unit(features.vectors[only[start : start + _CHUNK]]) @ query
            for start in range(0, len(only), _CHUNK)
        ]
    )
    order = np.argsort(-scores, kind="stable")[:k]
    return Found(np.clip(1 - scores[order], 0, 2)[None], only[order][None])


def unit(vectors: Vectors) -> Vectors:
    """The vectors at length 1; zeros stay zeros."""
    vectors = np.asarray(vectors, np.float32)
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scale: Vectors = np.where(norms > 0, norms, 1).astype(np.float32)
    return np.asarray(vectors / scale, np.float32)


def index_kind(word: str) -> str:
    """`word`, which must be one of KINDS: as a flag's type it is refused before any work.

    Raises UserError for any other word.
    """
    if word not in KINDS:
        raise unknown("INDEX", word, KINDS)
    return word


def build(features: FeatureSet, kind: str = "exact", tick: Ticker | None = None) -> Index:
    """An index over all rows of `features`.

    exact: faiss's IndexFlatIP, filled in memory each time, as large as the vectors.
    half: the same in 16-bit floats, half as large.
    hnsw, ivf: approximate; kept beside the features and used again while these are the same.
    All but the exact one carry their recall@10 against it, measured with rows of the collection.
    Raises UserError for an unknown kind or an empty collection.
    """
    index_kind(kind)
    if not len(features):
        raise UserError(f"{features.path} holds no images: there is nothing to search")
    if kind == "exact":
        started = time.monotonic()
        index = _fill_exact(features, tick)
        record = _record(started, len(features) * features.dims * 4) | {"recall": 1.0}
        return Index(index, features, kind, record)
    kept = features.path / f"index-{kind}"
    found = _read_kept(kept, features)
    if found is None:
        found = _make_kept(kept, features, kind, tick)
    return Index(found[0], features, kind, found[1])


# ---- Exact --------------------------------------------------------------------------------------


def _fill_exact(features: FeatureSet, tick: Ticker | None) -> Any:
    """An IndexFlatIP whose memory is taken once: `add` by chunks would grow it by doubling."""
    faiss = load("faiss")
    index = faiss.IndexFlatIP(features.dims)
    index.codes.resize(len(features) * features.dims * 4)
    index.ntotal = len(features)
    units = _codes(index, features.dims)
    for start in range(0, len(features), _CHUNK):
        units[start : start + _CHUNK] = unit(features.vectors[start : start + _CHUNK])
        if tick:
            tick(min(start + _CHUNK, len(features)))
    return index


def _codes(index: Any, dims: int) -> Vectors:
    faiss = load("faiss")
    flat = faiss.rev_swig_ptr(index.codes.data(), index.codes.size())
    rows: Vectors = flat.view(np.float32).reshape(-1, dims)
    return rows


def _product(
    units: Vectors, queries: Vectors, k: int, only: NDArray[np.bool_] | None
) -> tuple[NDArray[np.int64], Vectors]:
    """Rows and scores (queries x k) of the largest products; of equals the first row first."""
    found_rows, found_scores = [], []
    for query in queries:
        scores = units @ query
        if only is not None:
            scores[~only] = -np.inf
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        rows = np.flatnonzero(scores >= least)  # in the order of the collection
        rows = rows[np.argsort(-scores[rows], kind="stable")[:k]]
        found_rows.append(rows)
        found_scores.append(scores[rows])
    return np.array(found_rows, np.int64), np.array(found_scores, np.float32)


# ---- Half precision and approximate -------------------------------------------------------------


def _empty(features: FeatureSet, kind: str) -> Any:
    faiss = load("faiss")
    dims, count = features.dims, len(features)
    if kind == "half":
        return faiss.IndexScalarQuantizer(
            dims, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
    if kind == "hnsw":
        index = faiss.IndexHNSWSQ(
            dims, faiss.ScalarQuantizer.QT_fp16, 24, faiss.METRIC_INNER_PRODUCT
        )
        index.hnsw.efConstruction, index.hnsw.efSearch = 80, 128
        return index
    lists = max(1, min(round(4 * math.sqrt(count)), count // 39))  # faiss wants 39 rows a list
    quantizer = faiss.IndexFlatIP(dims)
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, dims, lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
    )
    index.own_fields = True
    quantizer.this.disown()
    index.nprobe = max(1, lists // 16)
    index.cp.niter, index.cp.seed = 8, _SEED
    return index


def _make_kept(
    kept: Path, features: FeatureSet, kind: str, tick: Ticker | None
) -> tuple[Any, dict[str, Any]]:
    faiss = load("faiss")
    started = time.monotonic()
    index = _empty(features, kind)
    if not index.is_trained:
        random = np.random.default_rng(_SEED)
        count = min(len(features), 64 * getattr(index, "nlist", 1))
        rows = np.sort(random.choice(len(features), count, replace=False))
        index.train(unit(features.vectors[rows]))
    for start in range(0, len(features), _CHUNK):
        index.add(unit(features.vectors[start : start + _CHUNK]))
        if tick:
            tick(min(start + _CHUNK, len(features)))
    with whole_folder(kept) as aside:
        faiss.write_index(index, str(aside / "index.faiss"))
        size = (aside / "index.faiss").stat().st_size
        record = _record(started, size) | {"kind": kind, "features": features.identity}
        record["recall"], record["recall_queries"] = _recall(index, features)
        write_text(aside / "record.json", json.dumps(record, indent=1) + "\n")
    return index, record


def _read_kept(kept: Path, features: FeatureSet) -> tuple[Any, dict[str, Any]] | None:
    """The kept index and its record; None when there is none, or it is of other features."""
    faiss = load("faiss")
    try:
        record = json.loads((kept / "record.json").read_text(encoding="utf-8"))
        if record["features"] != features.identity:
            shutil.rmtree(kept)  # stale: of other weights or images
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
    rows = random.choice(len(features), count, replace=False)
    queries = unit(features.vectors[np.sort(rows)])
    own = np.sort(rows)[:, None]
    best = np.full((count, 0), 0, np.float32)
    names = np.full((count, 0), 0, np.int64)
    for start in range(0, len(features), _CHUNK):
        scores = queries @ unit(features.vectors[start : start + _CHUNK]).T
        best = np.hstack([best, scores])
        names = np.hstack(
            [names, np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)]
        )
        keep = np.argsort(-best, axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(best, keep, axis=1)
        names = np.take_along_axis(names, keep, axis=1)
    _, found = index.search(queries, k)
    hits = total = 0
    for truth, answer, self_ in zip(names, found, own, strict=True):
        wanted = [row for row in truth if row != self_[0]][:10]
        hits += len(set(wanted) & set(answer.tolist()))
        total += len(wanted)
    return (hits / total if total else 1.0), count


def _record(started: float, size: int) -> dict[str, Any]:
    return {"seconds": round(time.monotonic() - started, 3), "bytes": size}
