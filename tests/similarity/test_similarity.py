"""Search by cosine distance against plain NumPy, scores against scikit-learn, the figures' sums."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics.pairwise import cosine_distances

from experiments.similarity.feature_distances import (
    distance_between,
    distance_within,
    neighbours_within,
)
from experiments.similarity.feature_set import FeatureSet, Item, Source, Writer
from experiments.similarity.figure16 import distances, sample
from experiments.similarity.heatmaps import centre, overlay
from experiments.similarity.index import NAMED, build, check_index, index_word, scan, unit
from experiments.similarity.neighbours import collapsed, distance_text
from experiments.similarity.retrieval_metrics import retrieval
from experiments.similarity.sheet import Shown, draw_sheet
from lib.errors import UserError


def features(
    path: Path, vectors: NDArray[np.float32], weights: str = "w", parts: str = ""
) -> FeatureSet:
    """A whole feature folder with these vectors."""
    items = [Item(f"{row}.jpg", parts) for row in range(len(vectors))]
    source = Source("c", "r", "i", "m", weights, "d", "mean", "fc7", len(vectors) or 1)
    writer = Writer(path, source, items, vectors.shape[1])
    if len(vectors):
        writer.put(0, vectors)
    return writer.finish()


def random_vectors(count: int, dims: int = 32, seed: int = 0) -> NDArray[np.float32]:
    """Clustered, with zeros, as after a ReLU."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((9, dims))
    values = centres[random.integers(0, 9, count)] + 0.7 * random.standard_normal((count, dims))
    return np.maximum(values, 0).astype(np.float32)


@pytest.mark.parametrize("queries", [1, 3, 20])
def test_exact_search_is_cosine_distance(tmp_path: Path, queries: int) -> None:
    vectors = random_vectors(9000)  # more than one slice, where there are cores
    index = build(features(tmp_path / "f", vectors))
    asked = random_vectors(queries, seed=1)
    found = index.search(asked, 10)
    expected = cosine_distances(asked, vectors)
    best = np.sort(expected, axis=1)[:, :10]
    assert np.allclose(found.distances, best, atol=1e-6)
    assert np.allclose(np.take_along_axis(expected, found.rows, axis=1), best, atol=1e-6)
    assert np.allclose(scan(index.features, asked[0], 10, np.arange(9000)).rows, found.rows[:1])


@pytest.mark.parametrize("kind", [*NAMED, "HNSW32", "IVF16,PQ8", "PQ8", "NSG16,Flat", "PCA16,Flat"])
def test_every_index_finds_a_vector_itself_and_filters(tmp_path: Path, kind: str) -> None:
    vectors = random_vectors(2000)
    index = build(features(tmp_path / "f", vectors), kind)
    if kind in NAMED:  # the others are coarser: their recall is printed
        found = index.search(vectors[[7, 8, 9, 10, 11]], 1)
        assert found.rows[:, 0].tolist() == [7, 8, 9, 10, 11]
        assert (found.distances < 2e-3).all()
    only = np.zeros(2000, bool)
    only[100:140] = True
    few = index.search(vectors[7], 5, only)
    assert set(few.rows[0].tolist()) - {-1} <= set(range(100, 140))
    many = index.search(vectors[:20], 5, only)
    assert set(many.rows.ravel().tolist()) - {-1} <= set(range(100, 140))
    if kind in ("exact", "half"):
        assert (few.rows >= 0).all()
        expected = 100 + np.argsort(cosine_distances(vectors[[7]], vectors[100:140])[0])[:5]
        assert few.rows[0].tolist() == expected.tolist()


def test_recall_is_measured_against_the_exact_ones(tmp_path: Path) -> None:
    made = features(tmp_path / "f", random_vectors(3000))
    exact = build(made)
    for kind in ("half", "hnsw", "ivf"):
        index = build(made, kind)
        queries = np.random.default_rng(1).choice(3000, 200, replace=False)
        hits = 0
        for row in queries:
            truth = [r for r in exact.search(made.vectors[row], 11).rows[0] if r != row][:10]
            hits += len(set(truth) & set(index.search(made.vectors[row], 11).rows[0].tolist()))
        assert index.record["recall"] == pytest.approx(hits / 2000, abs=0.02)
        assert index.record["recall"] > (0.98 if kind == "half" else 0.7)


def test_a_kept_index_is_used_again_and_never_a_stale_one(tmp_path: Path) -> None:
    first = features(tmp_path / "f", random_vectors(300))
    assert build(first, "hnsw").record == build(first, "hnsw").record
    when = (first.path / "index-hnsw" / "index.faiss").stat().st_mtime_ns
    assert (first.path / "index-hnsw" / "index.faiss").stat().st_mtime_ns == when
    kept = (first.path / "index-hnsw").rename(tmp_path / "kept")
    second = features(tmp_path / "f", random_vectors(300, seed=5), weights="others")
    kept.rename(second.path / "index-hnsw")
    index = build(second, "hnsw")
    assert index.record["features"] == second.identity
    assert index.search(second.vectors[3], 1).rows[0, 0] == 3
    (second.path / "index-hnsw" / "index.faiss").write_bytes(b"cut short")
    assert build(second, "hnsw").search(second.vectors[3], 1).rows[0, 0] == 3


def test_what_cannot_be_searched(tmp_path: Path) -> None:
    index = build(features(tmp_path / "f", random_vectors(10)))
    with pytest.raises(UserError, match="K=11: the collection has 10 images"):
        index.search(index.vector(0), 11)
    with pytest.raises(UserError, match="K=0"):
        index.search(index.vector(0), 0)
    with pytest.raises(UserError, match="K=3: the filter leaves 2 images"):
        index.search(index.vector(0), 3, np.arange(10) < 2)
    with pytest.raises(UserError, match="different models or blobs"):
        index.search(np.ones(8, np.float32), 1)
    with pytest.raises(UserError, match="unknown INDEX 'exakt': did you mean exact"):
        build(index.features, "exakt")
    with pytest.raises(UserError, match="1,024 cells for 10 images"):
        build(index.features, "IVF1024,PQ8")
    with pytest.raises(UserError, match="PQ learns 256 centres"):
        build(index.features, "PQ8")
    with pytest.raises(UserError, match="does not fit vectors of 32 numbers: The dimension"):
        build(index.features, "PQ7")
    with pytest.raises(UserError, match="INDEX=LSH"):
        index_word("LSH")
    for word in ("Flat", "HNSW32", "IVF1024,PQ64", "SQfp16", "PQ7"):
        assert index_word(word) == word
    assert check_index("IVF1024,PQ64", 100_000, 4096) == "IVF1024,PQ64"
    assert check_index("ivf", 100_000, 4096) == "IVF1265,SQfp16"
    with pytest.raises(UserError, match="holds no images"):
        build(features(tmp_path / "empty", np.empty((0, 4), np.float32)))


def test_a_vector_of_zeros_is_far_from_all(tmp_path: Path) -> None:
    vectors = random_vectors(6)
    vectors[2] = 0
    index = build(features(tmp_path / "f", vectors))
    assert index.search(vectors[2], 6).distances[0].tolist() == [1] * 6
    assert not np.isnan(unit(vectors)).any()


def test_the_exact_index_takes_the_memory_of_the_vectors_once(tmp_path: Path) -> None:
    made = features(tmp_path / "f", random_vectors(4000, 1024))

    def anonymous() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024

    before = anonymous()
    index = build(made)
    grown = anonymous() - before
    assert grown < 1.2 * made.vectors.nbytes + 20_000_000  # chunks in hand
    assert len(index) == 4000


def test_a_kept_index_of_an_older_version_is_made_anew(tmp_path: Path) -> None:
    made = features(tmp_path / "f", random_vectors(300))
    place = made.path / "index-hnsw"
    place.mkdir()
    old = {"features": made.identity, "kind": "hnsw", "recall": 1.0, "recall_queries": 200}
    (place / "record.json").write_text(json.dumps(old | {"seconds": 1, "bytes": 1}))
    index = build(made, "hnsw")
    assert index.record["factory"] == "HNSW24,SQfp16"
    assert json.loads((place / "record.json").read_text()) == index.record


def test_distances_keep_their_digits() -> None:
    said = [distance_text(each) for each in (0.41236, 0.0015349, 1.00049, 0.1, 0.0, 2e-8)]
    assert said == ["0.412", "0.00153", "1", "0.1", "0", "0"]


def test_features_that_barely_differ_are_told(tmp_path: Path) -> None:
    assert collapsed(features(tmp_path / "f", random_vectors(300))) == ""
    flat = 1 + 0.001 * random_vectors(300)
    note = collapsed(features(tmp_path / "g", flat))
    mean = distance_within(flat)
    assert distance_text(mean) in note
    assert 0 < mean < 1e-5


# ---- Scores ----


def test_precision_and_map_by_hand() -> None:
    vectors = np.array([[1, 0], [1, 0.1], [1, 0.9], [0, 1], [0.1, 1]], np.float32)
    labels = np.array(["a", "a", "b", "b", None], object)
    said = retrieval(vectors, labels, (1, 2))
    # 0: 1(a) 2 3; 1: 0(a) 2 3; 2: 1 0 3(b) or so; 3: 2(b) 1 0
    order2 = np.argsort(cosine_distances(vectors[[2]], vectors[[0, 1, 3]])[0])
    place = order2.tolist().index(2) + 1
    assert said.queries == 4
    assert said.precision[1] == pytest.approx((1 + 1 + (place == 1) + 1) / 4)
    assert said.mean_average_precision == pytest.approx((1 + 1 + 1 / place + 1) / 4)
    assert said.chance == pytest.approx(1 / 3)


def test_perfect_and_random_retrieval() -> None:
    labels = np.array(["a", "b"] * 200, object)
    perfect = np.where((labels == "a")[:, None], [[1.0, 0.0]], [[0.0, 1.0]]).astype(np.float32)
    assert retrieval(perfect, labels, (5,)).mean_average_precision == pytest.approx(1)
    noise = np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)
    said = retrieval(noise, labels, (5, 10))
    assert said.precision[10] == pytest.approx(said.chance, abs=0.04)


def test_nothing_to_retrieve() -> None:
    vectors = random_vectors(3)
    with pytest.raises(UserError, match="no two images share a label"):
        retrieval(vectors, np.array(["a", "b", None], object), (1,))
    with pytest.raises(UserError, match="K=2: only 2 images"):
        retrieval(vectors, np.array(["a", "a", None], object), (2,))


def test_distances_between_and_within() -> None:
    one, other = random_vectors(40, seed=1), random_vectors(40, seed=2)
    between = np.diag(cosine_distances(one, other)).mean()
    assert distance_between(one, other) == pytest.approx(between, abs=1e-6)
    assert distance_between(one, 3 * one) == pytest.approx(0, abs=1e-6)
    all_pairs = cosine_distances(one)
    assert distance_within(one) == pytest.approx(all_pairs.sum() / (40 * 39), abs=1e-6)
    near = neighbours_within(one, np.array([3]), 5)
    assert np.allclose(near[0], np.sort(np.delete(all_pairs[3], 3))[:5], atol=1e-6)
    matrix = distances([one, other])
    assert matrix[0, 1] == matrix[1, 0] == pytest.approx(between, abs=1e-6)
    assert matrix[0, 0] == 0
    with pytest.raises(UserError, match="differ in size"):
        distances([one, random_vectors(40, 16)])


def test_the_choice_of_images_is_seeded() -> None:
    assert sample(1000, 100, 1) == sample(1000, 100, 1)
    assert sample(1000, 100, 1) != sample(1000, 100, 2)
    assert len(set(sample(1000, 100, 1))) == 100
    with pytest.raises(UserError, match="100 images can't be chosen of 20"):
        sample(20, 100, 1)


# ---- Pictures ----


def test_the_sheet_and_the_maps(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    rows = [("model $one$", [Shown(picture, "0.1\nA $title$ <b>")] * 3), ("two", [])]
    draw_sheet(Shown(picture, ""), rows, tmp_path / "sheet.png", "title")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    pixels = np.random.default_rng(1).integers(0, 256, (3, 256, 256), np.uint8)
    seen = centre(pixels, (227, 227))
    assert seen.shape == (227, 227, 3)
    assert (seen[0, 0] == pixels[::-1, 14, 14]).all()  # RGB, of the centre crop
    marked = overlay(seen, np.eye(13))
    assert marked.shape == seen.shape
    assert marked.std() > 0


def test_the_csv_module_is_enough_for_names(tmp_path: Path) -> None:
    items = [Item('a "quoted", name.jpg', "test", "Zürich"), Item("b\udcff.jpg")]
    source = Source("c", "r", "i", "m", "w", "d", "mean", "fc7", 2)
    writer = Writer(tmp_path / "f", source, items, 1)
    writer.put(0, np.ones((2, 1), np.float32))
    assert writer.finish().items == items
    assert FeatureSet(tmp_path / "f").items == items
    with (tmp_path / "f" / "images.csv").open(errors="surrogateescape", newline="") as handle:
        assert next(csv.reader(handle)) == ["image", "part", "label"]
