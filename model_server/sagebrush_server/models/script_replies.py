"""What a user's functions return, as an answer: text, bytes, a pair with the content type, or pieces one by one."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from sagebrush_server.algorithms.responder import Reply


def reply_of(answer: Any, *, accept: str) -> Reply:
    """Make a reply of `body` or `(body, content type)`. Raises TypeError for a body of another kind."""
    content_type = accept
    if isinstance(answer, tuple) and len(answer) == 2:
        answer, content_type = answer
        if not isinstance(content_type, str):
            raise TypeError(f"the second of what the function returned is {content_type!r}; a content type is expected")
    if isinstance(answer, bytes):
        return Reply(answer, content_type=content_type)
    if isinstance(answer, str):
        return Reply(answer.encode(), content_type=content_type)
    if isinstance(answer, bytearray | memoryview):
        return Reply(bytes(answer), content_type=content_type)
    if hasattr(answer, "__anext__"):
        return Reply(_later_pieces(answer), content_type=content_type)
    if hasattr(answer, "__next__"):
        return Reply(_pieces(answer), content_type=content_type)
    raise TypeError(
        f"the function returned a {type(answer).__name__}; str, bytes, an iterator of them, or a pair of that and the "
        "content type are expected"
    )


def _pieces(answer: Iterator[Any]) -> Iterator[bytes]:
    for piece in answer:
        yield _bytes(piece)


async def _later_pieces(answer: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    async for piece in answer:
        yield _bytes(piece)


def _bytes(piece: Any) -> bytes:
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, bytes | bytearray | memoryview):
        return bytes(piece)
    raise TypeError(f"the function yielded a {type(piece).__name__}; str or bytes are expected")
