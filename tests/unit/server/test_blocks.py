"""Training data in blocks: every format, any number of passes, bounded memory, errors with file, row and column."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush_server.algorithms.model import SparseRows
from sagebrush_server.codecs.recordio import write_rows
from sagebrush_server.errors import ClientError
from sagebrush_server.training import blocks
from sagebrush_server.training.blocks import open_rows
from sagebrush_server.training.formats import base, lines
from sagebrush_server.training.formats.recordio_rows import RecordioFormat
from sagebrush_server.training.job import Channel


@pytest.fixture
def channel(tmp_path):
    """Write files into a channel's folder."""

    def build(files, content_type="text/csv", **more):
        for name, data in files.items():
            (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return Channel("train", tmp_path, content_type=content_type, **more)

    return build


def table_of(source, **options):
    parts = [np.column_stack((block.labels, block.features)) for block in source.blocks(**options)]
    return np.concatenate(parts)


def csv(table):
    return "".join(",".join(repr(float(value)) for value in row) + "\n" for row in table)


@pytest.fixture
def small_pieces(monkeypatch):
    """Cut files into pieces of a few lines."""
    monkeypatch.setattr(lines.LineFormat.__init__, "__defaults__", (64,))


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("keep_bytes", [0, 10**9], ids=["read anew", "kept"])
@pytest.mark.parametrize("rows", [None, 1, 7, 1000])
def test_every_pass_must_show_every_row_once(channel, keep_bytes, rows):
    """In order or shuffled, in blocks of any size, from memory or from the files: the same rows, in every pass."""
    table = np.random.default_rng(0).normal(size=(101, 4))
    source = open_rows(channel({"a.csv": csv(table[:60]), "b.csv": csv(table[60:])}), label=True, keep_bytes=keep_bytes)
    assert source.width == 3
    for _ in range(2):
        assert np.array_equal(table_of(source, rows=rows), table)
        first, again, other = (table_of(source, rows=rows, seed=seed) for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
        for shuffled in (first, other):
            assert np.array_equal(shuffled[np.lexsort(shuffled.T)], table[np.lexsort(table.T)])
    sizes = [len(block) for block in source.blocks(rows or 7, seed=0)]
    assert set(sizes[:-1]) <= {rows or 7}
    assert sum(sizes) == source.count == 101
    assert (source._kept is not None) == (keep_bytes > 0)


@pytest.mark.usefixtures("small_pieces")
def test_shuffled_pass_must_mix_what_the_files_keep_apart(channel):
    """Data sorted by label must not come sorted to gradient descent, though they don't fit into memory."""
    table = np.column_stack((np.repeat([0, 1], 400), np.arange(800)))
    source = open_rows(channel({"a.csv": csv(table)}), label=True, keep_bytes=0)
    means = [block.labels.mean() for block in source.blocks(100, seed=3)]
    assert 0.05 < min(means)
    assert max(means) < 0.95


@pytest.mark.usefixtures("small_pieces")
def test_shares_of_the_hosts_must_make_up_the_whole(channel):
    """Hosts that all have the same files take rows in turn: none twice, none left out, even of one tiny file."""
    table = np.arange(44.0).reshape(22, 2)
    train = channel({"a.csv": csv(table)})
    parts = [table_of(open_rows(train, label=True, share=(i, 3), keep_bytes=i)) for i in range(3)]
    whole = np.concatenate(parts)
    assert np.array_equal(whole[np.argsort(whole[:, 0])], table)
    assert min(map(len, parts)) > 3


@given(
    table=st.lists(st.lists(st.floats(-1e307, 1e307), min_size=3, max_size=3), min_size=1, max_size=8),
    style=st.sampled_from(["{!r}", "{:.3e}", "{:+.4g}", " {!r} ", "{:.0f}"]),
    ending=st.sampled_from(["\n", "\r\n", "\n\n"]),
    piece_bytes=st.integers(1, 200),
)
@settings(max_examples=60, deadline=None)
def test_csv_must_be_read_as_python_reads_its_numbers(tmp_path_factory, table, style, ending, piece_bytes):
    """Whatever the spelling, line ends and pieces: bit for bit float() of each cell."""
    from sagebrush_server.training.formats.csv_rows import CsvFormat

    path = tmp_path_factory.getbasetemp() / "any.csv"
    cells = [[style.format(value) for value in row] for row in table]
    path.write_text("".join(",".join(row) + ending for row in cells), newline="")
    reader = CsvFormat(base.Layout("train", label_size=0), piece_bytes=piece_bytes)
    found = [reader.read(piece) for piece in reader.pieces(path)]
    expected = np.array([[float(cell) for cell in row] for row in cells])
    assert np.array_equal(np.concatenate([block.features for block in found if len(block)]), expected)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0,1,2\n" * 50 + "1,x,2\n", "channel train: a.csv, row 51, column 2: 'x' is not a finite number"),
        ("0,1,2\n" * 50 + "1,2\n", "a.csv, row 51"),
        ("0,1,2\n\n1,[2,3]\n", "a.csv, row 2, column 2: '[2' is not"),
        ("0,1,2\n1,2\n3,4,5,6\n", "row 2 has 2 columns, the rows before it 3"),
        ("0,1,2\n1,1e999,2\n", "row 2, column 2: '1e999'"),
        ("0,1,2\n1,,2\n", "row 2, column 2: ''"),
        ("0,1,2\n1,1_0,2\n", "row 2, column 2: '1_0'"),
        ('0,1,2\n1,"3",2\n', "row 2, column 2: '\"3\"'"),
        ("0,1,2\n1,null,true\n", "row 2, column 2: 'null'"),
        ("l,a,b\n1,2,3\n", "row 1, column 1: 'l' is not a finite number (the data must come without a header line)"),
        ("1\n2\n", "a label and at least one feature"),
        ("\n \n", "a.csv is empty"),
    ],
)
def test_csv_must_be_refused_by_file_row_and_column(channel, text, says):
    """The user learns which file, row and column to mend, wherever in a large file it is."""
    with pytest.raises(ClientError) as caught:
        table_of(open_rows(channel({"a.csv": text}), label=True))
    assert says in str(caught.value)


def test_width_must_be_the_same_in_all_files_and_as_the_user_said(channel):
    """A file of another width and a wrong feature_dim are refused with both numbers."""
    train = channel({"a.csv": "0,1,2\n", "b.csv": "0,1,2,3\n"})
    with pytest.raises(ClientError, match=r"b\.csv, row 1 has 3 features, the rows before it 2"):
        table_of(open_rows(train, label=True))
    with pytest.raises(ClientError, match="rows have 2 features; feature_dim says 9"):
        open_rows(train, label=True, feature_dim=9)


def test_labels_weights_and_gaps_must_be_found_where_they_are(channel):
    """label_size of the content type, a column of weights, and empty cells as NaN where they are allowed."""
    train = channel({"a.csv": "1,0.5,,nan\n0,2,7,\n"})
    block = next(open_rows(train, label=True, weights=True, missing=True).blocks())
    assert (block.labels.tolist(), block.weights.tolist()) == ([1, 0], [0.5, 2])
    assert np.array_equal(block.features, [[np.nan, np.nan], [7, np.nan]], equal_nan=True)
    plain = channel({"a.csv": "1,2\n"}, content_type="text/csv; label_size=0")
    block = next(open_rows(plain, label=False).blocks())
    assert (block.labels, block.features.tolist()) == (None, [[1, 2]])
    with pytest.raises(ClientError, match="label_size must be 1"):
        open_rows(plain, label=True)
    unsaid = channel({"a.csv": "1,2\n"})
    assert open_rows(unsaid, label=False, default_label_size=0).width == 2
    assert open_rows(unsaid, label=False).width == 1
    gap = channel({"a.csv": ",1,2\n"})
    with pytest.raises(ClientError, match="row 1, column 1"):
        table_of(open_rows(gap, label=True, missing=True))


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("keep_bytes", [0, 10**9])
def test_libsvm_must_give_sparse_rows_of_one_width(channel, keep_bytes):
    """Columns count from 0, absent ones are 0, weights follow the label, and the widest row sets the width."""
    text = "1:0.5 0:1.5 3:2 # a remark\n" + "0:1 \n" * 30 + "1:2 7:-1e3\n"
    source = open_rows(channel({"a": text}, content_type="text/libsvm"), label=True, keep_bytes=keep_bytes)
    assert (source.sparse, source.width) == (True, 8)
    for rows in (None, 5):
        found = list(source.blocks(rows))
        assert all(block.features.shape[1] == 8 for block in found)
        dense = np.concatenate([block.features.toarray() for block in found])
        assert dense[0].tolist() == [1.5, 0, 0, 2, 0, 0, 0, 0]
        assert dense[31, 7] == -1000
        assert np.concatenate([block.weights for block in found]).tolist() == [0.5, *[1] * 30, 2]
    with pytest.raises(ClientError, match="has the column 7; feature_dim says 4"):
        list(open_rows(channel({}, content_type="text/libsvm"), label=True, feature_dim=4).blocks())


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("x 0:1", "row 31: the label 'x' is not a finite number"),
        ("1 0:nan", "row 31: column 0 'nan' is not a finite number"),
        ("1 -1:2", "row 31: '-1:2' is not column:value"),
        ("1 2", "row 31: '2' is not column:value"),
        ("1 3:1 2:1", "row 31: column 2 stands after column 3; sort them"),
        ("1 99999999999:1", "row 31: '99999999999:1' is not"),
        ("1:1 0:1", "some rows have a weight and others none"),
    ],
)
def test_libsvm_must_be_refused_by_file_and_row(channel, line, says):
    """The user learns which row to mend."""
    with pytest.raises(ClientError) as caught:
        list(
            open_rows(channel({"a": "0 1:1\n" * 30 + line + " 1:1\n"}, content_type="text/libsvm"), label=True).blocks()
        )
    assert says in str(caught.value)


@pytest.mark.parametrize("kind", ["npy", "parquet"])
def test_binary_tables_must_be_read_as_they_are(channel, tmp_path, kind, monkeypatch):
    """NumPy and Parquet: the label in the first column; a bad value is named by row and column."""
    monkeypatch.setattr(base, "PIECE_BYTES", 100)
    table = np.random.default_rng(0).normal(size=(50, 3))
    write_table(tmp_path / "a", table, kind=kind)
    train = channel({}, content_type=f"application/x-{kind}")
    assert np.array_equal(table_of(open_rows(train, label=True, keep_bytes=0), rows=7), table)
    assert np.array_equal(table_of(open_rows(channel({}, content_type=""), label=True)), table)
    table[40, 2] = np.nan
    write_table(tmp_path / "a", table, kind=kind)
    with pytest.raises(ClientError, match="row 41"):
        table_of(open_rows(train, label=True))
    assert np.isnan(table_of(open_rows(train, label=True, missing=True))[40, 2])
    (tmp_path / "a").write_bytes(b"nonsense")
    with pytest.raises(ClientError, match="channel train: a is no"):
        open_rows(train, label=True)


def write_table(path, table, *, kind):
    if kind == "npy":
        with path.open("wb") as file:
            np.save(file, table)
        return
    import pyarrow as pa
    from pyarrow import parquet

    columns = pa.table({f"c{i}": column for i, column in enumerate(table.T)})
    parquet.write_table(columns, path, row_group_size=20)


def write_records(path, features, labels=None):
    with path.open("wb") as file:
        write_rows(file, features=features, labels=labels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("labelled", [True, False])
def test_recordio_must_be_read_as_it_was_written(channel, tmp_path, dtype, labelled, monkeypatch):
    """Dense records of every number type, read at once or one by one, give the writer's values."""
    monkeypatch.setattr(RecordioFormat.__init__, "__defaults__", (300,))
    table = (np.random.default_rng(0).normal(size=(40, 5)) * 100).astype(dtype)
    table[0] = 0
    write_records(tmp_path / "a", table, np.arange(40).astype(np.float32) if labelled else None)
    train = channel({}, content_type="application/x-recordio-protobuf", record_wrapper="RecordIO")
    found = list(open_rows(train, label=labelled, keep_bytes=0).blocks(7))
    assert np.array_equal(np.concatenate([block.features for block in found]), table)
    if labelled:
        assert np.concatenate([block.labels for block in found]).tolist() == list(range(40))
    else:
        assert found[0].labels is None
        with pytest.raises(ClientError, match="the rows have no label"):
            list(open_rows(train, label=True).blocks())
    assert open_rows(channel({}, content_type=""), label=False).width == 5


def test_recordio_must_be_quick_where_records_are_alike(tmp_path, monkeypatch):
    """Dense float records, SageMaker's own form, never take the way record by record."""
    write_records(tmp_path / "a", np.zeros((9, 3), dtype=np.float32), np.zeros(9, dtype=np.float32))
    monkeypatch.setattr(RecordioFormat, "_read_each", None)
    source = open_rows(Channel("train", tmp_path, content_type="application/x-recordio-protobuf"), label=True)
    assert source.count == 9


def test_recordio_must_read_sparse_rows(channel, tmp_path):
    """Keys and shape become sparse rows of the shape's width."""
    rows = SparseRows(np.array([0, 2, 2, 3]), np.array([1, 6, 0]), np.array([1.5, 2.0, 3.0]), 9)
    write_records(tmp_path / "a", rows, np.array([0.0, 1, 1], dtype=np.float32))
    source = open_rows(channel({}, content_type="application/x-recordio-protobuf"), label=True)
    (block,) = source.blocks()
    expected = np.zeros((3, 9))
    expected[0, 1], expected[0, 6], expected[2, 0] = 1.5, 2, 3
    assert np.array_equal(block.features.toarray(), expected)
    assert block.labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: data[:-3], "record 30: it is cut short"),
        (lambda data: b"nonsense" + data[8:], "record 1 does not start with RecordIO's mark"),
        (lambda data: b"", "a is empty"),
        (
            lambda data: data.replace(np.float32(29).tobytes(), np.float32(np.inf).tobytes()),
            "record 30: it has a value",
        ),
    ],
)
def test_recordio_must_be_refused_by_file_and_record(channel, tmp_path, damage, says, monkeypatch):
    """The user learns which record to mend."""
    monkeypatch.setattr(RecordioFormat.__init__, "__defaults__", (300,))
    write_records(tmp_path / "a", np.arange(30, dtype=np.float32).reshape(30, 1), np.zeros(30, dtype=np.float32))
    train = channel({"a": damage((tmp_path / "a").read_bytes())}, content_type="application/x-recordio-protobuf")
    with pytest.raises(ClientError) as caught:
        list(open_rows(train, label=True).blocks())
    assert says in str(caught.value)


def test_pickled_and_odd_arrays_must_be_refused(channel, tmp_path):
    """A NumPy file is never unpickled, and must hold n×d numbers."""
    train = channel({}, content_type="application/x-npy")
    for array in (np.array([{}, {}]), np.arange(3), np.array([["a", "b"]])):
        with (tmp_path / "a").open("wb") as file:
            np.save(file, array, allow_pickle=True)
        with pytest.raises(ClientError, match="channel train: a"):
            open_rows(train, label=True)


@pytest.mark.parametrize(
    ("content_type", "more", "says"),
    [
        ("image/png", {}, "content type 'image/png' can't be read; use text/csv"),
        ("text/csv;label_size=2", {}, "label_size=2 can't be honoured"),
        ("text/csv;header=present", {}, "header=present can't be honoured"),
        ("text/libsvm;label_size=1", {}, "label_size belongs to text/csv"),
        ("text/csv", {"input_mode": "Pipe"}, "input mode Pipe"),
        ("text/csv", {"record_wrapper": "RecordIO"}, "record wrapper RecordIO"),
    ],
)
def test_content_type_must_be_honoured_or_refused(channel, content_type, more, says):
    """What can't be read is refused with what can."""
    with pytest.raises(ClientError) as caught:
        open_rows(channel({"a": "1,2\n"}, content_type=content_type, **more), label=True)
    assert says in str(caught.value)


@pytest.mark.usefixtures("small_pieces")
def test_find_must_name_the_row_in_its_file(channel):
    """An algorithm that refuses a label says where it is."""
    source = open_rows(channel({"a.csv": "0,1\n" * 40, "b.csv": "0,1\n" * 30 + "7,1\n"}), label=True)
    assert source.find(lambda block: block.labels == 7) == "b.csv, row 31"
    assert source.find(lambda block: block.labels == 8) is None


def test_kept_rows_must_be_bounded():
    """The bound on what stays in memory is part of the promise that training needs no memory for its data."""
    assert blocks.KEPT_BYTES <= 256 * 2**20
