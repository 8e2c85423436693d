"""Which requests may be predicted together, and which nobody waits for any more."""

from collections import defaultdict
from typing import TYPE_CHECKING

from sagebrush_server.http.quick import all_there, of_one_ask
from sagebrush_server.http.relay import abandon

if TYPE_CHECKING:
    from sagebrush_server.http.messages import Ask
    from sagebrush_server.http.quick import Exchange

Key = tuple[object, object]


def key_of(exchange: "Exchange") -> Key:
    """Return what has to be the same: the model and the decoder; the encoders may differ."""
    ask = exchange.ask
    if ask is None:
        raise TypeError("only what asks a model waits")
    return ask.served, ask.decoder


def grouped(pending: "list[Exchange]") -> "tuple[list[list[Exchange]], int]":
    """Return the groups, each with its requests in the order in which they came, and how many clients had gone."""
    if of_one_ask(pending) and all_there(pending):
        return [pending], 0
    groups: defaultdict[Ask, list[Exchange]] = defaultdict(list)
    gone = 0
    for exchange in pending:
        if exchange.connection.lost:
            gone += 1
            abandon(exchange.ask)
        else:
            groups[exchange.ask].append(exchange)  # type: ignore[index]
    if len(groups) < 2:
        return list(groups.values()), gone
    merged: defaultdict[Key, list[Exchange]] = defaultdict(list)
    for group in groups.values():
        merged[key_of(group[0])] += group
    return list(merged.values()), gone
