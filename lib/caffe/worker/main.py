"""Runs verbs inside Caffe's own Python: `python main.py`, one request as JSON a line on stdin.

A request is {"verb": ..., "request": {...}}; the module verb_<verb>.py answers it. Events go out as
JSON lines on stdout, the last of them `done` (with the verb's result) or `error`; then the next
request is read, till stdin ends. What a verb keeps in memory (a net with its weights) serves the
next request too. Caffe's log stays on stderr, untouched. When Caffe aborts, the whole process does.

Python 3.6, needing only caffe and numpy, since this runs wherever the user's Caffe lives.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys

import python_layers
from errors import WorkerError

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main():
    end_with_parent()
    python_layers.look_in_users_folders()
    emit = Emitter()
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        try:
            verb = importlib.import_module("verb_" + asked["verb"])
            result = verb.run(asked["request"], emit)
        except WorkerError as error:
            emit("error", message=str(error))
        else:
            emit("done", **result)


class Emitter:
    """Writes events to what was stdout; what anybody else prints there belongs to the log."""

    def __init__(self):
        self.events = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self.lost = False  # nobody reads any more

    def __call__(self, event, **fields):
        if self.lost:
            return
        try:
            self.events.write(json.dumps(dict(fields, event=event)) + "\n")
            self.events.flush()
        except BrokenPipeError:
            self.lost = True
            os.kill(os.getpid(), signal.SIGTERM)


def end_with_parent():
    """Get SIGTERM when the parent ends, however it does.

    A worker must not go on, unseen, in a run folder whose owner was killed. A training takes a
    snapshot first; any other verb ends at once.
    """
    with contextlib.suppress(OSError, AttributeError):  # not Linux: the next event breaks the pipe
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    main()
