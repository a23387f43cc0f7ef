"""Makes the features of a collection through the real engine: resumable, in bounded memory."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace

from experiments.similarity.collection import Batch, Collection
from experiments.similarity.extractor import Extractor
from experiments.similarity.feature_models import BATCH, Model
from experiments.similarity.feature_set import FeatureSet, Vectors, Writer, up_to_date
from experiments.single_run.run_json import now
from lib.caffe.device import Device
from lib.cli import bar
from lib.errors import UserError
from lib.exclusive_lock import exclusive_lock
from lib.machine import usable_cores

_SAVE_SECONDS = 10  # at most so much work is lost by a kill
_SHOWN = 20  # broken images named in an error


def make_features(
    collection: Collection,
    model: Model,
    device: Device,
    *,
    blob: str | None = None,
    batch: int = BATCH,
    workers: int | None = None,
    skip_broken: bool = False,
    force: bool = False,
) -> FeatureSet:
    """The features of a collection, made unless they are up to date; `blob` None: model.blob.

    On a CPU each core gets an engine of its own with one thread, which is faster than one engine
    with a thread a core. What is written does not depend on how many there are. A killed extraction
    is gone on with. Raises UserError, naming up to 20, for broken images without `skip_broken`.
    """
    blob = blob or model.blob
    path = model.features(collection, blob)
    source = model.source(collection, blob, batch)
    if not force and up_to_date(path, source):
        return FeatureSet(path)
    workers = workers or (1 if device.gpu is not None else usable_cores())
    engine = replace(device.engine, threads=device.engine.threads or 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.parent / f".{path.name}.lock"
    with (
        exclusive_lock(lock, f"an extraction to {path}"),
        _extractors(replace(device, engine=engine), workers) as free,
    ):
        first = free.get()
        dims = first.dims(model, blob, batch)
        free.put(first)
        writer = Writer(path, source, collection.items, dims)
        broken = _fill(writer, collection, model, blob, free, workers, skip_broken)
        left_out = {collection.items[row].image: why for row, why in broken.items()}
        return writer.finish(
            drop=sorted(broken),
            weights=str(model.weights),
            mean=str(model.mean),
            left_out=left_out,
            engine=device.about,
            when=now(),
        )


def _fill(
    writer: Writer,
    collection: Collection,
    model: Model,
    blob: str,
    free: queue.Queue[Extractor],
    workers: int,
    skip_broken: bool,
) -> dict[int, str]:
    """Compute the missing batches; return the broken rows."""

    def compute(batch: Batch) -> tuple[Batch, Vectors]:
        extractor = free.get()
        try:
            return batch, extractor.vectors(model, blob, batch.pixels, batch=writer.batch)
        finally:
            free.put(extractor)

    missing = writer.missing
    total = len(collection.items)
    pending: set[Future[tuple[Batch, Vectors]]] = set()
    saved = time.monotonic()
    decoders = 1 if workers > 1 else usable_cores()
    with (
        ThreadPoolExecutor(workers) as pool,
        bar(what=f"{blob} of {model.name}", unit="image", total=total) as progress,
    ):
        progress.update(total - sum(min(writer.batch, total - n * writer.batch) for n in missing))

        def take() -> None:
            nonlocal saved
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                pending.remove(future)
                batch, values = future.result()
                writer.put(batch.number, values, batch.broken)
                progress.update(len(values))
            if time.monotonic() - saved > _SAVE_SECONDS:
                writer.save()
                saved = time.monotonic()

        try:
            for batch in collection.batches(missing, writer.batch, decoders):
                if batch.broken and not skip_broken:
                    raise _refusal(collection, batch.broken)
                pending.add(pool.submit(compute, batch))
                while len(pending) > workers:
                    take()
            while pending:
                take()
        finally:
            for future in pending:
                future.cancel()
            writer.save()
    if writer.broken and not skip_broken:
        raise _refusal(collection, writer.broken)
    return writer.broken


def _refusal(collection: Collection, broken: dict[int, str]) -> UserError:
    named = "".join(
        f"\n  {collection.items[row].image}: {why}" for row, why in list(broken.items())[:_SHOWN]
    )
    return UserError(
        f"broken images under {collection.root}; mend them, or leave all such images out with "
        f"SKIP_BROKEN=1 (--skip-broken):{named}"
    )


@contextmanager
def _extractors(device: Device, count: int) -> Iterator[queue.Queue[Extractor]]:
    made = [Extractor(device) for _ in range(count)]
    free: queue.Queue[Extractor] = queue.Queue()
    for extractor in made:
        free.put(extractor)
    try:
        yield free
    finally:
        for extractor in made:
            extractor.__exit__()
