"""Caffe's own messages for images and arrays: Datum, BlobProto and BlobShape.

The fields are declared here by number, through protobuf's descriptors, so that no generated code
is needed. Names, numbers and types are those of BVLC Caffe 1.0 (src/caffe/proto/caffe.proto);
fields left out here (a BlobProto's doubles) are kept by protobuf as unknown fields.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="datasets/messages.proto", package="caffe", syntax="proto2"
    )

    def message(name: str, *fields: _Field) -> None:
        file.message_type.add(name=name).field.extend(fields)

    def field(name: str, number: int, kind: Any, label: Any = _ONE, **more: Any) -> _Field:
        made = _Field(name=name, number=number, type=kind, label=label, **more)
        if more.get("type_name") is None and label == _MANY and name != "float_data":
            made.options.packed = True
        return made

    message(
        "Datum",
        field("channels", 1, _Field.TYPE_INT32),
        field("height", 2, _Field.TYPE_INT32),
        field("width", 3, _Field.TYPE_INT32),
        field("data", 4, _Field.TYPE_BYTES),
        field("label", 5, _Field.TYPE_INT32),
        field("float_data", 6, _Field.TYPE_FLOAT, _MANY),
        field("encoded", 7, _Field.TYPE_BOOL, default_value="false"),
    )
    message("BlobShape", field("dim", 1, _Field.TYPE_INT64, _MANY))
    message(
        "BlobProto",
        field("num", 1, _Field.TYPE_INT32, default_value="0"),
        field("channels", 2, _Field.TYPE_INT32, default_value="0"),
        field("height", 3, _Field.TYPE_INT32, default_value="0"),
        field("width", 4, _Field.TYPE_INT32, default_value="0"),
        field("data", 5, _Field.TYPE_FLOAT, _MANY),
        field("diff", 6, _Field.TYPE_FLOAT, _MANY),
        field("shape", 7, _Field.TYPE_MESSAGE, type_name=".caffe.BlobShape"),
    )
    pool = descriptor_pool.DescriptorPool()  # our own: another caffe.proto may be loaded beside it
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}"))
        for name in ("Datum", "BlobShape", "BlobProto")
    }


_classes = _messages()
Datum: Any = _classes["Datum"]
BlobShape: Any = _classes["BlobShape"]
BlobProto: Any = _classes["BlobProto"]
