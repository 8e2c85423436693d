"""SIGTERM before a command has its own answer to it.

As process 1 of a container Python has no default answer to SIGTERM: the kernel drops it, and the pod would wait for its
whole grace period. Imported before anything slow.
"""

import signal
import sys
from typing import Final, NoReturn

KILLED_CODE: Final = 128 + signal.SIGTERM
"""143, what a shell says of a process that SIGTERM has ended."""


def leave_on_sigterm(*, code: int = KILLED_CODE) -> None:
    """End the process with `code` at SIGTERM, until another handler is installed."""

    def leave(number: int, frame: object) -> NoReturn:  # noqa: ARG001 – the signal module's signature
        sys.exit(code)

    signal.signal(signal.SIGTERM, leave)


def block_termination() -> None:
    """Hold SIGTERM and SIGINT back until `await_termination` asks for them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})


def await_termination() -> None:
    """Wait for SIGTERM or SIGINT. Both stay held back, so that a second one doesn't cut an upload short."""
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
