"""Asking a `Responder`: its reply, or what it raises, as an answer."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import TYPE_CHECKING, Final, cast

from sagebrush_server.algorithms.responder import Invocation, Reply
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.http.application import failure
from sagebrush_server.http.messages import Answer, lead_of, refusal
from sagebrush_server.http.streams import Stream

if TYPE_CHECKING:
    from sagebrush_server.http.quick import Exchange
    from sagebrush_server.http.streams import Runner

_OURS: Final = frozenset(("connection", "content-length", "content-type", "keep-alive", "transfer-encoding", "upgrade"))


def respond(exchange: "Exchange", *, runner: "Runner") -> "Awaitable[Reply] | None":
    """Ask the model for one answer, in its thread. Returns what has to be awaited for it, if anything. Never raises."""
    ask = exchange.ask
    if ask is None or ask.invocation is None or ask.served.responder is None:
        raise TypeError("a responder is asked with an invocation")
    template = ask.invocation
    invocation = Invocation(exchange.body, template.content_type, template.accept, template.headers)
    try:
        reply = ask.served.responder.respond(invocation)
        if inspect.isawaitable(reply):
            return reply
        accept_reply(exchange, reply=reply, runner=runner)
    except Exception as problem:  # noqa: BLE001 – one request must not end the process
        refuse(exchange, problem=problem)
    return None


async def await_reply(exchange: "Exchange", *, awaitable: "Awaitable[Reply]", runner: "Runner") -> None:
    """Wait for the reply on the event loop. Never raises."""
    try:
        accept_reply(exchange, reply=await awaitable, runner=runner)
    except Exception as problem:  # noqa: BLE001 – as above
        refuse(exchange, problem=problem)


def accept_reply(exchange: "Exchange", *, reply: Reply, runner: "Runner") -> None:
    """Make a reply the answer of its exchange. Raises ValueError for one that can't be written in HTTP."""
    if not isinstance(reply, Reply):
        raise TypeError(f"the code must return a Reply, not {type(reply).__name__}")
    headers = (*(exchange.ask.headers if exchange.ask is not None else ()), *_headers_of(reply))
    if not 200 <= reply.status < 600 or reply.status == 304:
        raise ValueError(f"a reply's status must be from 200 to 599 and not 304, not {reply.status}")
    if not isinstance(reply.body, bytes | Iterator | AsyncIterator):
        raise TypeError(f"a reply's body must be bytes or an iterator of bytes, not {type(reply.body).__name__}")
    if not isinstance(reply.body, bytes):
        exchange.stream = Stream(exchange, reply=reply, headers=headers, runner=runner)
    elif reply.status == 200 and (exchange.ask is None or exchange.ask.then is None):
        exchange.payload = reply.body
        exchange.lead = lead_of(reply.content_type, headers)
    else:
        exchange.answer = Answer(reply.status, body=reply.body, content_type=reply.content_type, headers=headers)


def refuse(exchange: "Exchange", *, problem: Exception) -> None:
    """Make an exception, which is being handled, the answer of its exchange."""
    headers = exchange.ask.headers if exchange.ask is not None else ()
    if isinstance(problem, RequestError):
        exchange.answer = refusal(problem.status, message=str(problem), headers=headers)
    else:
        exchange.answer = failure(exchange.about, headers=headers)


def _headers_of(reply: Reply) -> tuple[tuple[str, str], ...]:
    if "\r" in reply.content_type or "\n" in reply.content_type:
        raise ValueError("a reply's content type must be one line")
    for name, value in reply.headers.items():
        if name.lower() in _OURS:
            raise ValueError(f"a reply must not set {name}: the server does")
        if not name or not set(name) <= _TOKEN or "\r" in value or "\n" in value or "\0" in value:
            raise ValueError(f"a reply's header {name!r} is no header of HTTP")
    return tuple(cast("dict[str, str]", reply.headers).items()) if reply.headers else ()


_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
