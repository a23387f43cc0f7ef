"""The search page as a process of its own, on a free port of loopback."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
from PIL import Image

from lib.caffe.client import Engine
from tests.pictures import scene
from tests.similar_world import RUNS, TASK
from tests.small_world import PROJECT


@dataclass
class Served:
    """A running page."""

    url: str
    process: subprocess.Popen[str]
    folder: Path

    def get(self, path: str, **parameters: object) -> httpx.Response:
        return httpx.get(self.url + path, params=parameters, timeout=60)  # type: ignore[arg-type]

    def post(self, path: str, **parameters: object) -> httpx.Response:
        return httpx.post(self.url + path, params=parameters, timeout=60)  # type: ignore[arg-type]

    def send(self, data: bytes) -> httpx.Response:
        return httpx.post(f"{self.url}/api/upload", content=data, timeout=120)

    def worker(self) -> int:
        """The process id of its Caffe."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = re.search(r"PPid:\s+(\d+)", (entry / "status").read_text())
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            ours = parent and int(parent[1]) == self.process.pid
            if ours and b"worker" in command:
                return int(entry.name)
        raise AssertionError("the page has no engine")


def start(folder: Path, engine: Engine, *more: str, words: IO[bytes] | None = None) -> Served:
    """Serve the small world in `folder` on a free port, as the leader of a process group.

    What it says on stderr goes to the file `words`.
    """
    command = [
        sys.executable,
        "-m",
        "tools.serve",
        "--models",
        *RUNS,
        "--task",
        TASK,
    ]
    process = subprocess.Popen(
        [*command, "--port", "0", "--gpu", "none", "--threads", "1", *more],
        cwd=folder,
        env=dict(os.environ, PYTHONPATH=str(PROJECT), CAFFE_PYTHON=str(engine.python)),
        stdout=subprocess.PIPE,
        stderr=words or subprocess.DEVNULL,
        text=True,
        process_group=0,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.match(r"(http://\S+?)/ ", line):
            served = Served(found[1], process, folder)
            until = time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    served.get("/api/gallery")
                    return served
                except httpx.TransportError:
                    time.sleep(0.1)
    raise AssertionError("the page did not start")


def stop(served: Served) -> None:
    served.process.send_signal(signal.SIGTERM)
    served.process.wait(30)


def jpeg(seed: int = 500, height: int = 60, width: int = 80) -> bytes:
    out = io.BytesIO()
    Image.fromarray(scene(height, width, seed)).save(out, "JPEG")
    return out.getvalue()
