"""The command line of capacity-test: what it takes, and what it says to what it does not."""

import argparse
from pathlib import Path

import pytest

from sagebrush.capacity_test.options import InvalidOptionError, Options, add_flags, options_from


def parsed(*arguments: str, payload: Path) -> Options:
    parser = argparse.ArgumentParser()
    add_flags(parser)
    return options_from(parser.parse_args(["kdd", "--payload", str(payload), *arguments]))


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"1,2\n\n3,4\n")
    return path


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--latency", "500"], "--latency '500': write a number with its unit"),
        (["--latency", "0ms"], "--latency 0ms: between 1ms and 60s"),
        (["--duration", "4s"], "--duration 4s: between 5s and 60m"),
        (["--duration", "2h"], "--duration '2h': write a number with its unit"),
        (["--late-percent", "0"], "--late-percent 0.0: above 0"),
        (["--late-percent", "nan"], "--late-percent nan: above 0"),
        (["--max-requests", "5"], "--max-requests 5: at least 100"),
        (["--url", "ftp://host"], "--url ftp://host: write it as http://host:port/invocations"),
        (["--url", "http://"], "write it as http://host:port/invocations"),
        (["--url", "http://host:99999"], "write it as http://host:port/invocations"),
        (["--url", "http://ho st/"], "write it as http://host:port/invocations"),
        (["--url", "http://host", "--live"], "--url and --live: choose one"),
        (["--content-type", "a\r\nX: y"], "that is no media type"),
        (["--report", "/nowhere/at/all.json"], "there is no folder /nowhere/at"),
    ],
)
def test_bad_option_must_be_refused_with_what_to_write(arguments: list[str], says: str, payload: Path):
    """Nothing is sent on an option that can't be honoured; the message names it and the way out."""
    with pytest.raises(InvalidOptionError) as refused:
        parsed(*arguments, payload=payload)
    assert says in str(refused.value)


def test_bad_name_and_payload_must_be_refused(tmp_path: Path, payload: Path):
    """A file that is not there or empty, and a name that no ModelEndpoint has."""
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    for path, says in ((tmp_path / "none", "No such file"), (empty, "it is empty"), (tmp_path, "Is a directory")):
        with pytest.raises(InvalidOptionError, match=says):
            parsed(payload=path)
    parser = argparse.ArgumentParser()
    add_flags(parser)
    with pytest.raises(InvalidOptionError, match="no name of a ModelEndpoint"):
        options_from(parser.parse_args(["Kdd_1", "--payload", str(payload)]))


def test_options_must_be_read_with_their_units(payload: Path):
    """Durations in seconds; the file whole, or each of its lines that says something."""
    chosen = parsed("--latency", "250ms", "--duration", "2m", "--per-line", payload=payload)
    assert (chosen.latency, chosen.duration, chosen.bodies) == (0.25, 120.0, (b"1,2", b"3,4"))
    assert parsed(payload=payload).bodies == (b"1,2\n\n3,4\n",)


def test_bound_must_come_from_the_command_line_then_the_policy(payload: Path):
    """What the user says wins over spec.scaling.target, and that over 500 ms and 0.1 %."""
    said, silent = parsed("--latency", "1s", "--late-percent", "1", payload=payload), parsed(payload=payload)
    assert said.bound(latency=0.3, late_percent=0.5).seconds == 1.0
    assert said.bound(latency=0.3, late_percent=0.5).late_percent == 1.0
    assert silent.bound(latency=0.3, late_percent=0.5).seconds == 0.3
    assert (silent.bound().seconds, silent.bound().late_percent) == (0.5, 0.1)
