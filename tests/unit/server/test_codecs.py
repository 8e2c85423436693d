"""Codecs: what is a row, what isn't, and that nothing else than a clean refusal ever comes out."""

import json
import re
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush_server.algorithms.model import Predictions
from sagebrush_server.codecs.csv_rows import CsvDecoder
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.json_rows import JSON, JSON_LINES
from sagebrush_server.codecs.negotiation import DECODERS as BY_MEDIA_TYPE
from sagebrush_server.codecs.negotiation import decoder_for, encoder_for
from sagebrush_server.codecs.responses import ENCODERS

decode_csv, decode_json, decode_jsonlines = CsvDecoder().decode, JSON.decode, JSON_LINES.decode

finite = st.floats(allow_nan=False, allow_infinity=False)
tables = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(finite, min_size=width, max_size=width), min_size=1, max_size=6)
)
DECODERS = (decode_csv, decode_json, decode_jsonlines)


def refused(decode, body, feature_dim=3):
    with pytest.raises(RequestError) as caught:
        decode(body, feature_dim=feature_dim)
    assert caught.value.status in (400, 413)
    return str(caught.value)


def refusal_of(action):
    """The RequestError that `action` raises, None where it raises nothing; any other exception fails the test."""
    try:
        action()
    except RequestError as refusal:
        return refusal
    return None


def check_rows_or_refusal(decode):
    results = []
    refusal = refusal_of(lambda: results.append(decode()))
    if refusal is not None:
        assert refusal.status == 400
        assert str(refusal)
        return
    (rows,) = results
    assert rows.dtype == np.float64
    assert rows.ndim == 2
    assert rows.shape[1] == 2
    assert np.isfinite(rows).all()


@given(rows=tables, end=st.sampled_from([b"", b"\n"]), newline=st.sampled_from([b"\n", b"\r\n"]))
@settings(max_examples=60, deadline=None)
def test_csv_must_give_back_what_was_written(rows, end, newline):
    """Any finite numbers survive CSV exactly, with either line ending."""
    body = newline.join(",".join(map(repr, row)).encode() for row in rows) + end
    assert decode_csv(body, feature_dim=len(rows[0])).tolist() == rows


@given(rows=tables)
@settings(max_examples=60, deadline=None)
def test_json_must_give_back_what_was_written(rows):
    """Any finite numbers survive every JSON shape exactly."""
    width = len(rows[0])
    shapes = [rows, {"instances": rows}, {"instances": [{"features": row} for row in rows]}]
    shapes.append({"instances": [{"data": {"features": {"values": row, "shape": [width]}}} for row in rows]})
    for shape in shapes:
        assert decode_json(json.dumps(shape).encode(), feature_dim=width).tolist() == rows
    lines = b"\n".join(orjson.dumps({"features": row}) for row in rows)
    assert decode_jsonlines(lines, feature_dim=width).tolist() == rows


@given(
    body=st.one_of(
        st.binary(max_size=80), st.text("0123456789.,-+eE \n\r[]{}\"naNif_:'xtrue", max_size=60).map(str.encode)
    )
)
@settings(max_examples=400, deadline=None)
def test_hostile_body_must_be_finite_rows_or_a_refusal(body):
    """Whatever the bytes, a decoder gives n×d finite values or a 400 with a message."""
    for decode in DECODERS:
        check_rows_or_refusal(lambda decode=decode: decode(body, feature_dim=2))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["instances", "features", "data", "values", "keys", "shape", "x"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@given(document=json_values)
@settings(max_examples=300, deadline=None)
def test_hostile_json_must_be_finite_rows_or_a_refusal(document):
    """Any JSON document, in the right shape or not, gives finite rows or a 400."""
    for decode in (decode_json, decode_jsonlines):
        check_rows_or_refusal(lambda decode=decode: decode(json.dumps(document).encode(), feature_dim=2))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"1,2", "row 1 has 2 values; the model expects 3"),
        (b"1,2,3\n1,2,3,4", "row 2 has 4 values; the model expects 3"),
        (b"1,2,3\n\n1,2,3", "row 2 has 0 values"),
        (b"\n", "row 1 has 0 values"),
        (b"a,b,c\n1,2,3", "row 1, column 1: 'a' is not a finite number (the data must come without a header line)"),
        (b"1,2,3\n1,nan,3", "row 2, column 2: 'nan'"),
        (b"1,2,inf", "row 1, column 3: 'inf'"),
        (b"1,2,1e999", "column 3: inf is not a finite number"),
        (b"1,2,", "row 1, column 3: ''"),
        (b"1,2,1_0", "row 1, column 3: '1_0'"),
        (b'1,2,"3"', "row 1, column 3"),
        (b"1,2,0x10", "row 1, column 3"),
        (b"1,2],[3", "row 1, column 2: '2]'"),
        (b"1,2,true", "row 1, column 3: 'true'"),
        ("1,2,٣".encode(), "row 1, column 3"),
        (b"1;2;3", "row 1 has 1 values"),
    ],
)
def test_csv_must_name_row_and_column_of_what_it_refuses(body, says):
    """The message says where, what, and what was expected."""
    assert says in refused(decode_csv, body)


@pytest.mark.parametrize("cell", ["+1", ".5", "5.", "007", " 1 ", "1E3", "-0", "1e-400", "9" * 300])
def test_csv_must_take_every_spelling_of_a_decimal_number(cell):
    """CSV isn't JSON: signs, bare points, leading zeros and padding are numbers too."""
    assert decode_csv(f"{cell},1".encode(), feature_dim=2).tolist() == [[float(cell), 1.0]]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "is not JSON"),
        (b'{"instances":[{"features":[1,2,3]},{"features":[1,2,NaN]}]}', "row 2, column 3: nan is not a finite number"),
        (b"[1,-Infinity,2]", "row 1, column 2: -inf is not a finite number"),
        (b"[1,2,1e999]", "row 1, column 3: inf is not a finite number"),
        (b'{"instances":[[1,2,3]],"x":NaN}', "x"),
        (b'{"features":[1,2,3],"\\ud800":1}', "nothing is known"),
        ("[1,2,3]".encode("utf-16"), "is not JSON"),
        (b"[1,2,true]", "row 1, column 3: expected a number, got bool"),
        (b'[1,2,"3"]', "got str '3'"),
        (b"[[1,2,3],[1,null,3]]", "row 2, column 2: expected a number, got NoneType"),
        (b"[[1,2,3],[1,2]]", "row 2 has 2 values; the model expects 3"),
        (b"[[1,2,3],4]", "row 2: expected a list of 3 numbers"),
        (b'{"instances":[]}', "no rows"),
        (b"[]", "no rows"),
        (b"3", "expected"),
        (b'{"instances":3}', "must be a list"),
        (b'{"instances":[],"parameters":{}}', "parameters"),
        (b'{"rows":[1,2,3]}', "rows"),
        (b'{"data":3}', '"data" must be an object'),
        (b'{"data":{"features":{"values":[1],"keys":[0],"shape":[4]}}}', "the model expects 3 columns"),
        (b'{"features":{"values":[1,2,3],"axis":[4]}}', "axis"),
        (b'{"features":{"values":[1,2,3],"shape":3}}', '"shape" must be a list'),
        (b'{"features":{"values":[1,2,3],"shape":[4]}}', '"shape"'),
        (b"[[1,2," + b"1" * 400 + b"]]", "row 1, column 3: the number is too large for 64-bit floating point"),
        (b"[[1,2," + b"1" * 5000 + b"]]", "number is infinity"),
        (b"[" + b"[]," * 300_000 + b"[]]", "300002 lists"),
        (b"[" * 5000, "is not JSON"),
    ],
)  # fmt: skip
def test_json_must_name_what_it_refuses(body, says):
    """Booleans, strings, null, NaN, ragged and sparse rows are refused by name."""
    assert says in refused(decode_json, body)


def test_jsonlines_must_name_the_line():
    """The row in a message is the line."""
    assert "row 2 is not JSON" in refused(decode_jsonlines, b"[1,2,3]\nnonsense")
    assert "row 2, column 3: nan" in refused(decode_jsonlines, b"[1,2,3]\n[1,2,NaN]\n")


@pytest.mark.parametrize("scores", [[0.25, 1.0], [[0.5, 0.5], [0.1, 0.9]]])
def test_responses_must_agree_in_every_format(scores):
    """JSON, JSON lines and CSV carry the same numbers, scores before labels."""
    predictions = Predictions({"score": np.array(scores), "predicted_label": np.array([0, 1])})
    expected = [{"score": score, "predicted_label": label} for score, label in zip(scores, [0, 1], strict=True)]
    bodies = {media: encoder.encode(predictions, counts=[2])[0] for media, encoder in ENCODERS.items()}
    assert orjson.loads(bodies["application/json"]) == {"predictions": expected}
    assert [orjson.loads(line) for line in bodies["application/jsonlines"].splitlines()] == expected
    for line, score, label in zip(bodies["text/csv"].decode().splitlines(), scores, [0, 1], strict=True):
        assert [float(cell) for cell in line.split(",")] == [*np.atleast_1d(score), label]


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("text/*", "text/csv"),
        ("TEXT/CSV", "text/csv"),
        ("text/csv;q=0.1, application/jsonlines", "application/jsonlines"),
        ("text/html,*/*;q=0.1", "application/json"),
        ("text/csv;q=0", None),
        ("image/png", None),
        ("text/csv;q=2", None),
        ("text/csv;q=x", None),
        ("application/json; charset=utf-8", "application/json"),
        ("application/json; indent=2", None),
        ("application/json; verbose=2", None),
        ("application/json; verbose=true; q=0.5, text/csv; q=0.4", "application/json"),
        ("application/x-npy", "application/x-npy"),
        ("application/x-recordio-protobuf; verbose=true", "application/x-recordio-protobuf"),
    ],
)
def test_accept_must_select_the_best_format_or_be_refused(accept, media):
    """Quality values and wildcards work as RFC 9110 says; what can't be written is 406."""
    if media is None:
        with pytest.raises(RequestError) as caught:
            encoder_for(accept, default="application/json")
        assert caught.value.status == 406
    else:
        assert encoder_for(accept, default="application/json").media_type == media


@given(text=st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_headers_must_select_or_be_refused_whatever_they_hold(text):
    """No header value is more than a 415 or 406."""
    for select in (decoder_for, lambda value: encoder_for(value, default="application/json")):
        refusal = refusal_of(lambda select=select: select(text))
        assert refusal is None or refusal.status in (415, 406)


def test_refused_value_must_be_shown_shortened_with_a_mark():
    """A long cell doesn't flood the answer, and the cut is visible."""
    message = refused(decode_csv, b"1,2," + b"z" * 5000)
    assert "…" in message
    assert len(message) < 200


def test_rows_of_a_model_of_any_width_must_be_as_wide_as_the_first():
    """Where the model doesn't say how wide a row is, the first row does, in every text format."""
    lines = ["1,2", "3,4"]
    for body, decode in (("\n".join(lines), decode_csv), (f"[[{lines[0]}],[{lines[1]}]]", decode_json)):
        assert decode(body.encode(), feature_dim=None).tolist() == [[1, 2], [3, 4]]
    assert "row 2 has 1 values; row 1 has 2" in refused(decode_csv, b"1,2\n3", feature_dim=None)
    assert "row 2 has 1 values; row 1 has 2" in refused(decode_json, b"[[1,2],[3]]", feature_dim=None)
    assert "row 1 has 0 values; send at least one" in refused(decode_csv, b"\n", feature_dim=None)
    assert "row 1 has 0 values; send at least one" in refused(decode_json, b"[[]]", feature_dim=None)


@pytest.mark.parametrize(
    ("content_type", "says"),
    [
        ("", "no Content-Type"),
        ("image/png", "'image/png' is not supported; supported: text/csv, application/json"),
        ("text/csv; header=present", "'header=present' of text/csv is not supported; supported: charset=us-ascii"),
        ("text/csv; label_size=1", "label_size=1"),
        ("text/csv; charset=latin-1", "charset=latin-1"),
        ("application/x-npy; charset=utf-8", "supported: none"),
        ("application/json; verbose=true", "verbose=true"),
    ],
)
def test_unsupported_content_type_must_say_what_is_supported(content_type, says):
    """A type or parameter that would be ignored is a 415 that lists the legal ones."""
    with pytest.raises(RequestError) as caught:
        decoder_for(content_type)
    assert caught.value.status == 415
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/csv;label_size=0",
        'Text/CSV; Charset="UTF-8"; header=absent',
        "text/x-libsvm; charset=us-ascii",
        *BY_MEDIA_TYPE,
    ],
)
def test_supported_content_type_must_be_accepted(content_type):
    """Every type in the list, in any case, with the parameters that are honoured."""
    assert decoder_for(content_type).media_type == content_type.partition(";")[0].strip().lower()


def test_documented_formats_must_be_those_there_are():
    """docs/formats.md lists every media type that is read or written, and no other."""
    text = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()
    requests, answers = (part.split("\n\n")[0] for part in text.split("| rows |", 1)[1].split("| Accept |", 1))
    known = "[a-z]+/[a-z-]+"
    assert {
        media
        for line in requests.splitlines()
        for media in re.findall(f"`({known})`", line.split("|")[1:2].pop() if "|" in line else "")
    } == set(BY_MEDIA_TYPE)
    assert set(re.findall(rf"^\| `({known})`", answers, re.MULTILINE)) == set(ENCODERS)
