"""The demo's data: made or read by the model server's own command, put into S3, and known again for the predictions."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from examples.demo.cluster import Cluster
from examples.demo.progress import DemoError, say, show
from examples.demo.shell import run, run_long

BUCKET = "sagebrush-demo"
PREFIX = "kdd"
SECRET = "sagebrush-storage"
CHANNELS = ("train", "validation")


@dataclass(frozen=True, kw_only=True)
class Store:
    """An S3-compatible store and the keys to it."""

    in_cluster_url: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"

    def environment(self) -> dict[str, str]:
        """Return the variables that boto3 reads, as pods need them."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL_S3": self.in_cluster_url,
        }

    def client(self, url: str) -> Any:
        """Return a boto3 client that reaches the store at `url` from here."""
        return boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 5}),
        )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows to ask about, and what is true of each."""

    rows: list[str]
    labels: list[int]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The files that the data command left, and what it says about them."""

    folder: Path
    summary: Mapping[str, Any]

    @property
    def description(self) -> str:
        """Return in a few words which data this is."""
        known = [self.summary[key] for key in ("description", "source") if self.summary.get(key)]
        return str(known[0]) if known else json.dumps(dict(self.summary))

    def sample(self) -> Sample:
        """Return the rows kept for predictions."""
        rows = _lines(self.folder / "sample.csv")
        labels = [int(float(text)) for text in _lines(self.folder / "sample-labels.csv")]
        if len(rows) != len(labels) or not rows:
            raise DemoError(
                f"{self.folder}: {len(rows)} sample rows and {len(labels)} labels: remove it and start again"
            )
        return Sample(rows=rows, labels=labels)

    def bodies(self) -> list[str]:
        """Return the validation rows without their label: what the load asks about."""
        parts = sorted((self.folder / "validation").glob("*.csv"))
        return [line.partition(",")[2] for part in parts for line in _lines(part)]


def prepare(source: str, *, folder: Path) -> Dataset:
    """Read or make the data set with `sagebrush-server kdd-data`, and say which it is."""
    program = Path(sys.executable).with_name("sagebrush-server")
    if not program.exists():
        raise DemoError(f"{program} is missing: run `uv sync` (or `make demo`, which does it), and use its Python")
    chosen = source if source in {"auto", "generated"} else str(Path(source).expanduser().absolute())
    if chosen == source or Path(chosen).exists():
        command = [str(program), "kdd-data", "--source", chosen, "--out", str(folder)]
        run_long(command, what="preparing the data", log=folder.with_suffix(".log"), timeout=600)
    else:
        raise DemoError(f"no data at {source}: give a file or folder in the KDD'99 format, auto, or generated")
    dataset = Dataset(folder=folder, summary=json.loads((folder / "summary.json").read_text()))
    say(f"data: {dataset.description}")
    show(json.dumps(dataset.summary, indent=2))
    return dataset


def upload(dataset: Dataset, *, store: Store, url: str) -> list[str]:
    """Put the channels into the demo's bucket, making it where needed, and return their addresses."""
    client = store.client(url)
    if BUCKET not in {bucket["Name"] for bucket in client.list_buckets().get("Buckets", [])}:
        client.create_bucket(Bucket=BUCKET)
    addresses = []
    for channel in CHANNELS:
        _empty(client, prefix=f"{PREFIX}/{channel}/")
        for part in sorted((dataset.folder / channel).iterdir()):
            key = f"{PREFIX}/{channel}/{part.name}"
            client.upload_file(str(part), BUCKET, key)
            addresses.append(f"s3://{BUCKET}/{key}")
            say(f"uploaded {addresses[-1]} ({part.stat().st_size / 1e6:.1f} MB)")
    return addresses


def storage_secret(cluster: Cluster, *, store: Store, namespace: str) -> None:
    """Give the pods of a namespace the keys to the store."""
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET},
            "type": "Opaque",
            "stringData": store.environment(),
        },
        namespace=namespace,
    )


def git_revision() -> str:
    """Return the revision of this checkout, or `unknown` outside of git."""
    said = run(["git", "describe", "--always", "--dirty"], check=False).strip()
    return said if said and "fatal" not in said else "unknown"


def _empty(client: Any, *, prefix: str) -> None:
    """Remove what an earlier run left under a prefix: a channel is everything below it."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
        for entry in page.get("Contents", []):
            client.delete_object(Bucket=BUCKET, Key=entry["Key"])


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.strip()]
