"""Names, comparison of manifests, conditions, and what pods say."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagebrush.api.meta import ConditionStatus
from sagebrush.core import naming, pods
from sagebrush.core.conditions import Outlook, Reason, set_conditions, summary
from sagebrush.core.resource import contains
from tests.unit.operator.builders import META, NOON, at, crashed, ended, pod, running, serving_pod, waiting

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)


@settings(max_examples=40, deadline=None)
@given(NAMES)
def test_job_name_must_fit_an_indexed_job(name: str) -> None:
    """<job>-<index> fits a host name of 63 characters up to 100 instances, and stays a legal name."""
    found = naming.job_name(name)
    assert len(f"{found}-99") <= 63
    assert "-" not in (found[0], found[-1])
    assert found == naming.job_name(name)


def test_job_name_must_tell_long_names_apart() -> None:
    """Two names that share their first 57 characters get two Jobs."""
    one, other = "a" * 62 + "1", "a" * 62 + "2"
    assert naming.job_name(one) != naming.job_name(other)
    assert "a" * 57 == naming.job_name("a" * 57)


@settings(max_examples=20, deadline=None)
@given(NAMES, st.sampled_from(sorted(naming.OWNER_LABELS)))
def test_label_values_must_fit(name: str, kind: str) -> None:
    """No label value is longer than Kubernetes' 63 characters."""
    assert [] == [value for value in naming.labels(kind, name).values() if len(value) > 63]


def test_selector_must_select_the_children() -> None:
    """What selects the pods is among the labels that every child carries."""
    assert naming.selector("ModelEndpoint", "x").items() <= naming.labels("ModelEndpoint", "x").items()


def test_content_hash_must_not_depend_on_order() -> None:
    """The same content in another order is the same revision."""
    assert naming.content_hash({"a": 1, "b": 2}) == naming.content_hash({"b": 2, "a": 1})
    assert naming.content_hash({"a": 1}) != naming.content_hash({"a": 2})


def test_child_must_name_its_owner() -> None:
    """The garbage collector finds the owner by uid."""
    metadata = naming.child_metadata("TrainingJob", META, name="kdd")
    assert ["uid-1"] == [reference["uid"] for reference in metadata["ownerReferences"]]


LEAVES = st.one_of(st.integers(2, 9), st.text("abc", min_size=1, max_size=3))
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.dictionaries(st.text("xyz", min_size=1, max_size=2), inner, min_size=1, max_size=3),
    ),
    max_leaves=8,
)


def enriched(document: Any) -> Any:
    """What an API server might add to it."""
    if isinstance(document, dict):
        return {**{key: enriched(value) for key, value in document.items()}, "added": {"by": "others"}}
    return [enriched(entry) for entry in document] if isinstance(document, list) else document


def broken(document: Any) -> Any:
    """With its first leaf changed."""
    if isinstance(document, dict):
        key = next(iter(document))
        return {**document, key: broken(document[key])}
    return [broken(document[0]), *document[1:]] if isinstance(document, list) else "changed"


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_contains_must_see_what_counts(document: Any) -> None:
    """A document contains itself; what others add changes nothing; one leaf changed is seen."""
    assert contains(document, document)
    assert contains(enriched(document), document)
    assert not contains(broken(document), document)
    assert not contains(document, broken(document))


@pytest.mark.parametrize(
    ("actual", "wanted", "expected"),
    [
        ({}, {"a": {}}, True),
        ({}, {"a": []}, True),
        ({"env": [{"name": "A"}]}, {"env": [{"name": "A", "value": ""}]}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": None}, {"a": 0}, False),
        ({"a": "1"}, {"a": 1}, False),
        (None, {"a": 1}, False),
    ],
)
def test_contains_must_answer(actual: Any, wanted: Any, expected: bool) -> None:
    """What is empty may be absent; lists are complete; types count."""
    assert expected == contains(actual, wanted)


def test_conditions_must_keep_the_time_until_they_flip() -> None:
    """lastTransitionTime moves when the status flips, not when reason or message change."""
    first = set_conditions([], summary(Outlook.PROGRESSING, reason="A", message="a"), generation=1, now=NOON)
    second = set_conditions(first, summary(Outlook.PROGRESSING, reason="B", message="b"), generation=2, now=at(60))
    third = set_conditions(second, summary(Outlook.DONE, reason="C", message="c"), generation=2, now=at(90))
    assert [NOON] * 3 == [condition.last_transition_time for condition in second]
    assert [2] * 3 == [condition.observed_generation for condition in second]
    assert {"Ready": at(90), "Reconciling": at(90), "Stalled": NOON} == {c.type: c.last_transition_time for c in third}


@pytest.mark.parametrize(
    ("outlook", "true"), [(Outlook.DONE, "Ready"), (Outlook.PROGRESSING, "Reconciling"), (Outlook.STALLED, "Stalled")]
)
def test_summary_must_have_one_truth(outlook: Outlook, true: str) -> None:
    """Exactly one of Ready, Reconciling and Stalled is True: kstatus reads nothing ambiguous."""
    found = set_conditions(
        [], summary(outlook, reason="R", message="m"), generation=1, now=NOON + timedelta(microseconds=5)
    )
    assert [true] == [condition.type for condition in found if condition.status is ConditionStatus.TRUE]
    assert {NOON} == {condition.last_transition_time for condition in found}


UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: cpu."}]
TROUBLES = [
    (pod(waiting("serve", "ErrImagePull", "not found")), Reason.IMAGE_PULL_FAILED, "not found"),
    (pod(waiting("fetch", "ImagePullBackOff", "no")), Reason.IMAGE_PULL_FAILED, "container fetch"),
    (pod(waiting("serve", "CreateContainerConfigError", "no secret")), Reason.CONTAINER_CANNOT_START, "no secret"),
    (pod(ended("serve", 137, reason="OOMKilled")), Reason.OUT_OF_MEMORY, "free memory"),
    (pod(crashed("serve", 137, "", reason="OOMKilled")), Reason.OUT_OF_MEMORY, "limits.memory"),
    (pod(crashed("serve", 1, "Traceback: boom\n")), Reason.CRASH_LOOP, "exit code 1: Traceback: boom"),
    (pod(crashed("serve", 1, "")), Reason.CRASH_LOOP, "it said nothing"),
    (pod(conditions=UNSCHEDULABLE, phase="Pending"), Reason.UNSCHEDULABLE, "0/1 nodes: cpu."),
    (pod(crashed("fetch", 2, "no s3://x")), Reason.DOWNLOAD_FAILED, "no s3://x"),
]


@pytest.mark.parametrize(("found", "reason", "words"), TROUBLES)
def test_trouble_must_be_named(found: Any, reason: Reason, words: str) -> None:
    """Each way in which a pod does not get on has its reason, and the cause in its own words."""
    trouble = pods.trouble(found)
    assert trouble is not None
    assert reason == trouble.reason
    assert words in trouble.message


@pytest.mark.parametrize(
    "found",
    [
        pod(),
        pod(running("serve")),
        pod(waiting("serve", "PodInitializing")),
        pod(ended("fetch"), running("serve")),
        {"metadata": {}, "status": {}},
    ],
)
def test_trouble_must_not_be_invented(found: Any) -> None:
    """A pod that starts, runs or has ended well is in no trouble."""
    assert pods.trouble(found) is None


def test_memory_limit_must_be_the_one_written() -> None:
    """Who reads of an OOM sees the limit that was exceeded."""
    found = pod(ended("serve", 137, reason="OOMKilled"))
    found["spec"]["containers"] = [{"name": "serve", "resources": {"limits": {"memory": "1Gi"}}}]
    assert "more memory than 1Gi" in str(pods.trouble(found))


def test_ready_must_not_count_leaving_pods() -> None:
    """A pod on its way out takes no new requests."""
    assert pods.is_ready(serving_pod("r"))
    assert not pods.is_ready(serving_pod("r", deleting=True))
    assert not pods.is_ready(serving_pod("r", ready=False))
