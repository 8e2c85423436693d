"""From a decoded request to an answer: identity, faults, limits, validation, the operation, the audit."""

import time
from typing import Any

from tests.sagemaker_simulator import errors, validation
from tests.sagemaker_simulator.audit import Entry
from tests.sagemaker_simulator.calls import OPERATIONS, Call
from tests.sagemaker_simulator.errors import AwsError, ConnectionLost
from tests.sagemaker_simulator.faults import Rule
from tests.sagemaker_simulator.limits import Limits
from tests.sagemaker_simulator.protocol import Request
from tests.sagemaker_simulator.world import World

RESOURCE_FIELDS = (
    "TrainingJobName",
    "ModelName",
    "EndpointName",
    "EndpointConfigName",
    "ResourceId",
    "AlarmName",
    "RoleArn",
    "logGroupName",
)
KINDS = {
    "TrainingJobName": "training-job",
    "ModelName": "model",
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
}
UNSIGNED = {"AssumeRoleWithWebIdentity"}
INTERNAL = AwsError(
    "InternalFailure", "The request processing has failed because of an unknown error, exception or failure.", 500
)


class Dispatcher:
    """Answers calls; raises AwsError or ConnectionLost where the answer is none."""

    def __init__(self, world: World, limits: Limits) -> None:
        self.world, self.limits = world, limits

    def answer(self, request: Request) -> dict[str, Any] | None:
        """Answer and write to the audit."""
        resource = resource_of(request.parameters)
        code = "OK"
        try:
            return self._answer(request, resource)
        except AwsError as error:
            code = error.code
            raise
        except ConnectionLost:
            code = "ConnectionLost"
            raise
        finally:
            self._record(request, resource, code)

    def _answer(self, request: Request, resource: str) -> dict[str, Any] | None:
        if request.access_key is None and request.operation not in UNSIGNED:
            raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
        with self.world.agenda.lock:
            self.world.agenda.catch_up()
            call = self._call(request)
            befalling = self.world.faults.for_call(request.operation, resource)
            allowed = self.limits.allows(
                request.operation, account=call.region.account, region=call.region.name, now=self.world.now
            )
        for rule in befalling:
            self._before(rule, call, resource)
        if not allowed:
            raise errors.throttled()
        if (function := OPERATIONS.get((request.service, request.operation))) is None:
            raise AwsError("UnknownOperationException", f"{request.service} has no operation {request.operation} here.")
        if request.protocol in {"json", "cbor"}:
            validation.check(request.service, request.operation, request.parameters)
        with self.world.agenda.lock:
            self.world.agenda.catch_up()
            answer = function(call, request.parameters)
        for rule in befalling:
            if rule.kind == "lost_reply":
                raise ConnectionLost
            if rule.kind == "internal_error_after_commit":
                raise INTERNAL
        return answer

    def _call(self, request: Request) -> Call:
        key = request.access_key or "anonymous"
        identity = self.world.identity(key)
        region = self.world.region(identity.account, request.region)
        return Call(
            world=self.world,
            region=region,
            identity=identity,
            access_key=key,
            service=request.service,
            operation=request.operation,
            request=request.parameters,
        )

    def _before(self, rule: Rule, call: Call, resource: str) -> None:
        match rule.kind:
            case "delay":
                time.sleep(rule.seconds)
            case "throttle":
                raise errors.throttled()
            case "error":
                raise AwsError(rule.code, rule.message, rule.status)
            case "lost_request":
                raise ConnectionLost
            case "internal_error":
                raise INTERNAL
            case "access_denied":
                raise errors.denied(call.caller(), f"{call.service}:{call.operation}", _arn(call, resource))
            case _:
                pass

    def _record(self, request: Request, resource: str, code: str) -> None:
        key = request.access_key or ""
        account = self.world.identity(key).account if key else ""
        region = request.region or self.world.default_region
        entry = Entry(
            virtual_time=self.world.agenda.clock.now(),
            wall_time=time.time(),
            service=request.service,
            operation=request.operation,
            resource=resource,
            access_key=key,
            account=account,
            region=region,
            code=code,
        )
        self.world.audit.record(entry)


def resource_of(parameters: dict[str, Any]) -> str:
    """The name of what a request is about; empty where it is about none."""
    for field in RESOURCE_FIELDS:
        if isinstance(value := parameters.get(field), str):
            return value
    return str(parameters.get("ResourceArn", "")).rpartition("/")[2]


def _arn(call: Call, resource: str) -> str:
    if call.service not in {"sagemaker", "sagemaker-runtime"}:
        return "*"
    for field, kind in KINDS.items():
        if call.request.get(field) == resource:
            return call.region.arn(kind, resource)
    return str(call.request.get("ResourceArn", "*"))
