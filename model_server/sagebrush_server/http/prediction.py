"""Predicting requests together: one array, one call of the model, one pass of the encoder. Knows no sockets.

Whatever is doubtful goes one by one, so that each request gets the very answer, or the very error, that it would have
got alone.
"""

from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from sagebrush_server.algorithms.model import Predictions, RowError, SparseRows
from sagebrush_server.codecs.base import slices
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.rows import dense_rows
from sagebrush_server.http.application import failure
from sagebrush_server.http.messages import Answer, Ask, lead_of, refusal
from sagebrush_server.http.quick import bodies_of, of_one_ask, set_answers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagebrush_server.algorithms.model import Model
    from sagebrush_server.codecs.base import Decoder
    from sagebrush_server.http.quick import Exchange


def answer_together(exchanges: "list[Exchange]") -> int:
    """Answer requests of one model of rows and one decoder. Returns the number of rows predicted. Never raises."""
    ask = _ask(exchanges[0])
    model, decoder = _parts(ask)
    if model.feature_dim is None:
        return _answer_each(exchanges, stack=False)
    try:
        together = decoder.decode_together(bodies_of(exchanges), feature_dim=model.feature_dim)
        if together is None:
            return _answer_each(exchanges, stack=True)
        rows, counts = together
        _write(exchanges, predictions=model.predict(rows), counts=counts)
    except Exception:  # noqa: BLE001 – one of them is at fault; which, and how, each finds out by itself
        return _answer_each(exchanges, stack=False)
    return len(rows)


def _write(exchanges: "list[Exchange]", *, predictions: Predictions, counts: Sequence[int]) -> None:
    ask = _ask(exchanges[0])
    encoder = ask.encoder
    if encoder is not None and of_one_ask(exchanges):
        bodies = encoder.encode(predictions, counts=counts)
        set_answers(exchanges, lead_of(encoder.media_type, ask.headers), bodies)
        return
    parts = [predictions] if len(exchanges) == 1 else slices(predictions, counts=counts)
    written = []
    for exchange, part, count in zip(exchanges, parts, counts, strict=True):
        own = _ask(exchange)
        if own.encoder is None:
            raise TypeError("a model of rows is asked with an encoder")
        (body,) = own.encoder.encode(part, counts=[count])
        written.append((exchange, body, lead_of(own.encoder.media_type, own.headers)))
    for exchange, body, lead in written:
        exchange.payload = body
        exchange.lead = lead


def _answer_each(exchanges: "list[Exchange]", *, stack: bool) -> int:
    """Decode one by one; with `stack` predict together still what could be decoded."""
    ready = []
    for exchange in exchanges:
        rows = _decode(exchange)
        if isinstance(rows, Answer):
            exchange.answer = rows
        else:
            ready.append((exchange, rows))
    number = sum(len(rows) for _, rows in ready)
    if stack and len(ready) > 1 and _answer_stacked(ready):
        return number
    for exchange, rows in ready:
        _answer_one(exchange, rows=rows)
    return number


def _answer_stacked(ready: "list[tuple[Exchange, NDArray[np.float64] | SparseRows]]") -> bool:
    import numpy as np

    arrays = [rows for _, rows in ready if not isinstance(rows, SparseRows)]
    if len(arrays) < len(ready):
        return False
    model, _ = _parts(_ask(ready[0][0]))
    try:
        predictions = model.predict(np.concatenate(arrays))
        _write([exchange for exchange, _ in ready], predictions=predictions, counts=[len(rows) for rows in arrays])
    except Exception:  # noqa: BLE001 – as above
        return False
    return True


def _decode(exchange: "Exchange") -> "NDArray[np.float64] | SparseRows | Answer":
    ask = _ask(exchange)
    model, decoder = _parts(ask)
    try:
        rows = decoder.decode(exchange.body, feature_dim=model.feature_dim)
        return dense_rows(rows) if isinstance(rows, SparseRows) and not model.takes_sparse else rows
    except RequestError as refused:
        return refusal(refused.status, message=str(refused), headers=ask.headers)
    except Exception:  # noqa: BLE001 – one request must not end the process; logged with its id
        return failure(exchange.about, headers=ask.headers)


def _answer_one(exchange: "Exchange", *, rows: "NDArray[np.float64] | SparseRows") -> None:
    ask = _ask(exchange)
    model, _ = _parts(ask)
    try:
        _write([exchange], predictions=model.predict(rows), counts=[len(rows)])
    except RequestError as refused:
        exchange.answer = refusal(refused.status, message=str(refused), headers=ask.headers)
    except RowError as refused:
        message = f"row {refused.row + 1}: {refused}"
        exchange.answer = refusal(HTTPStatus.BAD_REQUEST, message=message, headers=ask.headers)
    except Exception:  # noqa: BLE001 – one request must not end the process; logged with its id
        exchange.answer = failure(exchange.about, headers=ask.headers)


def _ask(exchange: "Exchange") -> Ask:
    if exchange.ask is None:
        raise TypeError("only what asks a model is predicted")
    return exchange.ask


def _parts(ask: Ask) -> "tuple[Model, Decoder]":
    if ask.served.rows is None or ask.decoder is None:
        raise TypeError("a model of rows is asked with a decoder")
    return ask.served.rows, ask.decoder
