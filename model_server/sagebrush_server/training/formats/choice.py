"""Which format a channel has: its content type, or, where it has none, what its first file looks like."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

from sagebrush_server.errors import ClientError
from sagebrush_server.training.formats.base import Format, Layout
from sagebrush_server.training.job import Channel

CSV: Final = "text/csv"
LIBSVM: Final = "text/libsvm"
RECORDIO: Final = "application/x-recordio-protobuf"
NPY: Final = "application/x-npy"
PARQUET: Final = "application/x-parquet"

_FORMATS: Final[Mapping[str, str]] = {
    CSV: "csv_rows:CsvFormat",
    LIBSVM: "libsvm_rows:LibsvmFormat",
    RECORDIO: "recordio_rows:RecordioFormat",
    NPY: "npy_rows:NpyFormat",
    PARQUET: "parquet_rows:ParquetFormat",
}
_SAME: Final = {"text/x-libsvm": LIBSVM, "csv": CSV, "libsvm": LIBSVM, "parquet": PARQUET}
_BEGINNINGS: Final = {b"\x0a\x23\xd7\xce": RECORDIO, b"PAR1": PARQUET, b"\x93NUM": NPY}
_LABELS_BESIDE: Final = (LIBSVM, RECORDIO)
"""Formats whose rows say themselves what their label is."""


@dataclass(frozen=True, slots=True)
class ContentType:
    """A media type and its parameter `label_size`, None where that isn't given."""

    media_type: str
    label_size: int | None = None


def content_type_of(channel: Channel) -> ContentType:
    """Read a channel's content type. Raises ClientError for a parameter that can't be honoured."""
    media_type, *parameters = (part.strip() for part in channel.content_type.lower().split(";"))
    label_size = None
    for parameter in filter(None, parameters):
        name, _, value = (part.strip() for part in parameter.partition("="))
        if name == "label_size" and value in ("0", "1"):
            label_size = int(value)
        elif (name, value) not in (("charset", "utf-8"), ("charset", "utf8")):
            raise ClientError(
                f"channel {channel.name}: content type {channel.content_type!r}: {parameter} can't be honoured; "
                "legal parameters are label_size=0, label_size=1 and charset=utf-8"
            )
    return ContentType(_SAME.get(media_type, media_type) or _seen(channel), label_size)


def format_of(channel: Channel, *, label: bool, default_label_size: int, weights: bool, missing: bool) -> Format:
    """Return what reads the channel. Raises ClientError where nothing does, or where the label isn't there."""
    found = content_type_of(channel)
    _check_delivery(channel, media_type=found.media_type)
    if found.media_type not in _FORMATS:
        raise ClientError(
            f"channel {channel.name}: content type {channel.content_type!r} can't be read; use {', '.join(_FORMATS)}"
        )
    if found.media_type in _LABELS_BESIDE and found.label_size is not None:
        raise ClientError(f"channel {channel.name}: label_size belongs to text/csv, not to {found.media_type}")
    label_size = default_label_size if found.label_size is None else found.label_size
    if label and not label_size:
        raise ClientError(f"channel {channel.name}: the rows need a label in the first column, so label_size must be 1")
    if weights and found.media_type not in (CSV, NPY, PARQUET):
        raise ClientError(f"channel {channel.name}: {found.media_type} has no column of weights")
    layout = Layout(channel.name, label_size=label_size, weights=weights, missing=missing)
    module, _, name = _FORMATS[found.media_type].partition(":")
    make = cast(
        "Callable[[Layout], Format]",
        getattr(importlib.import_module(f"sagebrush_server.training.formats.{module}"), name),
    )
    return make(layout)


def _check_delivery(channel: Channel, *, media_type: str) -> None:
    wrappers = ("None", "RecordIO") if media_type == RECORDIO else ("None",)
    if channel.input_mode != "File" or channel.record_wrapper not in wrappers:
        raise ClientError(
            f"channel {channel.name}: input mode {channel.input_mode} with record wrapper {channel.record_wrapper} "
            "can't be read; use File and None"
        )


def _seen(channel: Channel) -> str:
    """Name the format of the first file by how it begins; text is CSV unless its first line has `column:value`."""
    with channel.files()[0].open("rb") as file:
        start = file.read(4096)
    known = _BEGINNINGS.get(start[:4])
    if known:
        return known
    items = start.partition(b"\n")[0].split()[1:]
    return LIBSVM if items and all(b":" in item for item in items) else CSV
