"""Asks whose answers are not the model's own: a protocol puts them into its own form (`Ask.then`)."""

from typing import TYPE_CHECKING, cast

from sagebrush_server.algorithms.responder import Reply
from sagebrush_server.http.application import failure
from sagebrush_server.http.messages import Ask, as_answer, as_reply, refusal
from sagebrush_server.http.quick import Exchange
from sagebrush_server.http.streams import Stream

if TYPE_CHECKING:
    from sagebrush_server.http.connection import Connection
    from sagebrush_server.http.streams import Runner


class Relay:
    """Stands between a model and a request, in the place of the request's connection.

    The model is asked by `inner`, an exchange of the relay's own; what that gets becomes, by `Ask.then`, the answer of
    the request, which goes its way as any other. Lives on the event loop; `lost` may be read in any thread.
    """

    def __init__(self, outer: Exchange, *, ask: Ask, runner: "Runner") -> None:
        self._outer = outer
        self._ask = ask
        self._runner = runner
        self._settled = False
        outer.ask = ask
        self.inner = Exchange(cast("Connection", self), outer.head, ask, ask.body, outer.arrived)

    @property
    def lost(self) -> bool:
        """Whether the client has gone."""
        return self._outer.connection.lost

    def give(self, exchange: Exchange, now: float) -> bool:  # noqa: ARG002 – as a connection does
        """Take the model's answer, and say that nothing has been written yet."""
        self.flush()
        return False

    def flush(self) -> None:
        """Answer the request if the model has answered, or refused to."""
        if self.inner.done and not self._settled:
            self.settle()
            self._outer.connection.flush()

    def settle(self) -> None:
        """Make the model's answer the request's."""
        self._settled = True
        outer = self._outer
        try:
            reply = _then(self._ask, self._reply())
            if isinstance(reply.body, bytes):
                outer.answer = as_answer(reply)
            else:
                headers = tuple(reply.headers.items())
                outer.stream = Stream(outer, reply=reply, headers=headers, runner=self._runner)
        except Exception:  # noqa: BLE001 – one request must not end the process; logged with its id
            outer.answer = failure(outer.about)

    def _reply(self) -> Reply:
        inner = self.inner
        if inner.answer is not None:
            return as_reply(inner.answer)
        if inner.stream is not None:
            return inner.stream.as_reply()
        if self._ask.encoder is None:
            raise TypeError("a model of rows is asked with an encoder")
        return Reply(inner.payload, self._ask.encoder.media_type, 200, dict(self._ask.headers))


def abandon(ask: Ask | None) -> None:
    """Tell the protocol that nobody waits for this ask's answer any more."""
    if ask is not None and ask.then is not None:
        try:
            _then(ask, as_reply(refusal(408, message="the client has gone")))
        except Exception:  # noqa: BLE001 – as above
            failure("a client that has gone")


def _then(ask: Ask, reply: Reply) -> Reply:
    if ask.then is None:
        raise TypeError("only an ask with `then` is relayed")
    return ask.then(reply)
