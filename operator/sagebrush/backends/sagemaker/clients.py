"""boto3 clients, one for each account, role and service; they are thread-safe, sessions are not."""

import logging
import os
import threading
import time
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from sagebrush import __version__
from sagebrush.core.sagemaker.calls import Account, Service

log = logging.getLogger(__name__)

CONNECT_SECONDS, READ_SECONDS = 5, 30
CONNECTIONS = 32
IDENTITY_RETRY_SECONDS = 60.0


def default_region() -> str | None:
    """AWS_REGION, which EKS sets and botocore does not read, else botocore's own chain: AWS_DEFAULT_REGION, the profile's."""
    try:
        found: str | None = os.environ.get("AWS_REGION") or botocore.session.get_session().get_config_variable("region")
    except BotoCoreError as error:  # no reason for backend Cluster not to run
        log.warning("AWS' configuration can't be read: %s", error)
        return None
    return found


class Clients:
    """
    Makes clients once and keeps them.

    Credentials come from boto3's default chain (environment, profile, IRSA, EKS Pod Identity), or by AssumeRole from
    them, and are refreshed by botocore. STS is the region's own.
    """

    def __init__(self, *, session_name: str = "sagebrush") -> None:
        self._session_name = session_name
        self._lock = threading.Lock()
        self._identity_lock = threading.Lock()
        self._sessions: dict[Account, Any] = {}
        self._clients: dict[tuple[Account, Service], Any] = {}
        self._own_account: str | None = None
        self._ask_again_at = 0.0

    def client(self, account: Account, service: Service) -> Any:
        """The client. Raises BotoCoreError where there are no credentials at all."""
        key = (account, service)
        found = self._clients.get(key)
        if found is not None:
            return found
        with self._lock:
            if key not in self._clients:
                session = self._session(account)
                if session.get_credentials() is None:  # kept, such a client would never look for them again
                    raise NoCredentialsError
                self._clients[key] = session.create_client(service, region_name=account.region, config=_config())
            return self._clients[key]

    def account_id(self, account: Account) -> str:
        """
        Number of the AWS account that is called: what shares a budget. "own" while AWS does not tell whose we are.

        GetCallerIdentity needs no permission.
        """
        if account.assume_role_arn:
            return account.assume_role_arn.split(":")[4]
        with self._identity_lock:  # not the clients' lock: where STS can't be reached, this takes its time
            if self._own_account is None and time.monotonic() >= self._ask_again_at:
                try:
                    source = botocore.session.get_session()
                    sts = source.create_client("sts", region_name=account.region, config=_config())
                    self._own_account = str(sts.get_caller_identity()["Account"])
                except (BotoCoreError, ClientError):  # the call itself will say what is wrong
                    self._ask_again_at = time.monotonic() + IDENTITY_RETRY_SECONDS
            return self._own_account or "own"

    def _session(self, account: Account) -> Any:
        if account not in self._sessions:
            session = botocore.session.get_session()
            if account.assume_role_arn:
                self._assume(session, account.assume_role_arn, region=account.region)
            self._sessions[account] = session
        return self._sessions[account]

    def _assume(self, session: Any, role: str, *, region: str) -> None:
        source = botocore.session.get_session()
        credentials = source.get_credentials()
        if credentials is None:
            raise NoCredentialsError

        def create_client(service: str, **arguments: Any) -> Any:
            return source.create_client(service, region_name=region, config=_config(), **arguments)

        fetcher = AssumeRoleCredentialFetcher(
            client_creator=create_client,
            source_credentials=credentials,
            role_arn=role,
            extra_args={"RoleSessionName": self._session_name[:64]},
        )
        # botocore has no public way to hand a session credentials that refresh themselves.
        session._credentials = DeferredRefreshableCredentials(  # noqa: SLF001
            method="assume-role", refresh_using=fetcher.fetch_credentials
        )


def _config() -> Config:
    # One attempt: a retry inside botocore would bypass the budget; ours goes through the work queue's back-off.
    return Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONNECTIONS,
        user_agent_extra=f"sagebrush/{__version__}",
    )
