"""The real engine in one process for a whole file of tests: starting Caffe anew takes seconds.

It runs the worker's verbs and pieces of Python. A test that makes Caffe abort needs
lib.caffe.client.Engine, which starts a process for each call.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.caffe.process import WORKER
from lib.errors import UserError

_LOOP = """
import importlib, json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
sys.path.insert(0, sys.argv[1])
from errors import WorkerError
for line in sys.stdin:
    asked = json.loads(line)
    try:
        if "code" in asked:
            sys.argv = ["-c"] + asked["arguments"]
            exec(asked["code"], {})
            answer = {"result": None}
        else:
            verb = importlib.import_module("verb_" + asked["verb"])
            answer = {"result": verb.run(asked["request"], lambda event, **fields: None)}
    except WorkerError as error:
        answer = {"error": str(error)}
    answers.write(json.dumps(answer) + "\\n")
    answers.flush()
"""


class WarmEngine:
    """Answers as lib.caffe.client.Engine does."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def call(self, verb: str, request: dict[str, Any]) -> dict[str, Any]:
        """Run one verb; UserError where the worker says so."""
        answer = self._ask({"verb": verb, "request": request})
        if "error" in answer:
            raise UserError(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def run(self, code: str, *arguments: str | Path) -> None:
        """Run a piece of Python with these as sys.argv[1:]."""
        self._ask({"code": code, "arguments": [str(argument) for argument in arguments]})

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the engine's process ended; its log is on stderr"
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def warm_engine(python: Path) -> Iterator[WarmEngine]:
    """A running engine, ended with the block."""
    process = subprocess.Popen(
        [str(python), "-c", _LOOP, str(WORKER.parent)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=dict(os.environ, OPENBLAS_NUM_THREADS="1", PYTHONUTF8="1", GLOG_minloglevel="2"),
    )
    try:
        yield WarmEngine(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()
