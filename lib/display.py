"""Names of files as text that can be printed, written as UTF-8 and shown on a page."""

from __future__ import annotations


def escaped(name: str) -> str:
    """`name` with what cannot be shown written as an escape.

    A file's name on Linux may hold any bytes. Those that are not UTF-8 (surrogates in Python)
    become '\\xff', control letters and odd line breaks '\\n', '\\x85' or '\\u2028'. A backslash
    stays as it is. Not to be used to open the file.
    """
    if name.isprintable():
        return name
    return "".join(map(_escaped, name))


def _escaped(letter: str) -> str:
    if letter.isprintable():
        return letter
    if "\udc80" <= letter <= "\udcff":
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return letter.encode("unicode_escape", "surrogatepass").decode("ascii")
