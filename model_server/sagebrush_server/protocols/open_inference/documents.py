"""Tensors for models that answer by code of their own: JSON in, JSON out, where both can be said in tensors."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from sagebrush_server.algorithms.responder import Reply
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.protocols.open_inference.messages import (
    InferenceRequest,
    OutputParts,
    OutputPlan,
    write_answer,
)
from sagebrush_server.protocols.open_inference.rows_codec import BINARY_TYPE, with_header_length
from sagebrush_server.protocols.open_inference.tensors import Tensor, json_values

OUTPUT_NAME: Final = "output-0"
"""The name of an output to which the model's code gives none."""

_USE: Final = "ask it by POST /invocations"


def document_of(inputs: Sequence[Tensor]) -> bytes:
    """Return what the model's code is sent: one tensor as nested lists, several as an object of such by their names.

    Raises RequestError (400) for elements that JSON can't say.
    """
    named = {tensor.name: _nested(tensor) for tensor in inputs}
    document = next(iter(named.values())) if len(named) == 1 else named
    return orjson.dumps(document)


def _nested(tensor: Tensor) -> Any:
    if tensor.values.dtype.kind == "f" and not np.isfinite(tensor.values).all():
        raise RequestError(400, message=f"input {tensor.name!r} holds values that are not finite numbers")
    if tensor.datatype == "BYTES":
        flat = np.empty(tensor.values.size, dtype=object)
        flat[:] = json_values(tensor.values)
        return flat.reshape(tensor.values.shape).tolist()
    return tensor.values.tolist()


class DocumentAnswer:
    """Turns the answer of a model's code into the protocol's (`Ask.then`), where it can be said in tensors."""

    def __init__(self, request: InferenceRequest, *, model_name: str, model_version: str) -> None:
        self._request = request
        self._model_name, self._model_version = model_name, model_version

    def finish(self, reply: Reply) -> Reply:
        """Return tensors, the code's own refusal, or a 400 that names the path for answers of any kind."""
        if reply.status != 200:
            return reply
        try:
            columns = _columns(reply)
            plan = OutputPlan.of(self._request, names=tuple(columns))
        except RequestError as refused:
            body = orjson.dumps({"error": str(refused)})
            return Reply(body, "application/json", refused.status, reply.headers)
        parts = OutputParts()
        for output in plan.wanted:
            parts.add(output.name, columns[output.name], binary=output.binary)
        told = write_answer(
            parts, model_name=self._model_name, model_version=self._model_version, identity=self._request.id
        )
        kind = "application/json" if told.header_length is None else BINARY_TYPE
        return with_header_length(Reply(told.body, kind, 200, reply.headers), length=told.header_length)


def _columns(reply: Reply) -> dict[str, NDArray[Any]]:
    """Return the outputs in a JSON answer: a list, an object of lists, or a list of objects with the same keys."""
    kind = reply.content_type.partition(";")[0].strip().lower()
    if kind != "application/json" or not isinstance(reply.body, bytes):
        raise RequestError(400, message=f"the model answers {kind}, which tensors can't say; {_USE}")
    try:
        document = orjson.loads(reply.body)
    except orjson.JSONDecodeError as problem:
        raise RequestError(400, message=f"the model's answer is not JSON ({problem}); {_USE}") from None
    if isinstance(document, dict) and len(document) == 1:
        name, value = next(iter(document.items()))
        return _records(value) or {name: _array(value, name=name)}
    if isinstance(document, dict):
        return {name: _array(value, name=name) for name, value in document.items()}
    return _records(document) or {OUTPUT_NAME: _array(document, name=OUTPUT_NAME)}


def _records(value: Any) -> dict[str, NDArray[Any]] | None:
    if not isinstance(value, list) or not value or not all(isinstance(record, dict) for record in value):
        return None
    names = list(value[0])
    if any(list(record) != names for record in value):
        raise RequestError(400, message=f"the model's answer has objects of different keys; {_USE}")
    return {name: _array([record[name] for record in value], name=name) for name in names}


def _array(value: Any, *, name: str) -> NDArray[Any]:
    """Return a scalar or regular lists of one kind of element as an array of at least one dimension."""
    flat: list[Any] = value if isinstance(value, list) else [value]
    while flat and isinstance(flat[0], list):
        flat = [item for part in flat for item in (part if isinstance(part, list) else [part])]
    kinds = set(map(type, flat))
    dtypes: dict[frozenset[type], Any] = {
        frozenset((bool,)): np.bool_,
        frozenset((int,)): np.int64,
        frozenset((str,)): object,
    }
    dtype = dtypes.get(frozenset(kinds), np.float64 if kinds <= {int, float} else None)
    try:
        array = None if dtype is None else np.array(value, dtype=dtype, ndmin=1)
    except (ValueError, OverflowError):
        array = None
    if array is None or array.size != len(flat):
        raise RequestError(400, message=f"the model's output {name!r} is no tensor; {_USE}")
    return array
