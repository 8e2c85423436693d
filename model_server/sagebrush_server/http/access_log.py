"""One JSON line for each answered request, where somebody wants it."""

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

import orjson

if TYPE_CHECKING:
    from sagebrush_server.http.quick import Exchange


class AccessLog:
    """Writes to standard output, beside the log. Durations are seconds from the first byte to the last written."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream

    def write(self, exchanges: "list[Exchange]") -> None:
        """Write the lines of requests that were answered together; what is no request has none."""
        now, clock = datetime.now(UTC).isoformat(timespec="milliseconds"), time.monotonic()
        lines = []
        for exchange in exchanges:
            head = exchange.head
            if head is None:
                continue
            answer = exchange.answer
            line: dict[str, object] = {
                "time": now,
                "method": head.method,
                "path": head.path.decode("latin-1"),
                "status": exchange.status,
                "request_bytes": len(exchange.body),
                "response_bytes": len(exchange.payload if answer is None else answer.body),
                "seconds": round(clock - exchange.arrived, 6),
            }
            for name in ("traceparent", "tracestate"):
                if (value := head.headers.get(name.encode())) is not None:
                    line[name] = value.decode("latin-1")
            lines.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE).decode())
        self._stream.write("".join(lines))
        self._stream.flush()
