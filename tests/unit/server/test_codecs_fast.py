"""The compiled reader: exact to the last bit, and of one mind with the slow one about every body."""

import json
import math
import re
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sagebrush_server.codecs.csv_rows import CsvDecoder
from sagebrush_server.codecs.csv_rows import _read_slowly as read_csv_slowly
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.json_rows import JSON, JSON_LINES
from sagebrush_server.codecs.number_rows import read_rows

CSV = CsvDecoder()
SPELLING = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)

numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.from_regex(SPELLING, fullmatch=True),
    st.sampled_from(
        ["-0", "-0.0", "0", "-0e5", "9e99", "90e98", "5e-324", "2.4703282292062328e-324", "1e400", "-1e309"]
    ),
    st.sampled_from(["9007199254740993", "1.7976931348623159e308", "18446744073709551616", "0." + "0" * 350 + "1"]),
)
strange = st.sampled_from(["", " ", "+1", ".5", "5.", "007", "nan", "inf", "true", "null", '"1"', "[1]", "]", "[", "{}", "1_0", "\r", "1 2", "\0", "\t3 "])  # fmt: skip


def bits(value):
    return struct.pack("<d", value)


def is_plain(cell):
    """Whether it is beyond doubt what a number is: not -0, not beyond what float64 has."""
    value = float(cell)
    is_zero = not any(digit in "123456789" for digit in re.split("[eE]", cell)[0])
    return cell != "-0" and (is_zero or 1e-300 < abs(value) < math.inf)


def verdict(decode):
    """What a decoder says: its rows to the last bit, or its refusal."""
    try:
        rows = decode()
    except RequestError as refusal:
        return refusal.status, str(refusal)
    return rows.shape, rows.tobytes()


def check_together(decoder, bodies, *, feature_dim):
    together = decoder.decode_together(bodies, feature_dim=feature_dim)
    if together is None:
        return
    rows, counts = together
    one_by_one = [decoder.decode(body, feature_dim=feature_dim) for body in bodies]
    assert list(counts) == [len(part) for part in one_by_one]
    assert rows.tobytes() == np.concatenate(one_by_one).tobytes()


@given(cells=st.lists(numbers, min_size=1, max_size=6))
@settings(max_examples=80, deadline=None)
def test_fast_reader_must_give_the_bits_of_float(cells):
    """Each value is float() of its text; what the reader can't say so of, it leaves to the slow one."""
    read = read_rows([",".join(cells).encode()], joint=b"\n", width=len(cells))
    expected = [float(cell) for cell in cells]
    if read is None:
        assert not all(map(is_plain, cells))
    else:
        assert [bits(value) for value in read[0][0].tolist()] == [bits(value) for value in expected]
    if all(map(math.isfinite, expected)):
        got = CSV.decode(",".join(cells).encode(), feature_dim=len(cells))
        assert [bits(value) for value in got[0].tolist()] == [bits(value) for value in expected]


cells = st.one_of(numbers, numbers, numbers, strange)
lines = st.lists(cells, min_size=1, max_size=4).map(",".join)
csv_bodies = st.tuples(st.lists(lines, min_size=1, max_size=3), st.sampled_from(["\n", "\r\n"]), st.booleans()).map(
    lambda parts: (parts[1].join(parts[0]) + (parts[1] if parts[2] else "")).encode()
)


@given(body=csv_bodies, width=st.none() | st.integers(1, 4))
@settings(max_examples=80, deadline=None)
@example(body=b"1,2,9e99,3,4", width=2)
@example(body=b"1\n9e99\n2", width=1)
@example(body=b"0,0\n1,2,9e99\n4", width=2)
@example(body=b"1,[2\n3],4", width=2)
@example(body=b"-0,1", width=2)
@example(body=b"1,-0", width=2)
def test_csv_must_be_judged_as_the_slow_reader_judges(body, width):
    """Rows, bits, refusals and their words are the same whether the fast way was gone or not."""
    text = body.replace(b"\r\n", b"\n").removesuffix(b"\n")
    first = width or text.split(b"\n")[0].count(b",") + 1
    slow = verdict(lambda: read_csv_slowly(text, width=first, feature_dim=width))
    assert verdict(lambda: CSV.decode(body, feature_dim=width)) == slow


@given(bodies=st.lists(csv_bodies, min_size=1, max_size=4), width=st.integers(1, 3))
@settings(max_examples=80, deadline=None)
@example(bodies=[b"1,2\n3", b"4"], width=2)
@example(bodies=[b"", b"1\n2"], width=1)
@example(bodies=[b"1,2,9e99", b"4"], width=2)
@example(bodies=[b"1\n2\n", b"3"], width=1)
def test_csv_bodies_together_must_be_what_they_are_alone(bodies, width):
    """Read at once, each body has the rows it has by itself; a doubt about one sends all of them their own way."""
    check_together(CSV, bodies, feature_dim=width)


def test_plain_csv_bodies_must_be_read_together():
    """The common case is not left to chance: one row each, with and without a line's end, and several rows."""
    rows, counts = CSV.decode_together([b"1,2", b"3,4\n", b"-0.5,6e2\r\n"], feature_dim=2)
    assert (rows.tolist(), list(counts)) == ([[1, 2], [3, 4], [-0.5, 600]], [1, 1, 1])
    rows, counts = CSV.decode_together([b"1,2\n3,4\n", b"5,6"], feature_dim=2)
    assert (rows.tolist(), list(counts)) == ([[1, 2], [3, 4], [5, 6]], [2, 1])


WRAPPINGS = [
    ("[", "]"),
    ("[[", "]]"),
    ('{"instances": [', "]}"),
    ('{"instances": [[', "]]}"),
    ('{"instances": [{"features": [', "]}]}"),
    ('{"features":[', "]}"),
    ('{"data":{"features":{"values":[', "]}}}"),
    ('{"instances":[{"data":{"features":{"values":[', '],"shape":[2]}}}]}'),
    ('{"instances":[{"features":{"keys":[],"values":[', '],"shape":[]}}]}'),
    ('{"instances":[{"features":[', ']}],"instances":[]}'),
    ('{"features":[1],"features":[', "]}"),
    ('{"instances":[{"features":[', "]}]} \n"),
    ('{"a":[', "]}"),
    ("[1,2],[", "]"),
]  # fmt: skip
json_rows = st.lists(cells, min_size=1, max_size=3).map(",".join)
json_bodies = st.one_of(
    st.tuples(st.sampled_from(WRAPPINGS), json_rows).map(lambda parts: parts[1].join(parts[0]).encode()),
    st.tuples(
        st.sampled_from(WRAPPINGS), st.lists(json_rows, min_size=1, max_size=3), st.sampled_from(["],[", "], [", "],["," "])
    ).map(lambda parts: parts[2].join(parts[1]).join(parts[0]).encode()),
    st.tuples(st.lists(json_rows, min_size=1, max_size=3), st.sampled_from([']}, {"features": [', "]},{"])).map(
        lambda parts: ('{"instances": [{"features": [' + parts[1].join(parts[0]) + "]}]}").encode()
    ),
)  # fmt: skip


@given(body=json_bodies, width=st.none() | st.integers(1, 3))
@settings(max_examples=80, deadline=None)
@example(body=b"[1,2\x003,4]", width=2)
@example(body=b"[1,2]3,4]", width=2)
@example(body=b"[[1],[2]", width=1)
@example(body=b'{"features":{"values":[1,2],"shape":[1]}}', width=2)
@example(body=b"]", width=1)
@example(body=b"[]", width=1)
@example(body=b"]1[", width=1)
def test_json_must_be_judged_as_the_slow_reader_judges(body, width):
    """Rows, bits, refusals and their words are the same whether the fast way was gone or not."""
    for decoder in (JSON, JSON_LINES):
        slow = verdict(lambda decoder=decoder: decoder.read(body, feature_dim=width))
        assert verdict(lambda decoder=decoder: decoder.decode(body, feature_dim=width)) == slow


json_line_bodies = st.lists(json_rows.map(lambda row: f"[{row}]"), min_size=1, max_size=3).flatmap(
    lambda rows: st.sampled_from(["\n", "\r\n", "\n\n", " \n ", "\t\n"]).map(lambda end: end.join(rows).encode())
)


@given(body=json_line_bodies, width=st.integers(1, 3))
@settings(max_examples=80, deadline=None)
@example(body=b"[1,\n2]", width=2)
@example(body=b"[1,2]\n[3,\n4]", width=2)
@example(body=b"[1,2]\n[3,4]\n", width=2)
def test_json_lines_must_be_judged_as_the_slow_reader_judges(body, width):
    """A line's end within a row is white space in JSON, and the end of a row here."""
    slow = verdict(lambda: JSON_LINES.read(body, feature_dim=width))
    assert verdict(lambda: JSON_LINES.decode(body, feature_dim=width)) == slow


@given(bodies=st.lists(json_bodies, min_size=1, max_size=3), width=st.integers(1, 3))
@settings(max_examples=80, deadline=None)
@example(bodies=[b"[1,2]\x00[3", b",4]"], width=2)
@example(bodies=[b"[1,2][3", b",4]"], width=2)
@example(bodies=[b"[[1,2],[3", b"4,5]]"], width=2)
@example(bodies=[b"[1,2]", b"[3,4]\x00[5,6]"], width=2)
def test_json_bodies_together_must_be_what_they_are_alone(bodies, width):
    """No body can pretend to end, or to begin, in another one."""
    for decoder in (JSON, JSON_LINES):
        check_together(decoder, bodies, feature_dim=width)


@given(wrapping=st.sampled_from(WRAPPINGS), rows=st.lists(json_rows, min_size=2, max_size=4), cut=st.integers(0, 200))
@settings(max_examples=80, deadline=None)
def test_json_in_the_same_wrapping_must_be_what_it_is_alone(wrapping, rows, cut):
    """Bodies that look alike, and the same bodies cut at the wrong place."""
    bodies = [row.join(wrapping).encode() for row in rows]
    joined = b"".join(bodies)
    for parts in (bodies, [joined[: cut % len(joined)], joined[cut % len(joined) :]]):
        for decoder in (JSON, JSON_LINES):
            check_together(decoder, parts, feature_dim=2)


@pytest.mark.parametrize("wrapping", [pair for pair in WRAPPINGS[:7] if pair != ('{"instances": [', "]}")])
def test_plain_json_bodies_must_be_read_together(wrapping):
    """The shapes of SageMaker's guide go the fast way, one row each."""
    bodies = [row.join(wrapping).encode() for row in ("1, 2", "3,4.5")]
    rows, counts = JSON.decode_together(bodies, feature_dim=2)
    assert (rows.tolist(), counts) == ([[1, 2], [3, 4.5]], [1, 1])


def test_many_rows_of_json_must_go_the_fast_way(monkeypatch):
    """The slow reader sees the wrapping of a body once, never its rows."""
    seen = []

    def read(body, *, feature_dim):
        seen.append(body)
        return JSON.read(body, feature_dim=feature_dim)

    decoder = type(JSON)("application/json", read, JSON.white)
    for number in range(3):
        body = json.dumps({"instances": [{"features": [number + row + 0.5, 2]} for row in range(50)]}).encode()
        assert decoder.decode(body, feature_dim=2).tolist() == [[number + row + 0.5, 2] for row in range(50)]
    assert len(seen) == 2
    assert max(map(len, seen)) < 200


def test_large_bodies_must_be_read_together():
    """Several rows in each of several bodies, more than is read in one go without letting other threads run."""
    rows = [[number + column / 8 for column in range(25)] for number in range(1500)]
    body = "\n".join(",".join(map(str, row)) for row in rows).encode()
    assert len(body) > 128 * 1024
    read, counts = CSV.decode_together([body, b"1" + b",2" * 24, body + b"\r\n"], feature_dim=25)
    assert counts == [1500, 1, 1500]
    assert read.tolist() == [*rows, [1] + [2] * 24, *rows]


def test_text_must_not_ask_for_more_memory_than_it_is_worth():
    """A row of a million values needs as much text, or there is no such row."""
    tracemalloc.start()
    try:
        assert read_rows([b"\n" * 100_000], joint=b"\n", width=1_000_000) is None
        assert read_rows([b"1"], joint=b"\n", width=2**62) is None
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_rows_must_have_a_width_and_an_end():
    """What has neither is a mistake of the caller."""
    with pytest.raises(ValueError, match="at least one value"):
        read_rows([b"1"], joint=b"\n", width=0)
    with pytest.raises(ValueError, match="a joint at least one byte"):
        read_rows([b"1"], joint=b"", width=1)
