"""The wire: which operation a request calls, and answers in the protocol it came by (JSON 1.1, query, CBOR, REST-JSON)."""

import functools
import io
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from botocore.parsers import BaseCBORParser
from botocore.serialize import CBORSerializer

from tests.sagemaker_simulator.errors import AwsError
from tests.sagemaker_simulator.validation import operation_model

TARGETS = {
    "SageMaker": "sagemaker",
    "AnyScaleFrontendService": "application-autoscaling",
    "Logs_20140328": "logs",
    "GraniteServiceVersion20100801": "cloudwatch",
}
CREDENTIAL = re.compile(r"Credential=([^/,]+)/\d{8}/([^/]+)/([^/]+)/aws4_request")
RPC = re.compile(r"/service/(\w+)/operation/(\w+)")
INVOCATION = re.compile(r"/endpoints/([^/]+)/invocations")


@dataclass
class Request:
    """A call as decoded: who, what, and how to answer."""

    service: str
    operation: str
    parameters: dict[str, Any]
    protocol: str
    access_key: str | None = None
    region: str | None = None


@dataclass
class Reply:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def decode(path: str, headers: Mapping[str, str], body: bytes) -> Request:
    """Find the operation and its parameters (headers by lower-case name); UnknownOperationException where there is none."""
    request = _decode(path, headers, body)
    if match := CREDENTIAL.search(headers.get("authorization", "")):
        request.access_key, request.region = match[1], match[2]
    return request


def _decode(path: str, headers: Mapping[str, str], body: bytes) -> Request:
    path = path.partition("?")[0]
    if match := RPC.fullmatch(path):
        parameters = _plain(_cbor_parser().parse_data_item(io.BufferedReader(io.BytesIO(body)))) if body else {}
        return Request(TARGETS.get(match[1], match[1]), match[2], parameters, "cbor")
    if match := INVOCATION.fullmatch(path):
        wanted = headers.get("x-amzn-sagemaker-target-variant")
        parameters = {"EndpointName": unquote(match[1]), "Body": body, "TargetVariant": wanted}
        return Request("sagemaker-runtime", "InvokeEndpoint", parameters, "rest-json")
    if target := headers.get("x-amz-target"):
        prefix, _, operation = target.partition(".")
        try:
            parameters = json.loads(body or b"{}")
        except ValueError as error:
            raise AwsError("SerializationException", "The request body is no JSON document.") from error
        return Request(TARGETS.get(prefix, prefix), operation, parameters, "json")
    fields = dict(parse_qsl(body.decode(errors="replace")))
    if "Action" in fields:
        return Request("sts", fields.pop("Action"), fields, "query")
    raise AwsError("UnknownOperationException", f"No operation at {path}.", 404)


def encode(request: Request, answer: dict[str, Any] | None) -> Reply:
    """The answer of an operation, pruned to what the model knows."""
    if request.protocol == "rest-json":
        assert answer is not None
        return Reply(200, answer["Body"], _headers("application/json", answer["Headers"]))
    model = operation_model(request.service, request.operation)
    shape = model.output_shape if model is not None else None
    pruned = {} if shape is None else _pruned(shape, answer or {})
    if request.protocol == "query":
        return Reply(200, _xml(request.operation, pruned), _headers("text/xml"))
    if request.protocol == "cbor":
        return Reply(200, _cbor(shape, pruned), _headers("application/cbor", {"smithy-protocol": "rpc-v2-cbor"}))
    body = json.dumps(pruned).encode() if shape is not None else b""
    return Reply(200, body, _headers("application/x-amz-json-1.1"))


def encode_error(protocol: str, error: AwsError) -> Reply:
    """An error in the protocol's form; the code is also in x-amzn-ErrorType."""
    extra = {"x-amzn-ErrorType": error.code}
    if protocol == "query":
        kind = "Sender" if error.status < 500 else "Receiver"
        body = (
            f"<ErrorResponse><Error><Type>{kind}</Type><Code>{error.code}</Code>"
            f"<Message>{escape(error.message)}</Message></Error></ErrorResponse>"
        )
        return Reply(error.status, body.encode(), _headers("text/xml", extra))
    document = {"__type": error.code, "message": error.message}
    if protocol == "cbor":
        body_bytes = _cbor_map(document)
        headers = _headers("application/cbor", {**extra, "smithy-protocol": "rpc-v2-cbor"})
        return Reply(error.status, body_bytes, headers)
    return Reply(error.status, json.dumps(document).encode(), _headers("application/x-amz-json-1.1", extra))


def _headers(content_type: str, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"Content-Type": content_type, "x-amzn-RequestId": str(uuid.uuid4()), **(extra or {})}


def _pruned(shape: Any, value: Any) -> Any:
    if shape.type_name == "structure":
        return {
            name: _pruned(member, value[name]) for name, member in shape.members.items() if value.get(name) is not None
        }
    if shape.type_name == "list":
        return [_pruned(shape.member, item) for item in value]
    return value


def _xml(operation: str, answer: dict[str, Any]) -> bytes:
    def element(name: str, value: Any) -> str:
        if isinstance(value, dict):
            inner = "".join(element(key, item) for key, item in value.items())
        else:
            inner = escape(str(value))
        return f"<{name}>{inner}</{name}>"

    result = element(f"{operation}Result", answer)
    namespace = "https://sts.amazonaws.com/doc/2011-06-15/"
    metadata = f"<ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
    return f'<{operation}Response xmlns="{namespace}">{result}{metadata}</{operation}Response>'.encode()


@functools.cache
def _cbor_parser() -> Any:
    return BaseCBORParser()


def _plain(value: Any) -> Any:
    """Datetimes as epoch numbers, as JSON 1.1 has them."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _dated(shape: Any, value: Any) -> Any:
    if shape.type_name == "structure":
        return {name: _dated(shape.members[name], item) for name, item in value.items()}
    if shape.type_name == "list":
        return [_dated(shape.member, item) for item in value]
    return datetime.fromtimestamp(value, tz=UTC) if shape.type_name == "timestamp" else value


def _cbor(shape: Any, answer: dict[str, Any]) -> bytes:
    if shape is None:
        return b"\xa0"
    body = bytearray()
    CBORSerializer()._serialize_data_item(body, _dated(shape, answer), shape)
    return bytes(body)


def _cbor_map(document: dict[str, str]) -> bytes:
    def text(value: str) -> bytes:
        raw = value.encode()
        return b"\x79" + len(raw).to_bytes(2, "big") + raw

    return bytes([0xA0 + len(document)]) + b"".join(text(key) + text(value) for key, value in document.items())
