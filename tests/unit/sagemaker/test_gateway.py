"""The gateway: one question asked once, answers kept no longer than allowed, errors told apart, nothing beside the list."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from prometheus_client import CollectorRegistry

from sagebrush.backends.sagemaker.budget import TokenBucket
from sagebrush.backends.sagemaker.gateway import AwsGateway
from sagebrush.core.sagemaker.calls import Account, AwsError, Call, Problem, Service
from sagebrush.metrics.aws import AwsMetrics

HERE = Account("eu-west-1")
THERE = Account("eu-west-1", "arn:aws:iam::999999999999:role/other")
MINUTE = timedelta(minutes=1)
MODEL = botocore.session.get_session().get_service_model("sagemaker")  # once: it takes a second to read
ANSWER = {"EndpointName": "kdd", "EndpointStatus": "InService"}


class Clients:
    """Stands in for boto3: answers what the test scripted, and counts."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answer: Callable[[str, dict[str, Any]], Mapping[str, Any]] = lambda _, __: ANSWER
        self.meta = self
        self.service_model = MODEL

    def client(self, account: Account, service: Service) -> Any:
        return self

    def account_id(self, account: Account) -> str:
        return account.assume_role_arn.split(":")[4] if account.assume_role_arn else "own"

    def __getattr__(self, name: str) -> Callable[..., Mapping[str, Any]]:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(**parameters: Any) -> Mapping[str, Any]:
            self.calls.append((name, parameters))
            return self.answer(name, parameters)

        return call


class Bench:
    """A gateway over scripted clients, with a clock that the test moves."""

    def __init__(self) -> None:
        self.clients = Clients()
        self.now = 0.0
        self.buckets: list[TokenBucket] = []
        self.registry = CollectorRegistry()
        self.gateway = AwsGateway(
            clients=self.clients,  # type: ignore[arg-type]
            metrics=AwsMetrics(self.registry),
            budget=self.bucket,
            threads=4,
            clock=lambda: self.now,
        )

    def bucket(self) -> TokenBucket:
        made = TokenBucket(rate=1000, burst=1000)
        self.buckets.append(made)
        return made

    async def describe(self, *, name: str = "kdd", account: Account = HERE, max_age: timedelta = MINUTE) -> Any:
        return await self.gateway.read(
            account,
            service=Service.SAGEMAKER,
            operation="DescribeEndpoint",
            parameters={"EndpointName": name},
            max_age=max_age,
        )

    async def delete(self, name: str = "kdd", *, account: Account = HERE) -> None:
        await self.gateway.act(Call(account, Service.SAGEMAKER, "DeleteEndpoint", {"EndpointName": name}))

    def sent(self, operation: str = "describe_endpoint") -> int:
        return sum(name == operation for name, _ in self.clients.calls)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.gateway.close()


def refused(code: str, message: str, *, status: int = 400) -> Callable[[str, dict[str, Any]], Mapping[str, Any]]:
    def answer(operation: str, _: dict[str, Any]) -> Mapping[str, Any]:
        raise ClientError(
            {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
            operation,
        )

    return answer


async def test_reading_must_be_answered_from_memory_while_young(bench: Bench):
    """A description is asked for once within the age that the asker allows, and again after it."""
    assert ANSWER == await bench.describe()
    assert ANSWER == await bench.describe()
    assert 1 == bench.sent()
    bench.now = 61.0
    await bench.describe()
    assert 2 == bench.sent()
    await bench.describe(max_age=timedelta(0))
    assert 3 == bench.sent()


async def test_equal_questions_at_once_must_be_one_call(bench: Bench):
    """Two passes that ask the same at the same time share the answer."""
    gate = threading.Event()

    def answer(*_: Any) -> Mapping[str, Any]:
        gate.wait(5)
        return ANSWER

    bench.clients.answer = answer
    both = asyncio.gather(*(bench.describe(max_age=timedelta(0)) for _ in range(5)))
    while not bench.sent():
        await asyncio.sleep(0.001)
    gate.set()
    assert [ANSWER] * 5 == await both
    assert 1 == bench.sent()


async def test_cancelled_asker_must_not_cost_the_others_their_answer(bench: Bench):
    """The answer comes to those who still wait."""
    gate = threading.Event()

    def answer(*_: Any) -> Mapping[str, Any]:
        gate.wait(5)
        return ANSWER

    bench.clients.answer = answer
    first = asyncio.create_task(bench.describe())
    second = asyncio.create_task(bench.describe())
    while not bench.sent():
        await asyncio.sleep(0.001)
    first.cancel()
    gate.set()
    assert ANSWER == await second


async def test_change_must_forget_what_was_read(bench: Bench):
    """After a call about a thing its description is asked for anew; another thing's, and another account's, is not."""
    await bench.describe()
    await bench.describe(name="other")
    await bench.describe(account=THERE)
    await bench.delete()
    await bench.describe()
    await bench.describe(name="other")
    await bench.describe(account=THERE)
    assert ["kdd", "other", "kdd", "kdd"] == [
        parameters["EndpointName"] for name, parameters in bench.clients.calls if name == "describe_endpoint"
    ]


async def test_failed_change_must_forget_as_well(bench: Bench):
    """A call whose answer was lost may have had its effect."""
    await bench.describe()
    bench.clients.answer = refused("InternalFailure", "oops", status=500)
    with pytest.raises(AwsError):
        await bench.delete()
    bench.clients.answer = lambda _, __: ANSWER
    await bench.describe()
    assert 2 == bench.sent()


async def test_answer_from_before_a_change_must_not_be_kept(bench: Bench):
    """A description that was under way while the thing was changed is not handed to later askers."""
    gate = threading.Event()
    bench.clients.answer = lambda name, _: (gate.wait(5) and None) or ANSWER if "describe" in name else {}
    early = asyncio.create_task(bench.describe())
    while not bench.sent():
        await asyncio.sleep(0.001)
    await bench.delete()
    gate.set()
    await early
    await bench.describe()
    assert 2 == bench.sent()


async def test_absent_must_be_none_and_asked_for_again(bench: Bench):
    """What is not there may come at any moment: its absence is not kept."""
    bench.clients.answer = refused("ValidationException", 'Could not find endpoint "arn:aws:sagemaker:…"')
    assert await bench.describe() is None
    assert await bench.describe() is None
    assert 2 == bench.sent()


@pytest.mark.parametrize(
    ("raised", "problem"),
    [
        (refused("ThrottlingException", "Rate exceeded"), Problem.THROTTLED),
        (
            refused("AccessDeniedException", "User: x is not authorized to perform: y on resource: z", status=403),
            Problem.DENIED,
        ),
        (refused("ResourceLimitExceeded", "The account-level service limit …"), Problem.QUOTA),
        (refused("InternalFailure", "", status=500), Problem.TRANSIENT),
    ],
)
async def test_refusal_must_be_told_apart(bench: Bench, raised: Any, problem: Problem):
    """boto's errors come as ours, by the one table."""
    bench.clients.answer = raised
    with pytest.raises(AwsError) as caught:
        await bench.describe()
    assert problem is caught.value.problem


async def test_connection_and_credentials_must_be_told_apart(bench: Bench):
    """Nobody at the other end is AWS' trouble for a moment; no credentials is the user's to mend."""
    for error, problem in (
        (EndpointConnectionError(endpoint_url="https://x"), Problem.TRANSIENT),
        (NoCredentialsError(), Problem.DENIED),
    ):

        def answer(*_: Any, error: Exception = error) -> Mapping[str, Any]:
            raise error

        bench.clients.answer = answer
        with pytest.raises(AwsError) as caught:
            await bench.describe()
        assert problem is caught.value.problem


async def test_throttling_must_slow_the_accounts_budget_only(bench: Bench):
    """The account that is throttled gets slower; another one does not."""
    await bench.describe(account=THERE)
    bench.clients.answer = refused("ThrottlingException", "Rate exceeded")
    with pytest.raises(AwsError):
        await bench.describe()
    assert [1000.0, 500.0] == sorted((each.rate for each in bench.gateway._budgets.values()), reverse=True)


async def test_pages_must_be_one_answer(bench: Bench):
    """A list comes whole, however many pages AWS cuts it into."""
    pages = {None: {"Models": [{"ModelName": "a"}], "NextToken": "1"}, "1": {"Models": [{"ModelName": "b"}]}}
    bench.clients.answer = lambda _, parameters: pages[parameters.get("NextToken")]
    found = await bench.gateway.read(
        HERE, service=Service.SAGEMAKER, operation="ListModels", parameters={"NameContains": "x"}
    )
    assert {"Models": [{"ModelName": "a"}, {"ModelName": "b"}]} == found


async def test_list_must_be_forgotten_with_any_change(bench: Bench):
    """A list may hold what was changed, whatever it was asked by."""
    for _ in range(2):
        await bench.gateway.read(
            HERE, service=Service.SAGEMAKER, operation="ListModels", parameters={"NameContains": "x"}, max_age=MINUTE
        )
        await bench.delete()
    assert 2 == bench.sent("list_models")


async def test_tags_must_be_asked_once_for_each_thing(bench: Bench):
    """Our tags never change; a namesake made later is another thing."""
    bench.clients.answer = lambda _, __: {"Tags": [{"Key": "a", "Value": "b"}]}
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    for created in (first, first, second):
        assert {"a": "b"} == await bench.gateway.tags(HERE, arn="arn:x", created=created)
    assert 2 == bench.sent("list_tags")


async def test_missing_tags_must_be_asked_for_again(bench: Bench):
    """No tags at all may be AWS' eventual consistency: that is not remembered."""
    bench.clients.answer = lambda _, __: {"Tags": []}
    for _ in range(2):
        assert {} == await bench.gateway.tags(HERE, arn="arn:x", created=None)
    assert 2 == bench.sent("list_tags")


async def test_preflight_must_stop_a_call_before_it_is_sent(bench: Bench):
    """What botocore's model refuses costs no call."""
    with pytest.raises(AwsError, match="does not match") as caught:
        await bench.delete("under_score")
    assert (Problem.INVALID, 0) == (caught.value.problem, bench.sent("delete_endpoint"))


async def test_call_beside_the_list_must_be_refused(bench: Bench):
    """What the IAM policy doesn't allow is not even tried."""
    with pytest.raises(ValueError, match="not in the list"):
        await bench.gateway.act(Call(HERE, Service.SAGEMAKER, "DeleteDomain", {"DomainId": "d"}))


async def test_calls_must_be_counted(bench: Bench):
    """Every call is in the metrics, by operation and result."""
    await bench.describe()
    bench.clients.answer = refused("ThrottlingException", "Rate exceeded")
    with pytest.raises(AwsError):
        await bench.describe(max_age=timedelta(0))
    found = {
        sample.labels["result"]: sample.value
        for metric in bench.registry.collect()
        for sample in metric.samples
        if sample.name == "sagebrush_aws_calls_total"
    }
    assert {"ok": 1.0, "Throttled": 1.0} == found


async def test_memory_must_not_grow_for_ever(bench: Bench):
    """Answers older than ten minutes go, whether anybody asks again or not."""
    for number in range(50):
        bench.now = number * 60.0
        await bench.describe(name=f"endpoint-{number}")
    assert 12 > len(bench.gateway._answers)
