"""What is read out of a pod's metrics, whatever stands there."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest

from sagebrush.metrics.exposition import ExpositionError, PodNumbers, parse_exposition

OWN = '{endpoint_name="kdd",variant_name="AllTraffic"}'
ARRIVED = f"sagebrush_invocations_total{OWN} 3"


def parse(text: str | bytes) -> PodNumbers:
    body = text if isinstance(text, bytes) else text.encode()
    return parse_exposition(body, endpoint="kdd", variant="AllTraffic")


@pytest.mark.parametrize(
    ("line", "name", "expected"),
    [
        (f"sagebrush_requests_waiting{OWN} 2", "waiting", 2),
        (f"sagebrush_requests_waiting{OWN} 2 1700000000123", "waiting", 2),
        (f"sagebrush_requests_waiting{OWN} 2\r", "waiting", 2),
        (f"sagebrush_requests_waiting  {OWN}\t2.5e1  ", "waiting", 25),
        ('sagebrush_requests_waiting{ variant_name = "AllTraffic" , endpoint_name="kdd",} 2', "waiting", 2),
        ('sagebrush_requests_waiting{a="x\\"}, y",endpoint_name="kdd",variant_name="AllTraffic"} 2', "waiting", 2),
        (f"sagebrush_requests_in_flight{OWN} 0", "in_flight", 0),
        (f"sagebrush_workers{OWN} 4", "workers", 4),
        (f"sagebrush_busy_seconds_total{OWN} 1.5", "busy_seconds", 1.5),
        (
            (
                'sagebrush_responses_total{code="503",endpoint_name="kdd",variant_name="AllTraffic"} 2\n'
                'sagebrush_responses_total{code="429",endpoint_name="kdd",variant_name="AllTraffic"} 5\n'
                'sagebrush_responses_total{code="200",endpoint_name="kdd",variant_name="AllTraffic"} 9'
            ),
            "refused",
            7,
        ),
        # Two processes behind one port.
        (
            (
                'sagebrush_requests_waiting{endpoint_name="kdd",variant_name="AllTraffic",worker="1"} 2\n'
                'sagebrush_requests_waiting{endpoint_name="kdd",variant_name="AllTraffic",worker="2"} 3'
            ),
            "waiting",
            5,
        ),
        # None of these is a number of waiting requests.
        (f"sagebrush_requests_waiting{OWN} NaN", "waiting", None),
        (f"sagebrush_requests_waiting{OWN} +Inf", "waiting", None),
        (f"sagebrush_requests_waiting{OWN} -1", "waiting", None),
        (f"sagebrush_requests_waiting{OWN} many", "waiting", None),
        (f"# sagebrush_requests_waiting{OWN} 2", "waiting", None),
        (f"sagebrush_requests_waiting_max{OWN} 2", "waiting", None),
        ('sagebrush_requests_waiting{endpoint_name="iris",variant_name="AllTraffic"} 2', "waiting", None),
        ("sagebrush_requests_waiting 2", "waiting", None),
    ],
)
def test_exposition_must_give_the_number_or_none(line: str, name: str, expected: float | None) -> None:
    """Every legal way to write a line is read; what is missing or no count is unknown, and never 0."""
    assert getattr(parse(f"{line}\n{ARRIVED}\n"), name) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", "exposes no sagebrush_invocations_total"),
        ("<html>404</html>", "exposes no sagebrush_invocations_total"),
        (b"\xff\xfe\x00", "exposes no sagebrush_invocations_total"),
        (f"sagebrush_invocations_total{OWN} NaN", "exposes no sagebrush_invocations_total"),
        ("sagebrush_invocations_total 3", "exposes no sagebrush_invocations_total with the labels"),
        ('sagebrush_invocations_total{endpoint_name="iris",variant_name="AllTraffic"} 1', "answers for endpoint iris"),
        (f"{ARRIVED}\n" * 1001, "exposes more than 1000 series"),
    ],
)
def test_exposition_must_say_why_it_is_of_no_use(body: str | bytes, expected: str) -> None:
    """A page that is no metrics, a pod that took over the address: a reason in words, never a number."""
    with pytest.raises(ExpositionError) as raised:
        parse(body)
    assert str(raised.value).startswith(expected)


@given(st.text(max_size=40), st.floats(0, 1e15), st.text(max_size=20))
def test_exposition_must_read_what_prometheus_client_writes(label: str, value: float, about: str) -> None:
    """Whatever stands in other labels and in help texts."""
    registry = CollectorRegistry()
    names = ("other", "endpoint_name", "variant_name")
    counter = Counter("sagebrush_invocations", about or "x", names, registry=registry)
    counter.labels(label, "kdd", "AllTraffic").inc(value)
    assert parse(generate_latest(registry)).arrivals == value


@given(st.binary(max_size=300))
def test_exposition_must_take_anything(junk: bytes) -> None:
    """Bytes before and behind do not keep the number from being read, nor break the reading."""
    assert parse(junk.replace(b"sagebrush", b"") + b"\n" + ARRIVED.encode() + b"\n" + junk).arrivals == 3


@pytest.mark.parametrize(
    "evil",
    [
        "sagebrush_invocations_total" + " " * 10**6,
        'sagebrush_invocations_total{a="1"' + " " * 10**6,
        'sagebrush_invocations_total{a="' + "\\x" * 10**5,
        "sagebrush_invocations_total{" + 'a="1",' * 10**5,
        "sagebrush_" * 10**5,
        "\nsagebrush_" * 10**5,
    ],
)
def test_exposition_must_be_linear_in_its_length(evil: str) -> None:
    """A pod is its owner's: no answer of it holds up the operator."""
    begun = time.process_time()
    with pytest.raises(ExpositionError):
        parse(evil)
    assert time.process_time() - begun < 2
