"""What the SageMaker demo fills into the manifests of examples/kdd/sagemaker/."""

import pytest
import yaml

from examples.demo.progress import DemoError
from examples.sagemaker_demo import manifests
from sagebrush.api.model_endpoint import ModelEndpoint
from sagebrush.api.training_job import TrainingJob

BUCKET = "some-bucket"


def filled(path, *changes):
    return manifests.filled(path.read_text(), [*manifests.placeholders(BUCKET), *changes])


def test_placeholders_must_be_gone_from_all_values():
    """Account, role and bucket are the demo's; the comment that tells a user to replace them stays."""
    for path in (manifests.TRAINING_JOB, manifests.ENDPOINT):
        text = yaml.safe_dump(yaml.safe_load(filled(path)))
        for placeholder in ("111122223333", "EXECUTION_ROLE", "DATA_BUCKET"):
            assert placeholder not in text
        assert f"arn:aws:iam::{manifests.ACCOUNT}:role/{manifests.ROLE}" in text
    assert "Replace 111122223333" in filled(manifests.TRAINING_JOB)


def test_filled_manifests_must_be_valid():
    """The API takes what the demo applies, with both engines."""
    job = yaml.safe_load(filled(manifests.TRAINING_JOB))
    assert TrainingJob.model_validate(job)
    assert f"s3://{BUCKET}/output" == job["spec"]["output"]["uri"]
    ours = yaml.safe_load(filled(manifests.ENDPOINT, manifests.value("requestsPerMinute", "30000")))
    assert ModelEndpoint.model_validate(ours)
    assert 30000 == ours["spec"]["scaling"]["target"]["requestsPerMinute"]
    changes = [manifests.named("kdd-aws"), manifests.engine("ApplicationAutoScaling", cooldown="5m")]
    theirs = yaml.safe_load(filled(manifests.ENDPOINT, *changes))
    assert ModelEndpoint.model_validate(theirs)
    assert ("kdd-aws", "kdd") == (theirs["metadata"]["name"], theirs["spec"]["model"]["trainingJobRef"]["name"])
    scaling = theirs["spec"]["scaling"]
    assert ("ApplicationAutoScaling", "5m") == (scaling["engine"], scaling["scaleOutCooldown"])


def test_only_the_wanted_field_must_change():
    """A second edit of a file that was filled in touches one line."""
    before = filled(manifests.ENDPOINT, manifests.value("requestsPerMinute", "30000"))
    after = manifests.filled(before, [manifests.value("requestsPerMinute", "15000")])
    assert [
        "-      requestsPerMinute: 30000   # filled in by the demo",
        "+      requestsPerMinute: 15000   # filled in by the demo",
    ] == manifests.difference(before, after).splitlines()


def test_field_that_is_gone_must_be_told():
    """An example that was changed stops the demo with the field's name, rather than run with another value."""
    with pytest.raises(DemoError, match="the field noSuchField"):
        filled(manifests.ENDPOINT, manifests.value("noSuchField", "1"))
    with pytest.raises(DemoError, match="the placeholder 111122223333"):
        manifests.filled("kind: ModelEndpoint\n", manifests.placeholders(BUCKET))
