"""Decodes images on all cores and gives them back in order, with few in memory at a time."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import itertools
import multiprocessing
import os
import signal
import tempfile
from collections import deque
from collections.abc import Generator, Iterable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext
from multiprocessing.synchronize import Lock
from typing import NamedTuple

import cv2

from datasets.decode import BrokenImageError, decode, pixels_of, planes, read_bytes, squash
from lib.errors import UserError

_CHUNK = 4  # images a message
_QUEUED = 2  # chunks a decoder knows of: the one in hand and the next
_AHEAD = 4  # chunks a decoder, handed out before the oldest is back: one slow image stops nobody
_PIPE = 1 << 20  # bytes; room for a whole chunk, so that a decoder need not wait for the writer
_KEPT = 32 << 20  # bytes; glibc's largest M_MMAP_THRESHOLD (malloc.c, DEFAULT_MMAP_THRESHOLD_MAX)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_BIG = 20_000_000  # pixels; of larger images one is decoded at a time, to bound the memory


class Decoded(NamedTuple):
    """What became of one image file."""

    data: bytes  # the data of its Datum; empty if the image is broken
    broken: str  # why it is broken; "" if it is whole
    warning: str  # what the decoder complained about; the image was read all the same


def decode_all(paths: Iterable[str], workers: int) -> Generator[Decoded, None, None]:
    """Decode and squash the files, in the order of `paths`, in `workers` processes.

    At most workers x 16 pictures of 197 kB wait at any time, however many paths there are. Raises
    UserError if a process dies (out of memory, say).
    """
    context = multiprocessing.get_context("spawn")
    supply = iter(paths)
    handed = given = 0  # chunks: handed out to decoders; given back to the caller
    back: dict[int, list[Decoded]] = {}
    big = context.Lock()
    pool = [_Decoder(context, big) for _ in range(workers)]
    try:
        while True:
            for decoder in sorted(pool, key=lambda one: len(one.queue)):
                while len(decoder.queue) < _QUEUED and handed < given + _AHEAD * workers:
                    chunk = list(itertools.islice(supply, _CHUNK))
                    if not chunk:
                        break
                    decoder.hand(handed, chunk)
                    handed += 1
            if given == handed:
                return
            for ready in wait([decoder.results for decoder in pool if decoder.queue]):
                decoder = next(one for one in pool if one.results is ready)
                number, images = decoder.take()
                back[number] = images
            while given in back:
                yield from back.pop(given)
                given += 1
    finally:
        for decoder in pool:
            decoder.end()


def keep_memory() -> None:
    """Let this process use freed blocks of up to 32 MB again, instead of giving them back at once.

    A picture of a megapixel takes 3 MB, which glibc gets from the kernel and gives back for each
    image; the kernel's clearing of those pages takes as long as the decoding. Larger blocks (of
    pictures of 11 megapixels and more) are given back as before, so little is kept.
    """
    with contextlib.suppress(AttributeError):  # a libc without mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _KEPT)
        mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT)


class _Decoder:
    """A decoding process and its two pipes.

    Each has pipes of its own, whose other ends nobody else holds: so the death of either side is
    seen by the other at once, even in the middle of a message. (A queue shared by all, as in
    concurrent.futures, hangs then.)
    """

    def __init__(self, context: SpawnContext, big: Lock) -> None:
        self.queue: deque[tuple[int, list[str]]] = deque()  # numbers and paths of its chunks
        tasks, self._tasks = context.Pipe(duplex=False)
        self.results, results = context.Pipe(duplex=False)
        with contextlib.suppress(OSError):  # a smaller pipe is only slower
            fcntl.fcntl(results.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)
        self._process = context.Process(target=_work, args=(tasks, results, big), daemon=True)
        self._process.start()
        tasks.close()
        results.close()

    def hand(self, number: int, chunk: list[str]) -> None:
        """Queue a chunk."""
        self.queue.append((number, chunk))
        with contextlib.suppress(BrokenPipeError):  # it died; `take` finds that out
            self._tasks.send(chunk)

    def take(self) -> tuple[int, list[Decoded]]:
        """The number and result of the oldest chunk in the queue."""
        number, chunk = self.queue.popleft()
        try:
            images = self.results.recv()
        except (EOFError, OSError):
            raise UserError(
                "a decoding process was killed, perhaps because memory ran out, at one of "
                f"{', '.join(chunk)}; try --workers 1"
            ) from None
        if isinstance(images, Exception):
            raise images
        return number, images

    def end(self) -> None:
        """End the process, whatever it is at."""
        self._process.terminate()
        self._process.join()
        self._tasks.close()
        self.results.close()


def _work(tasks: Connection, results: Connection, big: Lock) -> None:
    """What a decoding process does until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends us
    keep_memory()
    cv2.setNumThreads(1)  # the processes already use all cores
    # What the decoders write to stderr names no file and would tear the progress bar: catch it.
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
    with contextlib.suppress(EOFError, OSError):
        while True:
            chunk: list[str] = tasks.recv()
            try:
                images = [_decode(path, big) for path in chunk]
            except Exception as error:
                results.send(error)
            else:
                results.send(images)


def _decode(path: str, big: Lock) -> Decoded:
    broken = ""
    try:
        data = read_bytes(path)
        with big if pixels_of(data) > _BIG else contextlib.nullcontext():
            picture = squash(decode(data))
    except BrokenImageError as error:
        broken = str(error)
    except MemoryError:
        broken = "not enough memory to decode it"
    complaints = _complaints()  # also those of a broken image: they are not the next one's
    return Decoded(b"", broken, "") if broken else Decoded(planes(picture), "", complaints)


def _complaints() -> str:
    """What the decoder wrote to stderr since the last call, on one line."""
    if not os.lseek(2, 0, os.SEEK_CUR):
        return ""
    text = os.pread(2, 500, 0).decode("utf-8", "replace")
    os.ftruncate(2, 0)
    os.lseek(2, 0, os.SEEK_SET)
    return " ".join(text.split())
