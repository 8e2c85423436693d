"""The SageMaker demo's command line, and the flags that it gives the operator."""

import argparse
from pathlib import Path

import pytest

from examples.sagemaker_demo.settings import parse
from examples.sagemaker_demo.stack import forget_aws, operator_flags
from sagebrush.config import add_flags, settings_from


def test_empty_values_must_count_as_not_given():
    """A Makefile passes its variables on, set or not."""
    assert "auto" == parse(["--data", ""]).data


@pytest.mark.parametrize("arguments", [["--speed", "1"], ["--speed", "1000"], ["up"]])
def test_wrong_values_must_be_refused(arguments):
    """Slower it would take an hour; faster, this machine could not keep up."""
    with pytest.raises(SystemExit):
        parse(arguments)


def test_operators_flags_must_be_ones_that_it_has():
    """The operator reads them, and its budget is its own default."""
    parser = argparse.ArgumentParser()
    add_flags(parser)
    flags = operator_flags(parse([]), prices=Path("/prices.yaml"), prometheus="http://127.0.0.1:9090")
    found, default = settings_from(parser.parse_args(flags), {}), settings_from(parser.parse_args([]), {})
    assert (("kdd",), 0.5, 1.0) == (found.namespaces, found.sagemaker_poll_seconds, found.sagemaker_steady_poll_seconds)
    assert (default.aws_calls_per_second, default.aws_burst) == (found.aws_calls_per_second, found.aws_burst)


def test_no_real_account_must_be_reached(monkeypatch: pytest.MonkeyPatch):
    """Profiles, keys and endpoints of whoever runs the demo are not the demo's."""
    monkeypatch.setattr("os.environ", {"AWS_PROFILE": "production", "AWS_ENDPOINT_URL_SAGEMAKER": "x", "HOME": "/root"})
    import os

    forget_aws()
    assert {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED", "HOME"} == set(os.environ)
