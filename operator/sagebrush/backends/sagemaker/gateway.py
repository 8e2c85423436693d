"""All traffic with AWS: in threads, within the account's budget, equal questions asked once, errors told apart by one table."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from botocore import xform_name
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
)

from sagebrush.backends.sagemaker.budget import TokenBucket
from sagebrush.backends.sagemaker.clients import Clients
from sagebrush.backends.sagemaker.preflight import violations
from sagebrush.core.sagemaker.calls import OPERATIONS, Account, AwsError, Call, Problem, Service
from sagebrush.core.sagemaker.errors import problem_of, sentence_of
from sagebrush.metrics.aws import AwsMetrics

log = logging.getLogger(__name__)

_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    TokenRetrievalError,
    ProfileNotFound,
)
_OLDEST_KEPT = timedelta(minutes=10)
_TAGS_KEPT = 20_000
_Question = tuple[Account, Service, str, str]


@dataclass(frozen=True, slots=True)
class _Answer:
    body: Mapping[str, Any]
    at: float
    names: frozenset[str]


class AwsGateway:
    """See :class:`sagebrush.backends.sagemaker.base.Gateway`."""

    def __init__(
        self,
        *,
        clients: Clients,
        metrics: AwsMetrics,
        budget: Callable[[], TokenBucket],
        threads: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clients, self._metrics, self._new_budget, self._clock = clients, metrics, budget, clock
        self._pool = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="aws")
        self._budgets: dict[tuple[str, str], TokenBucket] = {}
        self._answers: dict[_Question, _Answer] = {}
        self._asking: dict[_Question, asyncio.Future[Mapping[str, Any] | None]] = {}
        self._tags: dict[tuple[str, datetime | None], Mapping[str, str]] = {}

    def close(self) -> None:
        """Let the threads go; calls under way end by themselves."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def read(
        self,
        account: Account,
        *,
        service: Service,
        operation: str,
        parameters: Mapping[str, Any],
        max_age: timedelta = timedelta(0),
    ) -> Mapping[str, Any] | None:
        """See :class:`sagebrush.backends.sagemaker.base.Gateway`."""
        question = (account, service, operation, json.dumps(parameters, sort_keys=True, default=str))
        known = self._answers.get(question)
        if known is not None and self._clock() - known.at < max_age.total_seconds():
            return known.body
        under_way = self._asking.get(question)
        if under_way is None:
            under_way = asyncio.ensure_future(self._ask(question, dict(parameters)))
            self._asking[question] = under_way
            under_way.add_done_callback(lambda _: self._asked(question, under_way))
        return await asyncio.shield(under_way)

    def _asked(self, question: _Question, future: "asyncio.Future[Mapping[str, Any] | None]") -> None:
        if self._asking.get(question) is future:
            del self._asking[question]
        if not future.cancelled():
            future.exception()  # seen, even where all who asked have gone

    async def _ask(self, question: _Question, parameters: dict[str, Any]) -> Mapping[str, Any] | None:
        account, service, operation, _ = question
        me = asyncio.current_task()
        try:
            body = await self._call(account, service, operation, parameters)
            while token := body.get("NextToken"):
                page = await self._call(account, service, operation, {**parameters, "NextToken": token})
                body = _joined(body, page)
        except AwsError as error:
            if error.problem is Problem.ABSENT:
                self._answers.pop(question, None)
                return None
            raise
        if self._asking.get(question) is me:  # else something was changed meanwhile: the answer may be the old one
            self._remember(question, body, names=_names(parameters))
        return body

    def _remember(self, question: _Question, body: Mapping[str, Any], *, names: frozenset[str]) -> None:
        now = self._clock()
        oldest = now - _OLDEST_KEPT.total_seconds()
        while self._answers and (first := next(iter(self._answers))) and self._answers[first].at < oldest:
            del self._answers[first]
        self._answers.pop(question, None)  # to the end: the first is always the oldest
        self._answers[question] = _Answer(body, now, names)

    async def tags(self, account: Account, *, arn: str, created: datetime | None) -> Mapping[str, str]:
        """See :class:`sagebrush.backends.sagemaker.base.Gateway`."""
        known = self._tags.get((arn, created))
        if known is not None:
            return known
        answer = await self.read(
            account, service=Service.SAGEMAKER, operation="ListTags", parameters={"ResourceArn": arn}
        )
        found = {tag["Key"]: tag["Value"] for tag in (answer or {}).get("Tags", [])}
        if found:
            if len(self._tags) >= _TAGS_KEPT:
                del self._tags[next(iter(self._tags))]
            self._tags[arn, created] = found
        return found

    async def act(self, call: Call) -> Mapping[str, Any]:
        """See :class:`sagebrush.backends.sagemaker.base.Gateway`."""
        try:
            return await self._call(call.account, call.service, call.operation, dict(call.parameters), check=True)
        finally:  # also after an error: the call may have had its effect
            self._forget(call)

    def _forget(self, call: Call) -> None:
        names = _names(call.parameters)
        for question, answer in list(self._answers.items()):
            if _touches(call, question, answer.names, names=names):
                del self._answers[question]
        for question in list(self._asking):
            if _touches(call, question, _names(json.loads(question[3])), names=names):
                del self._asking[question]

    async def _call(
        self, account: Account, service: Service, operation: str, parameters: dict[str, Any], *, check: bool = False
    ) -> Mapping[str, Any]:
        if operation not in OPERATIONS[service]:
            raise ValueError(f"{service}:{operation} is not in the list of calls that the operator makes")
        loop = asyncio.get_running_loop()
        budget = await self._budget(account)
        if check:
            await loop.run_in_executor(self._pool, self._check, account, service, operation, parameters)
        waited = await budget.take()
        begun = time.perf_counter()
        result = "ok"
        try:
            answer: Mapping[str, Any] = await loop.run_in_executor(
                self._pool, self._send, account, service, operation, parameters
            )
        except AwsError as error:
            result = str(error.problem)
            if error.problem is Problem.THROTTLED:
                budget.throttled()
            raise
        else:
            budget.succeeded()
            return answer
        finally:
            seconds = time.perf_counter() - begun
            self._metrics.called(service, operation=operation, result=result, seconds=seconds, waited=waited)

    async def _budget(self, account: Account) -> TokenBucket:
        loop = asyncio.get_running_loop()
        number = await loop.run_in_executor(self._pool, self._clients.account_id, account)
        return self._budgets.setdefault((number, account.region), self._new_budget())

    def _check(self, account: Account, service: Service, operation: str, parameters: dict[str, Any]) -> None:
        try:
            model = self._clients.client(account, service).meta.service_model.operation_model(operation)
        except BotoCoreError as error:
            raise _told(error, operation=operation) from error
        wrong = violations(model.input_shape, parameters)
        if wrong:
            raise AwsError(Problem.INVALID, f"{operation}: {'; '.join(wrong)}", operation=operation, code="Preflight")

    def _send(
        self, account: Account, service: Service, operation: str, parameters: dict[str, Any]
    ) -> Mapping[str, Any]:
        try:
            client = self._clients.client(account, service)
            answer: Mapping[str, Any] = getattr(client, xform_name(operation))(**parameters)
        except (BotoCoreError, ClientError) as error:
            raise _told(error, operation=operation) from error
        return answer


def _told(error: Exception, *, operation: str) -> AwsError:
    """Boto's error in our terms."""
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code, message = str(said.get("Code", "")), str(said.get("Message", ""))
        problem = problem_of(operation, code=code, message=message, http_status=status)
        return AwsError(problem, sentence_of(operation, code=code, message=message), operation=operation, code=code)
    if isinstance(error, _NO_CREDENTIALS):
        text = f"no AWS credentials: {error}; docs/sagemaker.md says how the operator gets them"
        return AwsError(Problem.DENIED, text, operation=operation, code=type(error).__name__)
    if isinstance(error, ParamValidationError):
        return AwsError(Problem.INVALID, str(error), operation=operation, code="ParamValidation")
    return AwsError(Problem.TRANSIENT, str(error), operation=operation, code=type(error).__name__)


def _joined(body: Mapping[str, Any], page: Mapping[str, Any]) -> Mapping[str, Any]:
    """Two pages as one: lists are appended; the token is the last page's."""
    out = {key: value for key, value in body.items() if key != "NextToken"}
    for key, value in page.items():
        out[key] = [*out[key], *value] if isinstance(value, list) and isinstance(out.get(key), list) else value
    return out


def _names(parameters: Mapping[str, Any]) -> frozenset[str]:
    """The texts at the top of a call's parameters: among them the names of what it is about."""
    found: set[str] = set()
    for value in parameters.values():
        if isinstance(value, str):
            found.add(value)
        elif isinstance(value, list):
            found.update(item for item in value if isinstance(item, str))
    return frozenset(found)


def _touches(call: Call, question: _Question, about: frozenset[str], *, names: frozenset[str]) -> bool:
    """Whether the call may have changed the answer."""
    account, service, operation, _ = question
    if (account, service) != (call.account, call.service):
        return False
    return service is not Service.SAGEMAKER or operation.startswith("List") or bool(about & names)
