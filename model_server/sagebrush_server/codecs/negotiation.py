"""Which decoder reads a request and which encoder writes the answer."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from sagebrush_server.codecs.base import Decoder, Encoder, OneByOne
from sagebrush_server.codecs.csv_rows import CsvDecoder
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.json_rows import JSON, JSON_LINES
from sagebrush_server.codecs.responses import ENCODERS
from sagebrush_server.codecs.rows import shown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sagebrush_server.algorithms.model import SparseRows


def _lazily(module: str, function: str) -> "Callable[..., NDArray[np.float64] | SparseRows]":
    """Read with a function whose module is imported by the first request that needs it."""

    def read(body: bytes, **settings: Any) -> "NDArray[np.float64] | SparseRows":
        rows: NDArray[np.float64] | SparseRows = getattr(import_module(f"sagebrush_server.codecs.{module}"), function)(
            body, **settings
        )
        return rows

    return read


DECODERS: Final[Mapping[str, Decoder]] = {
    decoder.media_type: decoder
    for decoder in (
        CsvDecoder(),
        JSON,
        JSON_LINES,
        OneByOne("application/x-npy", _lazily("npy", "decode_npy")),
        OneByOne("application/x-npz", _lazily("npz", "decode_npz")),
        OneByOne("text/libsvm", _lazily("libsvm", "decode_libsvm")),
        OneByOne("text/x-libsvm", _lazily("libsvm", "decode_libsvm")),
        OneByOne("application/x-recordio-protobuf", _lazily("recordio_rows", "decode_recordio")),
        OneByOne("application/x-parquet", _lazily("parquet", "decode_parquet")),
    )
}
_UTF8: Final = frozenset(("utf-8", "utf8", "us-ascii"))
_PARAMETERS: Final[Mapping[str, Mapping[str, frozenset[str]]]] = {
    "text/csv": {"charset": _UTF8, "label_size": frozenset(("0",)), "header": frozenset(("absent",))},
    "text/libsvm": {"charset": _UTF8},
    "text/x-libsvm": {"charset": _UTF8},
    "application/json": {"charset": _UTF8},
    "application/jsonlines": {"charset": _UTF8},
}
"""What a Content-Type may say besides the type; everything else is refused, since nothing would come of it."""


def refuse_encoded(encoding: str) -> None:
    """Raise RequestError (415) for a Content-Encoding header, which nothing here undoes."""
    if encoding.strip().lower() not in ("", "identity"):
        raise RequestError(415, message=f"Content-Encoding {shown(encoding)} is not supported; send the body as it is")


@functools.lru_cache(maxsize=256)
def decoder_for(content_type: str) -> Decoder:
    """Return the decoder for a Content-Type header. Raises RequestError (415), also for a parameter not honoured."""
    kind, parameters = _parse(content_type)
    try:
        decoder = DECODERS[kind]
    except KeyError:
        given = f"Content-Type {shown(kind)} is not supported" if kind else "the request has no Content-Type"
        raise RequestError(415, message=f"{given}; supported: {', '.join(DECODERS)}") from None
    legal = _PARAMETERS.get(kind, {})
    for name, value in parameters:
        if value not in legal.get(name, ()):
            known = ", ".join(f"{known}={value}" for known, values in legal.items() for value in sorted(values))
            given = f"Content-Type parameter {shown(f'{name}={value}')} of {kind} is not supported"
            raise RequestError(415, message=f"{given}; supported: {known or 'none'}")
    return decoder


@functools.lru_cache(maxsize=256)
def encoder_for(accept: str, *, default: str) -> Encoder:
    """Return the encoder for an Accept header; `default` answers `*/*` and an empty header.

    `verbose=true`, SageMaker's own parameter, shows what a model has to say beyond its predictions.
    Raises RequestError (406) where nothing that is accepted can be written.
    """
    best: tuple[float, Encoder] | None = None
    for offer in accept.split(",") if accept.strip() else ["*/*"]:
        kind, parameters = _parse(offer)
        quality = _quality(dict(parameters).get("q", "1"), offer=offer)
        encoder = _match(kind, parameters=parameters, default=default)
        if encoder is not None and quality > 0 and (best is None or quality > best[0]):
            best = (quality, encoder)
    if best is None:
        known = ", ".join(ENCODERS)
        raise RequestError(
            406,
            message=f"Accept {shown(accept)} can't be answered; supported: {known}, with the parameter verbose=true",
        )
    return best[1]


def _parse(header: str) -> tuple[str, list[tuple[str, str]]]:
    """Split a media type into its name and its parameters, all in lower case."""
    kind, *parameters = (part.strip().lower() for part in header.split(";"))
    pairs = (parameter.partition("=") for parameter in parameters if parameter)
    return kind, [(name.strip(), value.strip().strip('"')) for name, _, value in pairs]


def _match(kind: str, *, parameters: list[tuple[str, str]], default: str) -> Encoder | None:
    """Return the encoder that an offer means, None where there is none or it asks for what no encoder does."""
    media = _media_type(kind, default=default)
    if media is None:
        return None
    encoder = ENCODERS[media]
    for name, value in parameters:
        if name == "verbose" and value in ("true", "false"):
            encoder = replace(encoder, verbose=value == "true")
        elif name != "q" and not (name == "charset" and value in _UTF8):
            return None
    return encoder


def _media_type(kind: str, *, default: str) -> str | None:
    if kind in ENCODERS:
        return kind
    if kind == "*/*" or (kind.endswith("/*") and default.startswith(kind[:-1])):
        return default
    if kind.endswith("/*"):
        return next((media for media in ENCODERS if media.startswith(kind[:-1])), None)
    return None


def _quality(text: str, *, offer: str) -> float:
    try:
        quality = float(text)
    except ValueError:
        quality = -1.0
    if not 0.0 <= quality <= 1.0:
        raise RequestError(406, message=f"Accept {shown(offer)}: q must be a number from 0 to 1")
    return quality
