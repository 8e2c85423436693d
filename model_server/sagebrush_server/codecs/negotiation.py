"""Which decoder reads a request and which encoder writes the answer."""

import functools
from collections.abc import Mapping
from typing import Final

from sagebrush_server.codecs.base import Decoder, Encoder, OneByOne
from sagebrush_server.codecs.csv_rows import decode_csv
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.json_rows import decode_json, decode_jsonlines
from sagebrush_server.codecs.responses import ENCODERS
from sagebrush_server.codecs.rows import shown

DECODERS: Final[Mapping[str, Decoder]] = {
    decoder.media_type: decoder
    for decoder in (
        OneByOne("text/csv", decode_csv),
        OneByOne("application/json", decode_json),
        OneByOne("application/jsonlines", decode_jsonlines),
    )
}
_PARAMETERS: Final[Mapping[str, frozenset[str]]] = {
    "charset": frozenset(("utf-8", "utf8", "us-ascii")),
    "label_size": frozenset(("0",)),
    "header": frozenset(("absent",)),
}


@functools.lru_cache(maxsize=256)
def decoder_for(content_type: str) -> Decoder:
    """Return the decoder for a Content-Type header. Raises RequestError (415), also for a parameter not honoured."""
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    try:
        decoder = DECODERS[kind]
    except KeyError:
        known = ", ".join(DECODERS)
        given = f"Content-Type {shown(kind)} is not supported" if kind else "the request has no Content-Type"
        raise RequestError(415, message=f"{given}; supported: {known}") from None
    for parameter in filter(None, parameters):
        name, _, value = parameter.partition("=")
        if value.strip().strip('"') not in _PARAMETERS.get(name.strip(), ()):
            raise RequestError(415, message=f"Content-Type parameter {shown(parameter)} is not supported")
    return decoder


@functools.lru_cache(maxsize=256)
def encoder_for(accept: str, *, default: str) -> Encoder:
    """Return the encoder for an Accept header; `default` answers `*/*` and an empty header.

    Raises RequestError (406) where nothing that is accepted can be written.
    """
    best: tuple[float, str] | None = None
    for offer in accept.split(",") if accept.strip() else ["*/*"]:
        kind, *parameters = (part.strip().lower() for part in offer.split(";"))
        quality = _quality(parameters, offer=offer)
        media = _match(kind, default=default)
        if media is not None and quality > 0 and (best is None or quality > best[0]):
            best = (quality, media)
    if best is None:
        known = ", ".join(ENCODERS)
        raise RequestError(406, message=f"Accept {shown(accept)} can't be answered; supported: {known}")
    return ENCODERS[best[1]]


def _match(kind: str, *, default: str) -> str | None:
    if kind in ENCODERS:
        return kind
    if kind == "*/*" or (kind.endswith("/*") and default.startswith(kind[:-1])):
        return default
    if kind.endswith("/*"):
        return next((media for media in ENCODERS if media.startswith(kind[:-1])), None)
    return None


def _quality(parameters: list[str], *, offer: str) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                quality = -1.0
            if not 0.0 <= quality <= 1.0:
                raise RequestError(406, message=f"Accept {shown(offer)}: q must be a number from 0 to 1")
            return quality
    return 1.0
