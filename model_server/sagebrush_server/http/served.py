"""A model that is being served, and the proof that it can be."""

import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

import orjson

from sagebrush_server.algorithms.model import RowError
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.negotiation import decoder_for, encoder_for

if TYPE_CHECKING:
    from sagebrush_server.algorithms.model import Model
    from sagebrush_server.algorithms.responder import Responder

_CALL_SECONDS: Final = 0.001
"""What any call may take, however little it is asked for: on a busy machine any call may be interrupted."""


class Served:
    """A self-tested model under the name by which requests ask for it. Exactly one of `rows` and `responder` is set."""

    __slots__ = ("__weakref__", "_rate", "_rates", "algorithm", "model", "name", "responder", "rows")

    def __init__(self, name: str, *, model: "Model | Responder") -> None:
        self.name = name
        self.model = model
        self.algorithm = model.algorithm
        self._rates = (0.0, 0.0, 0.0)
        self._rate = 0.0
        self.rows: Model | None = None
        self.responder: Responder | None = None
        if hasattr(model, "respond"):
            self.responder = cast("Responder", model)
        else:
            self.rows = model

    def expected_seconds(self, size: int) -> float:
        """Return how long answering bodies of `size` bytes together should take, by what was seen of late.

        The median of the last three: one slow call, or one quick one, says nothing of a model.
        """
        return self._rate * size

    def observe(self, seconds: float, *, size: int) -> None:
        """Learn from answering bodies of `size` bytes together. What any call costs is no matter of size."""
        self._rates = (*self._rates[1:], max(seconds - _CALL_SECONDS, 0.0) / max(size, 1))
        self._rate = sorted(self._rates)[1]

    def self_test(self) -> None:
        """Answer the model's own rows through decoder and encoder, as a request's would be. Raises ValueError."""
        if self.rows is None:
            if self.responder is not None:
                self.responder.self_test()
            return
        model = self.rows
        rows = model.self_test_rows()
        if not len(rows):  # a model that doesn't say how many values it takes
            return
        body = orjson.dumps({"instances": [{"features": row} for row in rows.tolist()]})
        try:
            start = time.monotonic()
            answer = model.predict(rows)
            self.observe(time.monotonic() - start, size=len(body))
            model.check_self_test(answer)
            decoded = decoder_for("application/json").decode(body, feature_dim=model.feature_dim)
            encoder_for("application/json", default="").encode(model.predict(decoded), counts=[len(rows)])
        except RowError as refused:
            raise ValueError(f"the model can't score its own self-test row {refused.row + 1}: {refused}") from refused
        except RequestError as refused:
            status = HTTPStatus(refused.status)
            raise ValueError(f"the model's self-test invocation was answered {status.value}: {refused}") from refused
