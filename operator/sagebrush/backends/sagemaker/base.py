"""What the SageMaker kinds need of AWS: the gateway's face."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from sagebrush.core.sagemaker.calls import Account, Call, Service


class Gateway(Protocol):
    """All traffic with AWS: within the account's budget, errors as :class:`~sagebrush.core.sagemaker.calls.AwsError`."""

    async def read(
        self,
        account: Account,
        *,
        service: Service,
        operation: str,
        parameters: Mapping[str, Any],
        max_age: timedelta = timedelta(0),
    ) -> Mapping[str, Any] | None:
        """
        The answer of a Describe or List (all pages of it), at most *max_age* old; None where there is no such thing.

        Equal questions asked at the same time are one call. Raises AwsError.
        """

    async def tags(self, account: Account, *, arn: str, created: datetime | None) -> Mapping[str, str]:
        """Tags of a SageMaker resource; asked once for each (arn, created), since ours never change."""

    async def act(self, call: Call) -> Mapping[str, Any]:
        """Make a call that changes something, and forget what was read of that account's thing. Raises AwsError."""
