"""JSON schemas of what the server takes and gives, some of them made for the loaded model."""

from collections.abc import Mapping
from typing import Any, Final

from sagebrush_server.protocols.open_inference.rows import Signature
from sagebrush_server.protocols.open_inference.tensors import DATATYPES

Schema = dict[str, Any]

STRING: Final[Schema] = {"type": "string"}
_NUMBER: Final[Schema] = {"type": "number"}
_SIZES: Final[Schema] = {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}


def reference(name: str) -> Schema:
    """Refer to a schema of the document by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def an_object(*, optional: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Describe an object whose properties are all there, but for the `optional` ones."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties}


def a_list(items: Schema) -> Schema:
    """Describe a list of any length."""
    return {"type": "array", "items": items}


def request_rows(feature_dim: int | None) -> Schema:
    """Describe the JSON bodies of a model that scores rows of `feature_dim` numbers (None: any number)."""
    row: Schema = a_list(_NUMBER)
    if feature_dim is not None:
        row |= {"minItems": feature_dim, "maxItems": feature_dim}
    sparse = an_object(keys=a_list({"type": "integer", "minimum": 0}), shape=_SIZES, values=a_list(_NUMBER))
    sparse["required"] = ["keys", "values"]
    dense = an_object(values=row)
    features = {"anyOf": [row, dense, sparse]}
    record = {"anyOf": [an_object(features=features), an_object(data=an_object(features=features))]}
    rows = {"type": "array", "minItems": 1, "items": {"anyOf": [record, row]}}
    return {"anyOf": [an_object(instances=rows), record, rows, row]}


def answer_rows(signature: Signature) -> Schema:
    """Describe the JSON answer of a model that scores rows: a list of records under the model's own key."""
    columns = {name: _column(datatype, shape) for name, (datatype, shape) in signature.outputs.items()}
    record = {"type": "object", "required": list(columns), "properties": columns}
    return {"type": "object", "required": [signature.root], "properties": {signature.root: a_list(record)}}


def _column(datatype: str, shape: tuple[int, ...]) -> Schema:
    kinds = {"b": "boolean", "u": "integer", "i": "integer", "f": "number", "O": "string"}
    schema: Schema = {"type": kinds[DATATYPES[datatype].kind]}
    for size in reversed(shape[1:]):
        schema = {"type": "array", "minItems": size, "maxItems": size, "items": schema}
    return schema


_PARAMETERS: Final[Schema] = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
_DATATYPE: Final[Schema] = {"enum": list(DATATYPES)}
_TENSOR: Final[Schema] = an_object(
    optional=("parameters", "data"),
    name=STRING,
    shape=_SIZES,
    datatype=_DATATYPE,
    parameters=_PARAMETERS,
    data={"type": "array"},
)
_METADATA_TENSOR: Final[Schema] = an_object(name=STRING, datatype=_DATATYPE, shape=a_list({"type": "integer"}))
_MODEL: Final[Schema] = an_object(modelName=STRING, modelUrl=STRING)

COMPONENTS: Final[Mapping[str, Schema]] = {
    "Error": an_object(optional=("id",), error=STRING, id=STRING),
    "RuntimeError": an_object(
        optional=("OriginalStatusCode", "OriginalMessage", "LogStreamArn"),
        Message=STRING,
        OriginalStatusCode={"type": "integer"},
        OriginalMessage=STRING,
        LogStreamArn=STRING,
    ),
    "InferenceRequest": an_object(
        optional=("id", "model_name", "parameters", "outputs"),
        id=STRING,
        model_name=STRING,
        parameters=_PARAMETERS,
        inputs={"type": "array", "minItems": 1, "items": _TENSOR},
        outputs=a_list(an_object(optional=("parameters",), name=STRING, parameters=_PARAMETERS)),
    ),
    "InferenceResponse": an_object(
        optional=("id",), model_name=STRING, model_version=STRING, id=STRING, outputs=a_list(_TENSOR)
    ),
    "ModelMetadata": an_object(
        name=STRING,
        versions=a_list(STRING),
        platform=STRING,
        inputs=a_list(_METADATA_TENSOR),
        outputs=a_list(_METADATA_TENSOR),
    ),
    "LoadModel": {**an_object(model_name=STRING, url=STRING), "additionalProperties": False},
    "LoadedModel": _MODEL,
    "LoadedModels": an_object(optional=("nextPageToken",), models=a_list(_MODEL), nextPageToken=STRING),
}
