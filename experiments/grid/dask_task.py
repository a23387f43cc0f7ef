"""What a Dask worker does for one run. It is sent to the worker as it is: only Dask is imported."""

from __future__ import annotations

import queue
import socket
import subprocess
from pathlib import Path
from typing import Any


def run_here(root: str, line: list[str], takes_gpu: bool, stop: str) -> dict[str, Any]:
    """Run the command `line` in the project's folder `root`, until it ends or Event `stop` is set.

    Its standard input is a pipe, which closes when the worker dies: run_one then stops in good
    order. Returns out, err (bytes), code, host. Raises RuntimeError where the folder is not seen.
    """
    from distributed import Event, get_worker

    worker = get_worker()
    host = socket.gethostname()
    folder = next(
        (each for each in (Path(root), Path.cwd()) if (each / "tools/run_one.py").is_file()),
        None,
    )
    if folder is None:
        raise RuntimeError(
            f"{host} does not see the project's folder {root}: share it under the same path, or "
            "start the worker in it"
        )
    asked = Event(stop)
    # A worker with one GPU lets Caffe take the first it sees: CUDA_VISIBLE_DEVICES may choose it.
    # One with several hands their numbers round.
    count = int(worker.state.total_resources.get("GPU", 0))
    numbers: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(count):
        numbers.put(number)
    numbers = worker.__dict__.setdefault("_free_gpus", numbers)
    gpu = numbers.get() if takes_gpu else None
    word = "none" if gpu is None else "auto" if count == 1 else str(gpu)
    try:
        with subprocess.Popen(
            [*line, f"GPU={word}"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            while process.poll() is None:
                try:
                    process.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    if process.stdin and _is_set(asked):
                        process.stdin.close()
                        process.stdin = None
            out, err = process.communicate()
    finally:
        if gpu is not None:
            numbers.put(gpu)
    return {"out": out, "err": err, "code": process.returncode, "host": host}


def _is_set(event: Any) -> bool:
    """Whether to stop; also when the scheduler that would know is gone."""
    try:
        return bool(event.is_set())
    except Exception:
        return True
