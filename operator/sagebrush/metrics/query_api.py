"""Prometheus' HTTP API as far as it is asked here: one POST, its answer in full, or why there is none.

Source: https://prometheus.io/docs/prometheus/latest/querying/api/
"""

import asyncio
import os
from dataclasses import dataclass
from typing import Literal

import aiohttp
from yarl import URL

from sagebrush.metrics.answer import BadAnswerError, TimedOutError, UnreachableError

_LONGEST_ANSWER_BYTES = 64 * 1024 * 1024

Path = Literal["query", "query_range"]


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back."""

    body: bytes
    status: int
    date: str | None
    """The ``Date`` header: Prometheus' clock, cut to seconds."""


class QueryApi:
    """Asks one Prometheus.

    *url* is its address, with a path prefix and credentials where it has them; ValueError where it is no such address.
    The session is the caller's to close, and carries what headers the server asks for.
    """

    def __init__(self, url: str, *, session: aiohttp.ClientSession) -> None:
        parsed = URL(url)
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ValueError(
                "the address of Prometheus must be http://host:port or https://host:port, with a path if need be"
            )
        self._base = parsed.with_path(f"{parsed.path.rstrip('/')}/api/v1/").with_query(None)
        self._session = session

    async def ask(self, path: Path, *, form: dict[str, str], timeout_seconds: float) -> HttpAnswer:
        """POSTs *form*, with the time-out for Prometheus too. Raises :class:`PrometheusError`, never with credentials."""
        where = self._base.with_user(None).origin()
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._posted(path, {**form, "timeout": f"{timeout_seconds:g}s"})
        except TimeoutError as error:
            raise TimedOutError(f"Prometheus at {where} did not answer within {timeout_seconds:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            raise UnreachableError(f"Prometheus at {where} cannot be reached: {cause_of(error)}") from error

    async def _posted(self, path: Path, form: dict[str, str]) -> HttpAnswer:
        # A redirect is a login page more often than a Prometheus, and would turn the POST into a GET without a query.
        async with self._session.post(self._base / path, data=form, allow_redirects=False) as response:
            body = await body_of(response, longest_bytes=_LONGEST_ANSWER_BYTES)
            if body is None:
                raise BadAnswerError(f"Prometheus' answer is longer than {_LONGEST_ANSWER_BYTES // 2**20} MiB")
            return HttpAnswer(body=body, status=response.status, date=response.headers.get("Date"))


async def body_of(response: aiohttp.ClientResponse, *, longest_bytes: int) -> bytes | None:
    """The body; None where it is longer than that: no memory is anybody else's to fill."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(64 * 1024):
        size += len(part)
        if size > longest_bytes:
            return None
        parts.append(part)
    return b"".join(parts)


def cause_of(error: Exception) -> str:
    """The error in words that do not change from one attempt to the next, without credentials and addresses."""
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return os.strerror(number) if number else error.os_error.strerror or type(error.os_error).__name__
    return str(error) if isinstance(error, OSError) else type(error).__name__
