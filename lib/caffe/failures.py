"""From Caffe's log to one line: why did it abort?"""

from __future__ import annotations

import re

_FATAL = re.compile(r"^F\d{4} [\d:.]+\s+\d+ (?P<where>[\w.]+:\d+)\] (?P<words>.*)")
_LAYER = re.compile(r"^I\d{4} .*\] (?:Creating Layer|Setting up) (?P<layer>\S+)")
_NET = re.compile(r"^I\d{4} .*\] (?:Creating (?:training|test) net .*file: )(?P<file>\S+)")
_BUILT = re.compile(r"^I\d{4} .*\] Network initialization done\.")
_PARSE = re.compile(r"Error parsing text-format (?P<what>[\w.]+): (?P<words>.*)")


def explain(log: str) -> str | None:
    """Caffe's last words in its log: the failed check, with layer and file where it named them.

    Returns None when the log holds no fatal line (the process was killed from outside, say).
    """
    layer = file = parse = None
    for line in log.splitlines():
        if match := _LAYER.match(line):
            layer = match["layer"]
        elif match := _NET.match(line):
            file, layer = match["file"], None
        elif _BUILT.match(line):
            layer = None  # what fails later fails in no layer's set-up
        elif match := _PARSE.search(line):
            parse = f"{match['what']} {match['words']}"
        elif match := _FATAL.match(line):
            words = match["words"].replace("Check failed: ", "").strip()
            if "SerializeToOstream" in words:
                words, layer = f"it could not write a file (is the disk full?): {words}", None
            at = f"layer '{layer}': " if layer and f"'{layer}'" not in words else ""
            if parse:  # the parser's own line says more than the check that it made fail
                at, words = "", f"{words} ({parse})"
            return f"{file + ': ' if file else ''}{at}{words} [Caffe, {match['where']}]"
    return None


def last_exception(log: str) -> str | None:
    """The last line of a Python traceback in the log, if one ends it."""
    lines = [line for line in log.splitlines() if line.strip()]
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        return lines[-1].strip()
    return None
