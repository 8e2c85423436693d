"""`aialgs.data.Record` in the protobuf library, the judge of our own reader and writer."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "aialgs.data"


def _add_field(message: Any, name: str, number: int, kind: int, *, repeated: bool = False, type_name: str = "") -> Any:
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    field = message.field.add(name=name, number=number, type=kind, label=label)
    if type_name:
        field.type_name = f".{_PACKAGE}.{type_name}"
    if repeated and kind != _Field.TYPE_MESSAGE and kind != _Field.TYPE_BYTES:
        field.options.packed = True
    return field


def _record_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="record.proto", package=_PACKAGE, syntax="proto2")
    kinds = (
        ("Float32Tensor", _Field.TYPE_FLOAT),
        ("Float64Tensor", _Field.TYPE_DOUBLE),
        ("Int32Tensor", _Field.TYPE_INT32),
    )
    for name, kind in kinds:
        tensor = file.message_type.add(name=name)
        _add_field(tensor, "values", 1, kind, repeated=True)
        _add_field(tensor, "keys", 2, _Field.TYPE_UINT64, repeated=True)
        _add_field(tensor, "shape", 3, _Field.TYPE_UINT64, repeated=True)
    blob = file.message_type.add(name="Bytes")
    _add_field(blob, "value", 1, _Field.TYPE_BYTES, repeated=True)
    _add_field(blob, "content_type", 2, _Field.TYPE_STRING)
    value = file.message_type.add(name="Value")
    value.oneof_decl.add(name="value")
    for name, number, kind in (
        ("float32_tensor", 2, "Float32Tensor"),
        ("float64_tensor", 3, "Float64Tensor"),
        ("int32_tensor", 7, "Int32Tensor"),
        ("bytes", 9, "Bytes"),
    ):
        _add_field(value, name, number, _Field.TYPE_MESSAGE, type_name=kind).oneof_index = 0
    record = file.message_type.add(name="Record")
    for name, number, entry in (("features", 1, "FeaturesEntry"), ("label", 2, "LabelEntry")):
        nested = record.nested_type.add(name=entry)
        nested.options.map_entry = True
        _add_field(nested, "key", 1, _Field.TYPE_STRING)
        _add_field(nested, "value", 2, _Field.TYPE_MESSAGE, type_name="Value")
        _add_field(record, name, number, _Field.TYPE_MESSAGE, repeated=True, type_name=f"Record.{entry}")
    for name, number in (("uid", 3), ("metadata", 4), ("configuration", 5)):
        _add_field(record, name, number, _Field.TYPE_STRING)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Record"))


RecordMessage = _record_class()
