"""Answers in the format that the request's Accept header names."""

from collections.abc import Mapping
from typing import Final

from sagebrush_server.codecs.binary_answers import NpyEncoder, RecordioEncoder
from sagebrush_server.codecs.text_answers import CSV_LAYOUT, JSON_LAYOUT, JSON_LINES_LAYOUT, TextEncoder

ENCODERS: Final[Mapping[str, TextEncoder | NpyEncoder | RecordioEncoder]] = {
    encoder.media_type: encoder
    for encoder in (
        TextEncoder("application/json", JSON_LAYOUT),
        TextEncoder("application/jsonlines", JSON_LINES_LAYOUT),
        TextEncoder("text/csv", CSV_LAYOUT),
        NpyEncoder(),
        RecordioEncoder(),
    )
}
