"""`SAGEBRUSH_TRAINING_PLAN`: what the operator tells `fetch` and `agent` (docs/contract.md)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


class PlanError(ValueError):
    """The plan is missing or damaged: the operator and this image don't understand each other."""


@dataclass(frozen=True, kw_only=True)
class PlannedChannel:
    """One channel to fetch."""

    name: str
    uri: str
    content_type: str | None
    compression: str
    record_wrapper: str
    input_mode: str
    distribution: str


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """One host's part of a training job; `host` is this pod's name among `hosts`."""

    job_name: str
    algorithm: str | None
    hyperparameters: dict[str, Any]
    channels: tuple[PlannedChannel, ...]
    hosts: tuple[str, ...]
    output_uri: str
    upload_timeout_seconds: float
    host: str

    @property
    def host_index(self) -> int:
        """The place of this host among the hosts, from 0."""
        return self.hosts.index(self.host)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "TrainingPlan":
        """Read the plan and `JOB_COMPLETION_INDEX`. Raises PlanError naming what is wrong."""
        try:
            plan = orjson.loads(environment["SAGEBRUSH_TRAINING_PLAN"])
            index = int(environment.get("JOB_COMPLETION_INDEX", "0"))
            hosts = tuple(plan["hosts"])
            return cls(
                job_name=plan["jobName"],
                algorithm=plan.get("algorithm"),
                hyperparameters=plan["hyperParameters"],
                channels=tuple(map(_channel, plan["channels"])),
                hosts=hosts,
                output_uri=plan["output"]["uri"],
                upload_timeout_seconds=float(plan["output"]["uploadTimeoutSeconds"]),
                host=hosts[index],
            )
        except KeyError as problem:
            raise PlanError(f"SAGEBRUSH_TRAINING_PLAN: {problem} is missing") from problem
        except (ValueError, TypeError, AttributeError, IndexError) as problem:
            raise PlanError(f"SAGEBRUSH_TRAINING_PLAN can't be read: {problem}") from problem


def _channel(document: Mapping[str, Any]) -> PlannedChannel:
    return PlannedChannel(
        name=document["name"],
        uri=document["uri"],
        content_type=document.get("contentType"),
        compression=document["compression"],
        record_wrapper=document["recordWrapper"],
        input_mode=document["inputMode"],
        distribution=document["distribution"],
    )
