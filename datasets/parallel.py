"""Decodes images on all cores and gives them back in order, with few in memory at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Lock
from typing import NamedTuple

import cv2

from base.errors import UserError
from datasets.decode import BrokenImageError, decode, pixels_of, planes, read_bytes, squash

_CHUNK = 4  # images a task: fewer messages between processes
_AHEAD = 3  # tasks a worker that are under way or waiting for the writer
_BIG = 20_000_000  # pixels; of larger images one is decoded at a time, to bound the memory

_big_lock: Lock | None = None
_stderr: int = -1


class Decoded(NamedTuple):
    """What became of one image file."""

    data: bytes  # the data of its Datum; empty if the image is broken
    broken: str  # why it is broken; "" if it is whole
    warning: str  # what the decoder complained about; the image was read all the same


def default_workers() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def decode_all(paths: Sequence[str], workers: int) -> Generator[Decoded, None, None]:
    """Decode and squash the files, in the order of `paths`, in `workers` processes.

    At most workers x 12 pictures of 197 kB wait at any time, however many paths there are. Raises
    UserError if a process dies (out of memory, say).
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(context.Lock(),)
    )
    waiting: deque[tuple[int, Future[list[Decoded]]]] = deque()
    starts = iter(range(0, len(paths), _CHUNK))
    start = 0
    try:
        while True:
            while len(waiting) < workers * _AHEAD and (following := next(starts, None)) is not None:
                chunk = list(paths[following : following + _CHUNK])
                waiting.append((following, pool.submit(_decode_chunk, chunk)))
            if not waiting:
                break
            start, future = waiting.popleft()
            yield from future.result()
    except BrokenProcessPool:
        last = min(start + (len(waiting) + 2) * _CHUNK, len(paths)) - 1
        raise UserError(
            "a decoding process was killed, perhaps because memory ran out, at an image from "
            f"{paths[start]} to {paths[last]} of the list; try --workers 1"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(big_lock: Lock) -> None:
    global _big_lock, _stderr
    _big_lock = big_lock
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    cv2.setNumThreads(1)  # the processes already use all cores
    # What the decoders write to stderr names no file and would tear the progress bar: catch it.
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
    parent = multiprocessing.parent_process()
    if parent is not None:
        # A parent that was killed cannot end us, and the queue's other end never closes.
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _decode_chunk(paths: list[str]) -> list[Decoded]:
    return [_decode_one(path) for path in paths]


def _decode_one(path: str) -> Decoded:
    try:
        data = read_bytes(path)
        if _big_lock is not None and pixels_of(data) > _BIG:
            with _big_lock:
                picture = squash(decode(data))
        else:
            picture = squash(decode(data))
    except BrokenImageError as error:
        _complaints()
        return Decoded(b"", str(error), "")
    except MemoryError:
        return Decoded(b"", "not enough memory to decode it", "")
    return Decoded(planes(picture), "", _complaints())


def _complaints() -> str:
    """What the decoder wrote to stderr since the last call, on one line."""
    if not os.lseek(2, 0, os.SEEK_CUR):
        return ""
    text = os.pread(2, 500, 0).decode("utf-8", "replace")
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    return " ".join(text.split())
