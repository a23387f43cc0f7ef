"""The table of Caffe's fields is the installed Caffe's own."""

from __future__ import annotations

import json
import subprocess

from google.protobuf.descriptor import FieldDescriptor

from lib.caffe.client import find_engine
from lib.caffe.messages import ENUMS, FIELDS, message

ASK = """
import json, sys
from caffe.proto import caffe_pb2
file = caffe_pb2.DESCRIPTOR
asked = json.load(sys.stdin)
def field(one):
    inner = one.message_type or one.enum_type
    return [one.number, one.type, one.label, inner.name if inner else "",
            one.GetOptions().packed, one.has_default_value and repr(one.default_value)]
def enum(name):
    outer, _, inner = name.rpartition(".")
    where = file.message_types_by_name[outer] if outer else file
    return {v.name: v.number for v in where.enum_types_by_name[inner].values}
print(json.dumps({
    "fields": {m: {f: field(file.message_types_by_name[m].fields_by_name[f]) for f in names}
               for m, names in asked["fields"].items()},
    "enums": {name: enum(name) for name in asked["enums"]}}))
"""


def ours(one: FieldDescriptor, many: bool) -> list[object]:
    inner = one.message_type or one.enum_type
    return [
        one.number,
        one.type,
        3 if many else 1,
        inner.name if inner else "",
        one.GetOptions().packed,
        one.has_default_value and repr(one.default_value),
    ]


def test_every_field_is_as_the_installed_caffe_declares_it() -> None:
    asked = {"fields": {name: list(fields) for name, fields in FIELDS.items()}, "enums": [*ENUMS]}
    done = subprocess.run(
        [find_engine().python, "-c", ASK],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(done.stdout)
    assert theirs["enums"] == ENUMS
    for name, fields in FIELDS.items():
        there = message(name).DESCRIPTOR.fields_by_name
        assert {field: ours(there[field], its.many) for field, its in fields.items()} == theirs[
            "fields"
        ][name]
