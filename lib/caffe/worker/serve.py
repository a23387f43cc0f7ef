"""A worker that lives on: `python serve.py`, one request as JSON a line on stdin, till stdin ends.

A request is {"verb": ..., "request": {...}}; the answers are the events of main.py, the last of
them `done` or `error`. What a verb keeps in memory (a net with its weights) serves the next
request too. When Caffe aborts, the whole process does: the parent starts another one.
"""

import importlib
import json
import os
import sys

from errors import WorkerError
from main import die_with_parent


def main():
    die_with_parent()
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what anybody else prints belongs to the log

    def emit(event, **fields):
        events.write(json.dumps(dict(fields, event=event)) + "\n")
        events.flush()

    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        try:
            verb = importlib.import_module("verb_" + asked["verb"])
            result = verb.run(asked["request"], emit)
        except WorkerError as error:
            emit("error", message=str(error))
        else:
            emit("done", **result)


if __name__ == "__main__":
    main()
