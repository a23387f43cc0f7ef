"""Protobuf's text format as a tree that keeps every comment, blank line and indentation.

What nobody changes is written back as it was read, byte for byte, so that a net made from another
one still reads as its author wrote it. Whether the text means anything is for Caffe to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from lib.errors import UserError

_LEAD = re.compile(r"(?:\s|#[^\n]*(?:\n|\Z))*")
_TRAIL = re.compile(r"[ \t]*[;,]?(?:[ \t]*(?:#[^\n]*)?(?:\r?\n|\Z))?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_STRING = r"(?:\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*')"
_SCALAR = re.compile(rf"{_STRING}(?:\s*{_STRING})*|\[[^\]]*\]|[A-Za-z0-9_.+-]+")
_CLOSES = {"{": "}", "<": ">"}


@dataclass
class Message:
    """The fields between two brackets, or of a whole file."""

    fields: list[Field] = field(default_factory=list)
    opening: str = ""  # the bracket and what follows it in its line
    closing: str = ""  # what stands before the closing bracket, and the bracket

    def __str__(self) -> str:
        return self.opening + "".join(map(str, self.fields)) + self.closing

    def all(self, name: str) -> Iterator[Field]:
        """The fields of a name, in order."""
        return (each for each in self.fields if each.name == name)

    def message(self, name: str) -> Message | None:
        """The message in the first field of a name, if there is one."""
        found = next(self.all(name), None)
        return found.value if found and isinstance(found.value, Message) else None

    def words(self, name: str) -> list[str]:
        """The plain values of a repeated field, without quotes."""
        return [unquoted(each.value) for each in self.all(name) if isinstance(each.value, str)]

    def word(self, name: str) -> str:
        """The plain value of a field; empty where there is none."""
        return (self.words(name) or [""])[0]

    def remove(self, *names: str) -> None:
        """Take out all fields of these names, with their comments."""
        self.fields = [each for each in self.fields if each.name not in names]

    def put(self, text: str, after: tuple[str, ...] = (), at: int | None = None) -> None:
        """Add the fields of `text`, a line each, after the last field of the names in `after`.

        `at` is a place in `fields` instead. In a message of one line the new ones stand in it too.
        """
        if at is None:
            places = [n for n, each in enumerate(self.fields) if each.name in after]
            at = places[-1] + 1 if places else len(self.fields)
        new = parse(text).fields
        if self.opening and "\n" not in self.opening:
            self.opening = self.opening.rstrip() + " "
            for each in new:
                each.lead, each.trail = "", " "
            if at and not self.fields[at - 1].trail:
                self.fields[at - 1].trail = " "
        else:
            lead = next((each.lead for each in self.fields), "")
            indent = lead[lead.rfind("\n") + 1 :]
            for each in new:
                each.lead = each.lead or indent
        self.fields[at:at] = new


@dataclass
class Field:
    """`name: value` or `name { ... }`, with what stands before and after it."""

    lead: str  # blank lines, comments, indentation
    name: str
    colon: str
    value: str | Message
    trail: str  # the rest of its line

    def __str__(self) -> str:
        return f"{self.lead}{self.name}{self.colon}{self.value}{self.trail}"


def parse(text: str) -> Message:
    """The tree of a prototxt; UserError with the line where it is none."""
    message, end = _fields(text, 0, "")
    if end != len(text):
        raise _wrong(text, end, "a name")
    return message


def quoted(text: str) -> str:
    """A string of protobuf's text format. UTF-8 stands as it is."""
    if not text.isprintable():
        raise UserError(f"{text!r} can't be written to a prototxt: rename it without line breaks")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def unquoted(text: str) -> str:
    """The value of a plain field: a string without its quotes, anything else as it is."""
    if text[:1] not in "\"'" or not text:
        return text
    parts = re.findall(_STRING, text)
    return "".join(re.sub(r"\\(.)", r"\1", part[1:-1]) for part in parts)


def _fields(text: str, at: int, closes: str) -> tuple[Message, int]:
    """The fields from `at` to the bracket that closes them, and the place after it."""
    message = Message()
    while True:
        lead = _LEAD.match(text, at)
        assert lead is not None  # it may be empty
        at = lead.end()
        if at == len(text) or (closes and text[at] == closes):
            if closes and at == len(text):
                raise _wrong(text, at, closes)
            message.closing = lead.group() + closes
            return message, at + len(closes)
        name = _NAME.match(text, at)
        if not name:
            raise _wrong(text, at, "a name")
        value_at = _skip_colon(text, name.end())
        colon = text[name.end() : value_at]
        value: str | Message
        if text[value_at : value_at + 1] in _CLOSES:
            opened = _trail(text, value_at + 1)
            value, end = _fields(text, opened, _CLOSES[text[value_at]])
            value.opening = text[value_at:opened]
        else:
            scalar = _SCALAR.match(text, value_at)
            if not scalar or ":" not in colon:
                raise _wrong(text, value_at, "a value")
            value, end = scalar.group(), scalar.end()
        after = _trail(text, end)
        message.fields.append(Field(lead.group(), name.group(), colon, value, text[end:after]))
        at = after


def _skip_colon(text: str, at: int) -> int:
    found = re.compile(r"\s*:?\s*").match(text, at)
    assert found is not None  # it may be empty
    return found.end()


def _trail(text: str, at: int) -> int:
    found = _TRAIL.match(text, at)
    assert found is not None  # it may be empty
    return found.end()


def _wrong(text: str, at: int, wanted: str) -> UserError:
    line = text.count("\n", 0, at) + 1
    return UserError(f"line {line} of the prototxt: {wanted} is expected")
