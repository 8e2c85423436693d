"""Cost is an estimate that survives restarts, doesn't churn the status and says what it leaves out."""

from datetime import UTC, datetime, timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sagebrush.api.aws import Cost
from sagebrush.core.sagemaker.cost import SERVERLESS, STEP, PriceTable, hosting_cost, price_table, training_cost

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TABLE = PriceTable(
    as_of="2026-11-01",
    hosting={"us-east-1": {"ml.m5.large": 0.1, "ml.c5.xlarge": 0.2}},
    training={"us-east-1": {"ml.m5.large": 0.5}},
)


def hosting(usage, *, before=None, now=NOW, created=NOW, table=TABLE):
    return hosting_cost(table, region="us-east-1", usage=usage, before=before, created=created, now=now)


def training(*, before=None, now=NOW, billable=None, running=0, spot=False, instance_type="ml.m5.large", table=TABLE):
    return training_cost(
        table,
        region="us-east-1",
        instance_type=instance_type,
        count=2,
        billable_seconds=billable,
        running_seconds=running,
        spot=spot,
        before=before,
        now=now,
    )


def test_hosting_cost_must_accrue_at_the_rate_in_status():
    """The stretch since billedUntil costs what was in force then; the new rate counts from now on."""
    first = hosting({"ml.m5.large": 2})
    assert (0.2, 0.0) == (first.hourly, first.total)

    later = hosting({"ml.m5.large": 2, "ml.c5.xlarge": 1}, before=first, now=NOW + 3 * HOUR)

    assert (0.4, 0.6, NOW + 3 * HOUR) == (later.hourly, later.total, later.billed_until)


def test_hosting_cost_must_be_the_same_object_while_nothing_changes():
    """A status isn't patched for the sake of a few cents."""
    first = hosting({"ml.m5.large": 1})
    assert first is hosting({"ml.m5.large": 1}, before=first, now=NOW + STEP - timedelta(seconds=1))
    assert first is not hosting({"ml.m5.large": 1}, before=first, now=NOW + STEP)


def test_hosting_cost_must_not_be_written_while_nothing_is_spent():
    """What costs nothing has nothing to bring up to date."""
    first = hosting({})
    assert 0.0 == first.hourly
    assert first is hosting({}, before=first, now=NOW + 100 * HOUR)


def test_hosting_cost_must_round_trip_through_the_status():
    """What the API server gives back is recognised as unchanged."""
    first = hosting({"ml.m5.large": 1}, created=NOW - 9 * HOUR)
    read = Cost.model_validate(first.to_dict())
    assert read is hosting({"ml.m5.large": 1}, before=read, now=NOW + timedelta(minutes=1), created=NOW - 9 * HOUR)


def test_hosting_cost_must_say_which_price_is_missing():
    """The total counts what has a price, the rate is unset, and the message names the line to add."""
    first = hosting({"ml.m5.large": 1, "ml.new.large": 3})
    assert first.hourly is None
    assert "add hosting.us-east-1.ml.new.large to the price table" in first.message

    later = hosting({"ml.m5.large": 1, "ml.new.large": 3}, before=first, now=NOW + HOUR)

    assert 0.1 == later.total


def test_hosting_cost_must_not_price_the_past_at_a_new_rate():
    """Time without a rate costs nothing when a price comes."""
    idle = hosting({SERVERLESS: 1})
    later = hosting({"ml.m5.large": 1}, before=idle, now=NOW + 50 * HOUR)
    assert (0.1, 0.0) == (later.hourly, later.total)


def test_hosting_cost_must_leave_serverless_variants_out_and_say_so():
    """Serverless has no price per hour."""
    alone, beside = hosting({SERVERLESS: 1}), hosting({SERVERLESS: 1, "ml.m5.large": 1})
    assert (None, 0.1) == (alone.hourly, beside.hourly)
    assert "Serverless" in alone.message
    assert "Serverless" in beside.message


def test_hosting_cost_must_count_a_young_endpoint_from_its_creation():
    """The first look comes a little after the creation."""
    assert round(0.1 / 60, 6) == hosting({"ml.m5.large": 1}, created=NOW - timedelta(minutes=1)).total


def test_hosting_cost_must_count_an_older_endpoint_from_the_first_look():
    """Nobody knows what it ran on before; the message says since when, for good."""
    first = hosting({"ml.m5.large": 1}, created=NOW - 9 * HOUR)
    assert 0.0 == first.total
    assert first.message.startswith("Counted since 2026-11-23T12:00:00Z")

    later = hosting({"ml.m5.large": 4, "ml.x.y": 1}, before=first, now=NOW + HOUR, created=NOW - 9 * HOUR)

    assert later.message.startswith("Counted since 2026-11-23T12:00:00Z")
    assert "ml.x.y" in later.message


def test_hosting_cost_must_count_an_endpoint_made_anew_from_its_creation():
    """Nothing is charged for the time between."""
    gone = hosting({})
    later = hosting({"ml.m5.large": 1}, before=gone, now=NOW + 3 * HOUR, created=NOW + HOUR)
    assert 0.2 == later.total


def test_hosting_cost_must_start_anew_in_another_currency():
    """Dollars and euros don't add up."""
    first = hosting({"ml.m5.large": 1})
    euros = PriceTable(as_of="2027", currency="EUR", hosting=TABLE.hosting)
    later = hosting({"ml.m5.large": 1}, before=first, now=NOW + HOUR, table=euros)
    assert ("EUR", 0.0) == (later.currency, later.total)
    assert "Counted since" in later.message


def test_cost_must_be_none_without_prices():
    """An empty table is no estimate of nothing."""
    assert hosting({"ml.m5.large": 1}, table=PriceTable()) is None
    assert training(running=5, table=PriceTable()) is None


@given(looks=st.lists(st.tuples(st.integers(0, 7200), st.integers(0, 5)), max_size=20))
def test_hosting_cost_must_add_up(looks):
    """However often we look, the total is the sum of rate times time, to the last look that was written."""
    cost, expected, now = hosting({"ml.m5.large": 1}), 0.0, NOW
    for seconds, count in looks:
        now += timedelta(seconds=seconds)
        before, cost = cost, hosting({"ml.m5.large": count}, before=cost, now=now)
        if cost is not before:
            expected += before.hourly * ((cost.billed_until - before.billed_until) / HOUR)
            assert cost.billed_until == now
    assert expected == pytest.approx(cost.total, abs=1e-4)


def test_training_cost_must_be_seconds_times_count_times_price():
    """Running seconds while it runs, billable ones when it has ended."""
    running = training(running=1800)
    assert (1.0, 0.5) == (running.hourly, running.total)
    ended = training(billable=720, running=3600, before=running)
    assert (0.0, 0.2) == (ended.hourly, ended.total)


def test_training_cost_must_say_that_spot_is_cheaper_in_the_end():
    """Only the bill knows the saving, so a running job counts in full, and an ended one carries no remark."""
    assert "Spot" in training(running=60, spot=True).message
    assert "" == training(billable=60, running=120, spot=True).message


def test_training_cost_must_be_the_same_object_while_it_says_the_same():
    """A running job is brought up to date every five minutes, an ended one once."""
    running = training(running=60)
    assert running is training(running=120, before=running, now=NOW + timedelta(minutes=1))
    assert running is not training(running=360, before=running, now=NOW + STEP)
    ended = training(billable=60, before=running)
    assert ended is training(billable=60, before=ended, now=NOW + 100 * HOUR)


def test_training_cost_must_say_which_price_is_missing():
    """The message names the line to add."""
    cost = training(running=60, instance_type="ml.new.large")
    assert (None, 0.0) == (cost.hourly, cost.total)
    assert "training.us-east-1.ml.new.large" in cost.message


def test_price_table_must_read_the_document():
    """As YAML gives it, an unquoted date too."""
    text = "{asOf: 2026-11-01, currency: USD, hosting: {us-east-1: {ml.m5.large: 0.1}}, training: {}}"
    assert PriceTable("2026-11-01", "USD", {"us-east-1": {"ml.m5.large": 0.1}}, {}) == price_table(yaml.safe_load(text))
    assert PriceTable() == price_table({})


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ([], "price table: "),
        ({"host": {}}, "host: unknown; legal are asOf"),
        ({"hosting": {"r": {"ml.a.b": 1}}}, "asOf: "),
        ({"asOf": 3}, "asOf: 3"),
        ({"currency": ""}, "currency: "),
        ({"asOf": "x", "hosting": [1]}, "hosting: "),
        ({"asOf": "x", "training": {"us-east-1": 3}}, "training.us-east-1: 3"),
        ({"asOf": "x", "hosting": {"us-east-1": {"m5": 3}}}, "hosting.us-east-1.m5: 'm5' is not an instance type"),
        ({"asOf": "x", "hosting": {"us-east-1": {"ml.m5.large": "3"}}}, "hosting.us-east-1.ml.m5.large: '3'"),
        ({"asOf": "x", "hosting": {"us-east-1": {"ml.m5.large": -1}}}, "hosting.us-east-1.ml.m5.large: -1"),
        ({"asOf": "x", "hosting": {"us-east-1": {"ml.m5.large": float("nan")}}}, "hosting.us-east-1.ml.m5.large: nan"),
    ],
)
def test_price_table_must_name_the_path_of_what_is_wrong(document, expected):
    """The message begins with the path and goes on with what is legal."""
    with pytest.raises(ValueError, match=r".") as caught:
        price_table(document)
    assert str(caught.value).startswith(expected)
