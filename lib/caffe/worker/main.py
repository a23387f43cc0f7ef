"""Runs one verb inside Caffe's own Python: `python main.py VERB`, the request as JSON on stdin.

Events go out as JSON lines on stdout, the last of them `done` (with the verb's result) or `error`.
Caffe's log stays on stderr, untouched. Python 3.6, needing only caffe and numpy, since this runs
wherever the user's Caffe lives.
"""

import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys

from errors import WorkerError

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main():
    die_with_parent()
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anybody else prints (a Python layer, say) belongs to the log

    def emit(event, **fields):
        events.write(json.dumps(dict(fields, event=event)) + "\n")
        events.flush()

    request = json.loads(sys.stdin.read())
    try:
        result = importlib.import_module("verb_" + sys.argv[1]).run(request, emit)
    except WorkerError as error:
        emit("error", message=str(error))
        sys.exit(1)
    emit("done", **result)


def die_with_parent():
    """A worker must not go on, unseen, in a run folder whose owner was killed."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux: the next event breaks the pipe
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
