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
    emit = event_writer()
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        try:
            verb = importlib.import_module("verb_" + asked["verb"])
            result = verb.run(asked["request"], emit)
        except WorkerError as error:
            emit("error", message=str(error))
        else:
            emit("done", **result)


def event_writer():
    """A function that writes events to what is stdout now; what others print goes to the log."""
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def emit(event, **fields):
        events.write(json.dumps(dict(fields, event=event)) + "\n")
        events.flush()

    return emit


def end_with_parent():
    """Be killed when the parent ends, however it does.

    A worker must not go on, unseen, in a run folder whose owner was killed: what it did then would
    be in no record. A parent that ends in good order asks for a snapshot first.
    """
    with contextlib.suppress(OSError, AttributeError):  # not Linux: the next event breaks the pipe
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
