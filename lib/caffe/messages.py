"""Caffe's own messages, for our Python: images and arrays, nets and solvers.

The one table of Caffe's fields. They are declared by number through protobuf's descriptors, so no
generated code is needed. Names, numbers, types and defaults are those of BVLC Caffe 1.0
(src/caffe/proto/caffe.proto); a test compares them with the installed Caffe's. A field that is not
in the table is kept in binary messages as an unknown field. In text, parse with
`allow_unknown_field=True`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Proto = descriptor_pb2.FieldDescriptorProto

BOOL = _Proto.TYPE_BOOL
BYTES = _Proto.TYPE_BYTES
DOUBLE = _Proto.TYPE_DOUBLE
FLOAT = _Proto.TYPE_FLOAT
INT32 = _Proto.TYPE_INT32
INT64 = _Proto.TYPE_INT64
STRING = _Proto.TYPE_STRING
UINT32 = _Proto.TYPE_UINT32


class Field(NamedTuple):
    """One field of a message."""

    number: int
    kind: int | str  # one of protobuf's types, or the name of a message or enum of these tables
    default: str | None = None  # as the .proto file writes it
    many: bool = False  # `repeated`
    packed: bool = False


def _many(number: int, kind: int | str, *, packed: bool = False) -> Field:
    return Field(number, kind, many=True, packed=packed)


# Enums, those inside a message as 'Message.Enum'.
ENUMS: dict[str, dict[str, int]] = {
    "Phase": {"TRAIN": 0, "TEST": 1},
    "DataParameter.DB": {"LEVELDB": 0, "LMDB": 1},
    "SolverParameter.SnapshotFormat": {"HDF5": 0, "BINARYPROTO": 1},
    "SolverParameter.SolverMode": {"CPU": 0, "GPU": 1},
}

FIELDS: dict[str, dict[str, Field]] = {
    "Datum": {
        "channels": Field(1, INT32),
        "height": Field(2, INT32),
        "width": Field(3, INT32),
        "data": Field(4, BYTES),
        "label": Field(5, INT32),
        "float_data": _many(6, FLOAT),
        "encoded": Field(7, BOOL, "false"),
    },
    "BlobShape": {"dim": _many(1, INT64, packed=True)},
    "BlobProto": {
        "num": Field(1, INT32, "0"),
        "channels": Field(2, INT32, "0"),
        "height": Field(3, INT32, "0"),
        "width": Field(4, INT32, "0"),
        "data": _many(5, FLOAT, packed=True),
        "diff": _many(6, FLOAT, packed=True),
        "shape": Field(7, "BlobShape"),
    },
    "SolverParameter": {
        "net": Field(24, STRING),
        "net_param": Field(25, "NetParameter"),
        "train_net": Field(1, STRING),
        "test_net": _many(2, STRING),
        "train_net_param": Field(21, "NetParameter"),
        "test_net_param": _many(22, "NetParameter"),
        "train_state": Field(26, "NetState"),
        "test_state": _many(27, "NetState"),
        "test_iter": _many(3, INT32),
        "test_interval": Field(4, INT32, "0"),
        "base_lr": Field(5, FLOAT),
        "display": Field(6, INT32),
        "max_iter": Field(7, INT32),
        "iter_size": Field(36, INT32, "1"),
        "lr_policy": Field(8, STRING),
        "gamma": Field(9, FLOAT),
        "power": Field(10, FLOAT),
        "momentum": Field(11, FLOAT),
        "weight_decay": Field(12, FLOAT),
        "stepsize": Field(13, INT32),
        "stepvalue": _many(34, INT32),
        "snapshot": Field(14, INT32, "0"),
        "snapshot_prefix": Field(15, STRING),
        "snapshot_format": Field(37, "SolverParameter.SnapshotFormat", "BINARYPROTO"),
        "solver_mode": Field(17, "SolverParameter.SolverMode", "GPU"),
        "device_id": Field(18, INT32, "0"),
        "random_seed": Field(20, INT64, "-1"),
        "type": Field(40, STRING, "SGD"),
        "weights": _many(42, STRING),
    },
    "NetParameter": {
        "name": Field(1, STRING),
        "input": _many(3, STRING),
        "input_shape": _many(8, "BlobShape"),
        "input_dim": _many(4, INT32),
        "state": Field(6, "NetState"),
        "layer": _many(100, "LayerParameter"),
    },
    "LayerParameter": {
        "name": Field(1, STRING),
        "type": Field(2, STRING),
        "bottom": _many(3, STRING),
        "top": _many(4, STRING),
        "phase": Field(10, "Phase"),
        "loss_weight": _many(5, FLOAT),
        "param": _many(6, "ParamSpec"),
        "include": _many(8, "NetStateRule"),
        "exclude": _many(9, "NetStateRule"),
        "transform_param": Field(100, "TransformationParameter"),
        "data_param": Field(107, "DataParameter"),
    },
    "NetState": {
        "phase": Field(1, "Phase", "TEST"),
        "level": Field(2, INT32, "0"),
        "stage": _many(3, STRING),
    },
    "NetStateRule": {
        "phase": Field(1, "Phase"),
        "min_level": Field(2, INT32),
        "max_level": Field(3, INT32),
        "stage": _many(4, STRING),
        "not_stage": _many(5, STRING),
    },
    "ParamSpec": {
        "name": Field(1, STRING),
        "lr_mult": Field(3, FLOAT, "1"),
        "decay_mult": Field(4, FLOAT, "1"),
    },
    "TransformationParameter": {
        "scale": Field(1, FLOAT, "1"),
        "mirror": Field(2, BOOL, "false"),
        "crop_size": Field(3, UINT32, "0"),
        "mean_file": Field(4, STRING),
        "mean_value": _many(5, FLOAT),
        "force_color": Field(6, BOOL, "false"),
        "force_gray": Field(7, BOOL, "false"),
    },
    "DataParameter": {
        "source": Field(1, STRING),
        "batch_size": Field(4, UINT32),
        "rand_skip": Field(7, UINT32, "0"),
        "backend": Field(8, "DataParameter.DB", "LEVELDB"),
        "force_encoded_color": Field(9, BOOL, "false"),
        "prefetch": Field(10, UINT32, "4"),
    },
}


def message(name: str) -> Any:
    """The class of a message of the table, as generated code would give it."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"caffe.{name}"))


def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(
        name="lib/caffe/messages.proto", package="caffe", syntax="proto2"
    )
    made = {name: file.message_type.add(name=name) for name in FIELDS}
    for name, values in ENUMS.items():
        outer, _, inner = name.rpartition(".")
        enum = (made[outer] if outer else file).enum_type.add(name=inner)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    for name, fields in FIELDS.items():
        for field_name, field in fields.items():
            new = made[name].field.add(
                name=field_name,
                number=field.number,
                label=_Proto.LABEL_REPEATED if field.many else _Proto.LABEL_OPTIONAL,
                default_value=field.default,
            )
            if field.packed:
                new.options.packed = True
            if isinstance(field.kind, str):
                is_enum = field.kind in ENUMS
                new.type = _Proto.TYPE_ENUM if is_enum else _Proto.TYPE_MESSAGE
                new.type_name = f".caffe.{field.kind}"
            else:
                new.type = field.kind  # type: ignore[assignment]
    pool = descriptor_pool.DescriptorPool()  # our own: another caffe.proto may be loaded beside it
    pool.Add(file)
    return pool


_POOL = _pool()

Datum: Any = message("Datum")
BlobShape: Any = message("BlobShape")
BlobProto: Any = message("BlobProto")
