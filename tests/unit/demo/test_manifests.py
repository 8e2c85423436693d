"""Every manifest below examples/ is one that the API accepts."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sagebrush.api.model_endpoint import ModelEndpoint
from sagebrush.api.training_job import TrainingJob

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
KINDS: dict[str, Any] = {"TrainingJob": TrainingJob, "ModelEndpoint": ModelEndpoint}


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_manifest_must_be_valid(path: Path) -> None:
    """The types know every field that an example uses."""
    for document in yaml.safe_load_all(path.read_text()):
        KINDS[document["kind"]].model_validate(document)


def test_own_image_must_use_none_of_our_code() -> None:
    """The point of the example: an image that knows nothing of Sagebrush."""
    for name in ("train", "serve", "Dockerfile"):
        text = (EXAMPLES / "own-image" / name).read_text()
        assert "import sagebrush" not in text
        assert "from sagebrush" not in text
    for name in ("train", "serve"):
        assert (EXAMPLES / "own-image" / name).stat().st_mode & 0o111
