"""The intrusion-detection data: reading, encoding, splitting."""

import gzip
import hashlib
import json

import pytest

from sagebrush_server.datasets.kdd import encode, prepare
from sagebrush_server.datasets.kdd_generated import generate
from sagebrush_server.datasets.kdd_source import DataError

OPTIONS = {"validation_fraction": 0.2, "seed": 0, "rows": None, "encoding": "ordered"}


def rows_of(path):
    return [line.split(",") for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def records():
    return generate(400, seed=5)


def test_generated_data_must_have_the_real_shape_and_be_repeatable(records):
    """41 features and a label, several attacks beside normal, the same for the same seed."""
    assert {len(row) for row in records} == {42}
    assert len({row[-1] for row in records}) > 4
    assert generate(400, seed=5) == records != generate(400, seed=6)


@pytest.mark.parametrize(("encoding", "features"), [("ordered", 41), ("alphabetical", 41), ("one-hot", None)])
def test_prepared_data_must_be_what_linear_learner_reads(tmp_path, encoding, features):
    """Numbers only, label first, no header, the class balance kept, checksums and source in the summary."""
    summary = prepare("generated", out=tmp_path, **{**OPTIONS, "rows": 300, "encoding": encoding})
    train, validation = (
        rows_of(tmp_path / "train" / "part-0000.csv"),
        rows_of(tmp_path / "validation" / "part-0000.csv"),
    )
    assert (len(train), len(validation)) == (240, 60)
    assert {row[0] for row in train} == {"0", "1"}
    assert {len(row) for row in train + validation} == {1 + (features or summary["features"])}
    assert all(float(cell) >= 0 for row in train for cell in row)
    assert abs(summary["attackShare"]["train"] - summary["attackShare"]["validation"]) < 0.02
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert summary["source"] == "generated"
    data = (tmp_path / "train" / "part-0000.csv").read_bytes()
    assert summary["sha256"]["train/part-0000.csv"] == hashlib.sha256(data).hexdigest()


def test_sample_must_be_validation_rows_without_label(tmp_path):
    """sample.csv can be sent as it is; sample-labels.csv has what should come back."""
    prepare("generated", out=tmp_path, **{**OPTIONS, "rows": 300})
    sample = (tmp_path / "sample.csv").read_text().splitlines()
    labels = (tmp_path / "sample-labels.csv").read_text().splitlines()
    validation = (tmp_path / "validation" / "part-0000.csv").read_text().splitlines()
    assert [f"{label},{row}" for label, row in zip(labels, sample, strict=True)] == validation[: len(sample)]


def test_encoding_file_must_let_a_client_encode_a_record(tmp_path, records):
    """A raw record, encoded by encoding.json alone, is the line that training saw; unseen values have a code too."""
    path = tmp_path / "kddcup.data_small.gz"
    path.write_bytes(gzip.compress("".join(",".join(row) + ".\n" for row in records).encode()))
    prepare(str(tmp_path), out=tmp_path / "out", **OPTIONS)
    columns = json.loads((tmp_path / "out" / "encoding.json").read_text())["columns"]
    train = {line.partition(",")[2] for line in (tmp_path / "out" / "train" / "part-0000.csv").read_text().splitlines()}
    assert sum(encode(row, columns=columns) in train for row in records) >= 320
    unseen = encode(["0", "unheard-of", *records[0][2:]], columns=columns).split(",")
    assert 0 <= int(unseen[1]) <= len(columns[1]["codes"])


def test_real_files_must_be_read_in_both_layouts(tmp_path, records):
    """NSL-KDD's 43 columns and KDD Cup's 42, with its dot after the label, give the same data."""
    (tmp_path / "KDDTrain+_20Percent.txt").write_text("".join(",".join([*row, "21"]) + "\n" for row in records))
    (tmp_path / "kddcup.data").write_text("".join(",".join(row) + ".\n" for row in records))
    by_folder = prepare(str(tmp_path), out=tmp_path / "a", **OPTIONS)
    by_file = prepare(str(tmp_path / "kddcup.data"), out=tmp_path / "b", **OPTIONS)
    assert by_folder["source"] == "KDDTrain+_20Percent.txt"
    assert by_folder["sha256"] == by_file["sha256"]


def test_bad_source_must_be_refused_with_what_to_do(tmp_path):
    """A missing file, an empty folder, wrong columns and one-sided labels are named."""
    for source, says in ((str(tmp_path), "holds none of"), (str(tmp_path / "nothing"), "there is no file or folder")):
        with pytest.raises(DataError, match=says):
            prepare(source, out=tmp_path / "out", **OPTIONS)
    path = tmp_path / "kddcup.data"
    path.write_text("1,2,3\n")
    with pytest.raises(DataError, match="row 1: 3 columns"):
        prepare(str(path), out=tmp_path / "out", **OPTIONS)
    path.write_text((",".join(["0"] * 41) + ",normal.\n") * 20)
    with pytest.raises(DataError, match="both classes"):
        prepare(str(path), out=tmp_path / "out", **OPTIONS)
