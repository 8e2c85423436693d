"""Operators that are killed at a changing call of theirs, before or after it has its effect."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.operator_process import OperatorProcess
from tests.integration.sagemaker.aws import Aws
from tests.sagemaker_simulator.errors import ConnectionLost
from tests.sagemaker_simulator.protocol import Request

CHANGING = ("Create", "Update", "Delete", "Register", "Deregister", "Put", "Stop")


class ChangeKiller:
    """
    Kills the operator that runs, and drops the connection: after its first changing call has had its effect, or before its
    second one has. Each operator dies once.
    """

    def __init__(self, aws: Aws, *, after: bool) -> None:
        self._after = after
        self._answer: Callable[[Request], Any] = aws.simulator.dispatcher.answer
        self.operator: OperatorProcess | None = None
        self._spared = 0
        self.killed: list[str] = []

    def is_over(self) -> bool:
        """Whether the operator has been killed, or there was none."""
        return self.operator is None

    def answer(self, request: Request) -> Any:
        """In place of the dispatcher's."""
        operator = self.operator
        if operator is None or not request.operation.startswith(CHANGING):
            return self._answer(request)
        self._spared += 1
        if not self._after and self._spared == 1:
            return self._answer(request)
        self.operator, self._spared = None, 0
        if self._after:
            self._answer(request)
        operator.kill()
        self.killed.append(request.operation)
        raise ConnectionLost


def change_killer(aws: Aws, patch: pytest.MonkeyPatch, *, after: bool) -> ChangeKiller:
    """Put in place; set `operator` to let it strike."""
    killer = ChangeKiller(aws, after=after)
    patch.setattr(aws.simulator.dispatcher, "answer", killer.answer)
    return killer
