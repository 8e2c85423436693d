"""Every decoder against a corpus of hostile bodies, and against valid bodies with bytes changed at random.

The corpus is of small files, hand-made and found by a coverage-guided fuzzer. A body that ever broke a decoder goes there.
"""

import importlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs.errors import RequestError
from sagebrush_server.codecs.negotiation import DECODERS

CORPUS = Path(__file__).parent / "corpus"
MEDIA_TYPES = {
    "csv": "text/csv",
    "json": "application/json",
    "jsonlines": "application/jsonlines",
    "npy": "application/x-npy",
    "npz": "application/x-npz",
    "libsvm": "text/libsvm",
    "recordio": "application/x-recordio-protobuf",
    "parquet": "application/x-parquet",
}
BODIES = {folder: [path.read_bytes() for path in sorted((CORPUS / folder).iterdir())] for folder in MEDIA_TYPES}
WIDTH = 3


def check_rows(rows, *, feature_dim):
    """What a decoder may return: finite rows of the right width."""
    assert len(rows) > 0
    if isinstance(rows, SparseRows):
        assert rows.width == (feature_dim or rows.width)
        assert rows.indptr[0] == 0
        assert rows.indptr[-1] == len(rows.indices) == len(rows.values)
        assert (np.diff(rows.indptr) >= 0).all()
        assert ((rows.indices >= 0) & (rows.indices < rows.width)).all()
        assert np.isfinite(rows.values).all()
    else:
        assert rows.dtype == np.float64
        assert rows.ndim == 2
        assert rows.shape[1] == (feature_dim or rows.shape[1]) > 0
        assert np.isfinite(rows).all()


def check_refusal(refusal):
    """What a decoder may raise: a client's fault, in a message that can be shown."""
    assert refusal.status in (400, 413)
    assert 0 < len(str(refusal)) < 500


def check_decoder(decoder, body):
    """Rows or a refusal; the same together as alone; nothing else."""
    outcome = None
    for feature_dim in (None, WIDTH):
        try:
            outcome = decoder.decode(body, feature_dim=feature_dim)
        except RequestError as refusal:
            check_refusal(refusal)
            outcome = None
        else:
            check_rows(outcome, feature_dim=feature_dim)
    together = decoder.decode_together([body, body], feature_dim=WIDTH)
    if together is not None:
        rows, counts = together
        assert outcome is not None
        assert list(counts) == [len(outcome)] * 2
        assert rows.tobytes() == outcome.tobytes() * 2


@pytest.mark.parametrize("folder", sorted(MEDIA_TYPES))
def test_corpus_must_be_rows_or_a_refusal_in_bounded_memory(folder):
    """Each file takes at most a few megabytes, whatever it declares."""
    decoder = DECODERS[MEDIA_TYPES[folder]]
    if folder == "parquet":
        importlib.import_module("pyarrow.parquet")
    check_decoder(decoder, BODIES[folder][0])
    tracemalloc.start()
    try:
        for body in BODIES[folder]:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            check_decoder(decoder, body)
            assert tracemalloc.get_traced_memory()[1] - before < 8_000_000
    finally:
        tracemalloc.stop()


def test_corpus_must_hold_rows_and_refusals_of_every_format():
    """A corpus of which nothing is read, or everything, would test half of a decoder."""
    for folder, media_type in MEDIA_TYPES.items():
        outcomes = set()
        for body in BODIES[folder]:
            try:
                DECODERS[media_type].decode(body, feature_dim=WIDTH)
                outcomes.add("rows")
            except RequestError:
                outcomes.add("refusal")
        assert outcomes == {"rows", "refusal"}, folder


edits = st.lists(
    st.tuples(st.integers(0, 10_000), st.integers(0, 3), st.binary(min_size=1, max_size=4) | st.sampled_from([b"\xff" * 8, bytes(8), b"9" * 30, b"[", b"\n"])),
    min_size=1,
    max_size=6,
)  # fmt: skip


def edited(body, changes):
    """Overwrite, insert, cut out or repeat bytes."""
    data = bytearray(body)
    for place, kind, content in changes:
        at = place % (len(data) + 1)
        if kind == 0:
            data[at : at + len(content)] = content
        elif kind == 1:
            data[at:at] = content
        elif kind == 2:
            del data[at : at + len(content)]
        else:
            data[at:at] = data[at : at + 40]
    return bytes(data)


@pytest.mark.parametrize("folder", sorted(MEDIA_TYPES))
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_changed_body_must_be_rows_or_a_refusal(folder, data):
    """Bodies with a few bytes wrong are what finds the checks that are missing."""
    body = data.draw(st.sampled_from(BODIES[folder]))
    check_decoder(DECODERS[MEDIA_TYPES[folder]], edited(body, data.draw(edits)))


@pytest.mark.parametrize(
    ("folder", "body"),
    [
        ("csv", b"\n" * 300_000),
        ("csv", b"," * 300_000),
        ("csv", b"1,1,x\n" * 50_000),
        ("csv", b"1,1,+1\n" * 50_000),
        ("csv", b"1" * 300_000),
        ("csv", b"1" * 300_000 + b"x"),
        ("csv", b" " * 300_000 + b"x"),
        ("csv", b"1,2,0." + b"0" * 300_000 + b"1"),
        ("json", b"[" + b"1," * 150_000 + b"1]"),
        ("json", b'{"instances":[' + b"{}," * 90_000 + b"{}]}"),
        ("json", b"[" * 300_000),
        ("json", b"[1,2,NaN" * 30_000),
        ("json", b'["' + b"x" * 300_000 + b'"]'),
        ("json", b"[" + b"9" * 300_000 + b"]"),
        ("jsonlines", b"\n" * 300_000),
        ("jsonlines", b"{}\n" * 90_000),
        ("libsvm", b"1\n" * 30_000),
        ("libsvm", b"0:1 " * 30_000),
        ("libsvm", b"0:" + b"1" * 300_000 + b"x"),
        ("libsvm", b"1" * 300_000 + b":1"),
        ("recordio", b"\x0a\x23\xd7\xce\x00\x00\x00\x00" * 30_000),
        ("recordio", b"\x0a\x23\xd7\xce\x00\x00\x04\x00" + b"\x0a\x00" * 131_072),
    ],
)
def test_large_hostile_body_must_cost_in_proportion(folder, body):
    """Much nonsense takes no more than a hundred times its size, and a time that grows as it does."""
    tracemalloc.start()
    try:
        check_decoder(DECODERS[MEDIA_TYPES[folder]], body)
        assert tracemalloc.get_traced_memory()[1] < 100 * len(body)
    finally:
        tracemalloc.stop()
