"""How many requests have arrived and are not begun: what the kernel holds while the event loop is at work, and the queue.

What a turn of the loop reads it answers, or gives to the model's thread, so much of a queue forms in the sockets. There
it is counted when somebody asks, at no cost to the requests.
"""

import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Final

# The first lets the loop begin what arrived while this thread kept it from running.
_PAUSES_SECONDS: Final = (0.002, 0.008, 0.01, 0.01, 0.01, 0.01)
_MORE_PAUSES_SECONDS: Final = (0.025,) * 8
_FEW: Final = 2
"""So few may be behind one slow answer, one after the other, at a server that keeps up: they are looked at for longer."""
_ENDED: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL | getattr(select, "POLLRDHUP", 0)
_TCP_INFO_BYTES: Final = 32
_UNACKED_OFFSET: Final = 24


def waiting_requests(
    connections: Callable[[], Iterable[int]], *, listener: int, queued: Callable[[], int] = lambda: 0
) -> int:
    """Return the number of requests in the queue, of connections with unread bytes, and of those not accepted yet.

    The fewest of some looks within a twentieth of a second, or within a quarter where there are few: requests that come
    at the same time, or while a slow one is being answered, wait for a moment at any server; of interest is the queue
    that stands. `connections` returns file numbers, `listener` is one; what is closed meanwhile counts as nothing.
    Blocks for that long: not for the event loop's thread.
    """
    fewest: int | None = None
    for pause in (*_PAUSES_SECONDS, *_MORE_PAUSES_SECONDS):
        if pause == _MORE_PAUSES_SECONDS[0] and fewest is not None and fewest > _FEW:
            break
        time.sleep(pause)
        found = unread_requests(connections(), listener=listener) + queued()
        fewest = found if fewest is None else min(fewest, found)
        if fewest == 0:
            break
    return fewest or 0


def unread_requests(connections: Iterable[int], *, listener: int) -> int:
    """Return the number of connections with bytes that nobody has read, and of those not accepted, at this moment."""
    return _unread(connections) + _not_accepted(listener)


def _unread(connections: Iterable[int]) -> int:
    poll = select.poll()
    for number in connections:
        poll.register(number, select.POLLIN | _ENDED)
    return sum(1 for _, events in poll.poll(0) if events & select.POLLIN and not events & _ENDED)


def _not_accepted(listener: int) -> int:
    """Connections that are established and wait to be accepted (Linux: `tcpi_unacked` of a listening socket, tcp(7))."""
    try:
        handle = socket.socket(fileno=listener)
    except (OSError, ValueError):
        return 0
    try:
        told = handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
        return int(struct.unpack_from("=I", told, _UNACKED_OFFSET)[0])
    except (OSError, struct.error):
        return 0
    finally:
        handle.detach()
