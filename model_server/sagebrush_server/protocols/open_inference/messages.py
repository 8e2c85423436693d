"""Inference requests and answers of the Open Inference Protocol V2, without and with binary tensors."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from sagebrush_server.codecs.errors import RequestError, bad_data
from sagebrush_server.codecs.rows import shown
from sagebrush_server.protocols.open_inference.tensors import (
    DATATYPES,
    Tensor,
    datatype_of,
    json_values,
    read_binary,
    read_json,
    read_shape,
    write_binary,
)

HEADER_LENGTH: Final = b"inference-header-content-length"
"""The header of a message with binary tensors: the bytes of its JSON part, which comes first."""

_REQUEST: Final = frozenset(("id", "model_name", "parameters", "inputs", "outputs"))
_REQUEST_PARAMETERS: Final = frozenset(("binary_data_output", "content_type"))
_INPUT: Final = frozenset(("name", "shape", "datatype", "parameters", "data"))
_INPUT_PARAMETERS: Final = frozenset(("binary_data_size", "content_type"))
_OUTPUT: Final = frozenset(("name", "parameters"))
_OUTPUT_PARAMETERS: Final = frozenset(("binary_data", "content_type"))
_CONTENT_HINTS: Final = frozenset(("np", "pd"))
"""MLServer's hints that a tensor is an array, or a column of a table: what it is here anyway."""


@dataclass(frozen=True, slots=True)
class WantedOutput:
    """An output that the request names."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """What a client asks. `outputs` is None where all are wanted, each binary or not as `binary` says."""

    id: str | None
    inputs: tuple[Tensor, ...]
    outputs: tuple[WantedOutput, ...] | None = None
    binary: bool = False


@dataclass(frozen=True, slots=True)
class InferenceBody:
    """An answer's bytes; `header_length` is None where no tensor is binary."""

    body: bytes
    header_length: int | None = None


def read_request(body: bytes, *, header_length: str, model_name: str) -> InferenceRequest:
    """Read a request; `header_length` is the value of its `Inference-Header-Content-Length`, empty where absent.

    `model_name` is the model that the path names; KServe's client names it in the body once more.

    Raises RequestError (400) naming the field.
    """
    length = _header_length(header_length, body=body)
    document = _load(body if length == len(body) else body[:length])
    _check_keys(document, known=_REQUEST, where="the request")
    identity = document.get("id")
    if identity is not None and not isinstance(identity, str):
        raise bad_data(f"id must be a string, got {shown(identity)}")
    if document.get("model_name", model_name) != model_name:
        raise bad_data(f"model_name is {shown(document['model_name'])}, the path names {shown(model_name)}")
    parameters = _parameters(document, known=_REQUEST_PARAMETERS, where="the request")
    return InferenceRequest(
        id=identity,
        inputs=_inputs(document.get("inputs"), binary=memoryview(body)[length:]),
        outputs=_outputs(document.get("outputs")),
        binary=_boolean(parameters, "binary_data_output", where="the request"),
    )


def _header_length(text: str, *, body: bytes) -> int:
    if not text:
        return len(body)
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) > len(body):
        raise bad_data(
            f"Inference-Header-Content-Length must be a number of bytes up to the body's {len(body)}, got {shown(text)}"
        )
    return int(text)


def _load(text: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        raise bad_data(f"the request is not JSON: {problem}") from None
    if not isinstance(document, dict):
        raise bad_data(f'the request must be an object with "inputs", got {shown(document)}')
    return document


def _inputs(value: Any, *, binary: memoryview) -> tuple[Tensor, ...]:
    if not isinstance(value, list) or not value:
        raise bad_data(f'"inputs" must be a list of at least one tensor, got {shown(value)}')
    tensors: dict[str, Tensor] = {}
    start = 0
    for number, item in enumerate(value, start=1):
        tensor, used = _input(item, number=number, binary=binary[start:])
        if tensor.name in tensors:
            raise bad_data(f"input {number}: there is another input named {shown(tensor.name)}")
        tensors[tensor.name] = tensor
        start += used
    if start != len(binary):
        raise bad_data(f"{len(binary)} bytes follow the JSON part, the inputs' binary_data_size sum up to {start}")
    return tuple(tensors.values())


@dataclass(frozen=True, slots=True)
class _Where:
    """An input in a message, put into words only where something is wrong with it."""

    name: str

    def __str__(self) -> str:
        return f"input {shown(self.name)}"


def _input(item: Any, *, number: int, binary: memoryview) -> tuple[Tensor, int]:
    """Read one input; return how many of the bytes behind the JSON part are its own too."""
    if not isinstance(item, dict):
        raise bad_data(f"input {number} must be an object, got {shown(item)}")
    name, datatype = item.get("name"), item.get("datatype")
    if not isinstance(name, str) or not name:
        raise bad_data(f"input {number}: name must be a string that isn't empty, got {shown(name)}")
    where = _Where(name)
    _check_keys(item, known=_INPUT, where=where)
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise bad_data(f"{where}: datatype must be one of {', '.join(DATATYPES)}, got {shown(datatype)}")
    shape = read_shape(item.get("shape"), name=name)
    size = None
    if "parameters" in item:
        size = _parameters(item, known=_INPUT_PARAMETERS, where=where).get("binary_data_size")
    if size is None:
        values = read_json(item.get("data"), name=name, datatype=datatype, shape=shape)
        return Tensor(name, datatype, values), 0
    if "data" in item:
        raise bad_data(f"{where} has both data and binary_data_size")
    if type(size) is not int or not 0 <= size <= len(binary):
        raise bad_data(f"{where}: binary_data_size must be 0 to the {len(binary)} bytes that follow, got {shown(size)}")
    return Tensor(name, datatype, read_binary(binary[:size], name=name, datatype=datatype, shape=shape)), size


def _outputs(value: Any) -> tuple[WantedOutput, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise bad_data(f'"outputs" must be a list, got {shown(value)}')
    wanted: dict[str, WantedOutput] = {}
    for number, item in enumerate(value, start=1):
        where = f"output {number}"
        if not isinstance(item, dict):
            raise bad_data(f"{where} must be an object, got {shown(item)}")
        _check_keys(item, known=_OUTPUT, where=where)
        name = item.get("name")
        if not isinstance(name, str) or name in wanted:
            raise bad_data(f"{where}: name must be a string that no other output has, got {shown(name)}")
        parameters = _parameters(item, known=_OUTPUT_PARAMETERS, where=where)
        wanted[name] = WantedOutput(name, binary=_boolean(parameters, "binary_data", where=where))
    return tuple(wanted.values()) or None


def _parameters(holder: Mapping[str, Any], *, known: frozenset[str], where: object) -> dict[str, Any]:
    """Return the parameters of a message or tensor; one that isn't honoured is refused."""
    parameters = holder.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise bad_data(f"{where}: parameters must be an object, got {shown(parameters)}")
    if not parameters:
        return parameters
    _check_keys(parameters, known=known, where=f"{where}: parameters")
    if parameters.get("content_type", "np") not in _CONTENT_HINTS:
        raise bad_data(f"{where}: content_type {shown(parameters['content_type'])} is not supported; supported: np, pd")
    return parameters


def _boolean(parameters: Mapping[str, Any], name: str, *, where: object) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise bad_data(f"{where}: {name} must be true or false, got {shown(value)}")
    return value


def _check_keys(holder: Mapping[str, Any], *, known: frozenset[str], where: object) -> None:
    if not holder.keys() <= known:
        others = ", ".join(sorted(set(map(str, holder)) - known))
        raise bad_data(f"{where} has {shown(others)}, which is not supported; supported: {', '.join(sorted(known))}")


@dataclass(frozen=True, slots=True)
class OutputPlan:
    """Which outputs an answer has, in which order, and which of them are binary. Equal plans are written together."""

    wanted: tuple[WantedOutput, ...]

    @classmethod
    def of(cls, request: InferenceRequest, *, names: tuple[str, ...]) -> "OutputPlan":
        """Plan the answer of a model whose outputs are `names`. Raises RequestError (400) for one it hasn't."""
        if request.outputs is None:
            return cls(_all(names, binary=request.binary))
        for output in request.outputs:
            if output.name not in names:
                raise RequestError(
                    400, message=f"the model has no output {shown(output.name)}; it has: {', '.join(names)}"
                )
        return cls(request.outputs)


@functools.lru_cache(maxsize=256)
def _all(names: tuple[str, ...], *, binary: bool) -> tuple[WantedOutput, ...]:
    return tuple(WantedOutput(name, binary=binary) for name in names)


@dataclass(slots=True)
class OutputParts:
    """The outputs of one answer: their JSON, and the bytes that follow it."""

    documents: list[dict[str, Any]] = field(default_factory=list)
    binary: list[bytes] = field(default_factory=list)

    def add(self, name: str, values: Any, *, binary: bool) -> None:
        """Add one output, an array with the output's shape."""
        document: dict[str, Any] = {"name": name, "datatype": datatype_of(values), "shape": list(values.shape)}
        if binary:
            data = write_binary(values)
            self.binary.append(data)
            document["parameters"] = {"binary_data_size": len(data)}
        else:
            document["data"] = json_values(values)
        self.documents.append(document)


def write_answer(parts: OutputParts, *, model_name: str, model_version: str, identity: str | None) -> InferenceBody:
    """Write an answer around its outputs."""
    document: dict[str, Any] = {"model_name": model_name, "model_version": model_version}
    if identity is not None:
        document["id"] = identity
    document["outputs"] = parts.documents
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not parts.binary:
        return InferenceBody(text)
    return InferenceBody(text + b"".join(parts.binary), header_length=len(text))
