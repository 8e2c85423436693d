"""What SageMaker shows that scaling decisions want to know: how long instances take, and who else scales them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sagebrush.api.scaling_status import ScalingStatus
from sagebrush.backends.sagemaker.autoscaling import read_registered
from sagebrush.backends.sagemaker.base import Gateway
from sagebrush.backends.scaling_knowledge import ScalingKnowledge, Variant
from sagebrush.backends.scaling_sources import ScalingSources
from sagebrush.core.sagemaker.autoscaling import Registered
from sagebrush.core.sagemaker.autoscaling_request import resource_id
from sagebrush.core.sagemaker.calls import Account, AwsError, Problem
from sagebrush.core.sagemaker.endpoint_case import Case
from sagebrush.core.sagemaker.endpoint_state import IN_SERVICE, SERVING, Seen
from sagebrush.core.scaled_variants import ScaledVariant, scaled_variants
from sagebrush.core.scaling.decision import Decision
from sagebrush.core.scaling.history import History
from sagebrush.core.variant_scaling import ScalingFacts
from sagebrush.kube.cache import Cache

LOOK = timedelta(minutes=30)
"""
Time between two looks for others' registrations. They are rare, and one that acts is noticed sooner: it changes a number
that we didn't.
"""
_NO_ANSWER = (Problem.DENIED, Problem.ABSENT, Problem.INVALID)


class VariantScaling:
    """Gathers what is known of each variant that our own policy scales, and remembers what its decisions leave."""

    def __init__(self, gateway: Gateway, sources: ScalingSources) -> None:
        self._sources, self._others = sources, OthersRegistered(gateway)
        self.histories: dict[Variant, History] = {}

    async def facts(self, case: Case) -> dict[str, ScalingFacts]:
        """By variant. Raises AwsError where AWS can't be asked who else scales them."""
        scaled, knowledge, metrics = (
            scaled_variants(case.spec, case.status),
            self._sources.knowledge,
            self._sources.metrics,
        )
        rivals = await self._others.of(case, scaled)
        out = {}
        for each in scaled:
            variant, namespace, endpoint = Variant(case.meta.uid, each.name), case.meta.namespace, case.meta.name
            time_instances(knowledge, variant, case.seen, before=each.before, now=case.now)
            cadence = metrics.cadence(namespace, endpoint=endpoint, variant=each.name, scaling=each.scaling)
            out[each.name] = ScalingFacts(
                signals=metrics.signals(
                    namespace,
                    endpoint=endpoint,
                    variant=each.name,
                    scaling=each.scaling,
                    ready_pods=None,
                    now=case.now,
                ),
                knowledge=knowledge.of(
                    variant, before=each.before, revision=case.status.revision, cadence=cadence, serialised=True
                ),
                history=self.histories.get(variant),
                rival=rivals.get(each.name, ""),
                decide=self._sources.decide,
            )
        return out

    def acted(self, uid: str, decisions: Mapping[str, Decision]) -> None:
        """The decisions were carried out."""
        for name, decision in decisions.items():
            self.histories[Variant(uid, name)] = decision.history
            self._sources.knowledge.acted(Variant(uid, name), decision)

    def forget_gone(self, cache: Cache) -> None:
        """Drop what is remembered of endpoints that are gone."""
        alive = self._sources.forget_gone(cache)
        self.histories = {of: history for of, history in self.histories.items() if of.uid in alive}


class OthersRegistered:
    """Remembers who else has variants registered at Application Auto Scaling, by endpoint."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._found: dict[tuple[Account, str], tuple[datetime, Mapping[str, str]]] = {}

    async def of(self, case: Case, scaled: Sequence[ScaledVariant]) -> Mapping[str, str]:
        """
        Variant → who has it registered, in words, of those that our own policy scales.

        Nobody, where AWS refuses the look: without the permission others' registrations stay unseen. Raises AwsError.
        """
        seen, where = case.seen, (case.account, case.name)
        there = [each for each in scaled if seen and seen.variant(each.name) and each.scaling.mode == "Auto"]
        if seen is None or seen.status not in SERVING or not there or case.aws_scaled:
            self._found.pop(where, None)
            return {}
        doubted = seen.status == IN_SERVICE and any(_is_doubtful(seen, each) for each in there)
        looked, words = self._found.get(where, (None, {}))
        if looked is None or not timedelta(0) <= case.now - looked < (
            case.defaults.polling.steady if doubted else LOOK
        ):
            words = await self._look(case, [each.name for each in there])
            self._found[where] = case.now, words
        return words

    async def _look(self, case: Case, variants: Sequence[str]) -> Mapping[str, str]:
        try:
            found = await read_registered(
                self._gateway, case.account, endpoint=case.name, variants=variants, max_age=timedelta(0)
            )
        except AwsError as error:
            if error.problem in _NO_ANSWER:
                return {}
            raise
        registered = {each["ResourceId"]: each for each in found.targets}
        ids = {name: resource_id(case.name, name) for name in variants}
        return {name: _in_words(found, registered[where]) for name, where in ids.items() if where in registered}


def _is_doubtful(seen: Seen, variant: ScaledVariant) -> bool:
    """Whether another number is asked for than we asked for last, or somebody else had a say the last time."""
    found = seen.variant(variant.name)
    if variant.before is None or found is None:
        return False
    return found.desired_instances != variant.before.desired_replicas or variant.before.reason == "OtherScaler"


def _in_words(found: Registered, target: Mapping[str, Any]) -> str:
    where = target["ResourceId"]
    named = sorted(
        str(each.get("PolicyName") or each.get("ScheduledActionName"))
        for each in (*found.policies, *found.actions)
        if each["ResourceId"] == where
    )
    by = f" ({', '.join(named)})" if named else ""
    return f"Application Auto Scaling has {where} registered{by}"


def time_instances(
    knowledge: ScalingKnowledge, variant: Variant, seen: Seen | None, *, before: ScalingStatus | None, now: datetime
) -> None:
    """Hand on what DescribeEndpoint shows of the instances of one variant."""
    found = seen.variant(variant.name) if seen else None
    if seen is None or found is None or found.serverless:
        return
    settled = seen.status == IN_SERVICE and found.current_instances == found.desired_instances
    # LastModifiedTime is when it came to be in service, where AWS' clock is not ahead of ours.
    at = seen.modified if settled and seen.modified <= now else now
    knowledge.instances_seen(variant, before=before, serving=found.current_instances or 0, settled=settled, at=at)
