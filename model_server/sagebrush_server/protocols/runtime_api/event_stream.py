"""Frames of `application/vnd.amazon.eventstream`, in which SageMaker's runtime API streams an answer.

Source: "Event stream encoding" in the Smithy specification: total length, header length and their CRC-32; headers; the
payload; and a CRC-32 of all that. Numbers are big-endian.
"""

import logging
import struct
import uuid
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Final

import orjson

_LOG = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/vnd.amazon.eventstream"
PAYLOAD_LIMIT: Final = 1024 * 1024
"""Bytes of one part at most; clients refuse payloads over 16 MiB, and parts should arrive as they come."""

_STRING: Final = 7
_AROUND_BYTES: Final = 16


def payload_part(data: bytes) -> bytes:
    """Return the frame of one piece of the answer, at most `PAYLOAD_LIMIT` bytes."""
    return _frame(
        {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}, data
    )


def frames(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the frames of an answer's pieces. A failure in the middle is the stream's last event."""
    try:
        for piece in pieces:
            yield from _parts(piece)
    except Exception as problem:  # noqa: BLE001 – what the user's code raises; the client must not take it for the end
        yield _broken(problem)


async def async_frames(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield frames as `frames` does."""
    try:
        async for piece in pieces:
            for part in _parts(piece):
                yield part
    except Exception as problem:  # noqa: BLE001 – as above
        yield _broken(problem)


def _parts(piece: bytes) -> Iterator[bytes]:
    for at in range(0, len(piece), PAYLOAD_LIMIT):
        yield payload_part(piece[at : at + PAYLOAD_LIMIT])


def _broken(problem: Exception) -> bytes:
    error_id = uuid.uuid4().hex
    _LOG.error("error %s in the middle of a stream", error_id, exc_info=problem)
    message = f"the model failed in the middle of its answer; the log has it under {error_id}"
    return exception("ModelStreamError", payload=orjson.dumps({"Message": message, "ErrorCode": "StreamBroken"}))


def exception(kind: str, *, payload: bytes) -> bytes:
    """Return the frame that ends a stream which can't be finished; `kind` is such as `ModelStreamError`."""
    return _frame({":message-type": "exception", ":exception-type": kind, ":content-type": "application/json"}, payload)


def _frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    head = b"".join(_header(name, value) for name, value in headers.items())
    prelude = struct.pack(">II", len(head) + len(payload) + _AROUND_BYTES, len(head))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack(">B", len(key)) + key + struct.pack(">BH", _STRING, len(text)) + text
