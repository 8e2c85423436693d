"""The manifests of examples/kdd/sagemaker/ with what a user would fill in, as text, so that the comments stay."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from examples.demo.progress import DemoError
from examples.demo.shell import REPOSITORY

FOLDER = REPOSITORY / "examples" / "kdd" / "sagemaker"
TRAINING_JOB, ENDPOINT = FOLDER / "training-job.yaml", FOLDER / "endpoint.yaml"
ACCOUNT, ROLE = "123456789012", "sagebrush-execution"
MARK = "# filled in by the demo"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One thing that is filled in."""

    what: str
    """In words, for the error where it can't be."""
    pattern: str
    replacement: str
    everywhere: bool = False


def placeholders(bucket: str) -> list[Change]:
    """What docs/sagemaker.md tells to replace: account, role, bucket."""
    wanted = {"111122223333": ACCOUNT, "EXECUTION_ROLE": ROLE, "DATA_BUCKET": bucket}
    # Not in the comments above, which name the placeholders.
    return [
        Change(
            what=f"the placeholder {old}", pattern=rf"(?m)^([^#\n]*){old}", replacement=rf"\g<1>{new}", everywhere=True
        )
        for old, new in wanted.items()
    ]


def value(field: str, new: str) -> Change:
    """Another value for a field; its comment speaks of the old one, and goes."""
    pattern = rf"(?m)^(\s+{field}:) [^\n]*$"
    return Change(what=f"the field {field}", pattern=pattern, replacement=rf"\g<1> {new}   {MARK}")


def named(new: str) -> Change:
    """Another name for the object."""
    pattern = r"(?m)^(metadata:\n  name:) \S+$"
    return Change(what="metadata.name", pattern=pattern, replacement=rf"\g<1> {new}   {MARK}")


def engine(new: str, *, cooldown: str) -> Change:
    """Another engine of scaling, with cooldowns as AWS has them where nobody says anything."""
    lines = "\n".join(f"    {line}   {MARK}" for line in (f"engine: {new}", f"scaleOutCooldown: {cooldown}"))
    return Change(what="spec.scaling", pattern=r"(?m)^(  scaling:)$", replacement=rf"\g<1>\n{lines}")


def filled(text: str, changes: Sequence[Change]) -> str:
    """Make the changes. Raises DemoError for one that finds nothing to change: the example has become another."""
    for change in changes:
        text, found = re.subn(change.pattern, change.replacement, text, count=0 if change.everywhere else 1)
        # Not each manifest has a bucket.
        if not found and not change.what.endswith("DATA_BUCKET"):
            raise DemoError(
                f"a manifest of examples/kdd/sagemaker has no longer {change.what}: mend the demo, or the manifest"
            )
    return text


def difference(before: str, after: str) -> str:
    """Return the lines that differ, with - and +."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))
