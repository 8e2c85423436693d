"""Clients: never kept without credentials, one session for each region and role, and no profile stops the operator."""

from pathlib import Path

import pytest
from botocore.exceptions import NoCredentialsError

from sagebrush.backends.sagemaker.clients import Clients, default_region
from sagebrush.core.sagemaker.calls import Account, Service

ROLE = "arn:aws:iam::111122223333:role/x"
HERE, THERE = Account("eu-west-1"), Account("eu-central-1")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, no files, no metadata service, no profile."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.mark.parametrize("account", [HERE, Account("eu-west-1", ROLE)])
def test_client_without_credentials_must_not_be_kept(monkeypatch: pytest.MonkeyPatch, account: Account):
    """Credentials that come later are found: a client made without them would never look again."""
    clients = Clients()
    for _ in range(2):
        with pytest.raises(NoCredentialsError):
            clients.client(account, Service.SAGEMAKER)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    made = clients.client(account, Service.SAGEMAKER)
    assert clients.client(account, Service.SAGEMAKER) is made


def test_session_must_be_of_one_region(monkeypatch: pytest.MonkeyPatch):
    """A role is assumed at the STS of each region: one that does not answer, or does not exist, is no matter elsewhere."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    clients = Clients()
    for account in (Account(HERE.region, ROLE), Account(THERE.region, ROLE)):
        clients.client(account, Service.SAGEMAKER)
    assert 2 == len({id(session) for session in clients._sessions.values()})


def test_account_must_be_read_off_the_role():
    """Whose budget it is stands in the role's ARN; no call is made for it."""
    assert "111122223333" == Clients().account_id(Account("eu-west-1", ROLE))


def test_own_account_must_not_be_asked_for_at_every_call():
    """Where AWS can't be asked who we are, it is tried again a minute later, not with each call."""
    clients = Clients()
    assert "own" == clients.account_id(HERE)
    assert 0 < clients._ask_again_at
    assert "own" == clients.account_id(HERE)


def test_region_must_come_from_where_aws_sets_it(monkeypatch: pytest.MonkeyPatch):
    """EKS sets AWS_REGION, which botocore does not read; botocore's own variable comes next."""
    assert default_region() is None
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-north-1")
    assert "eu-north-1" == default_region()
    monkeypatch.setenv("AWS_REGION", "eu-south-1")
    assert "eu-south-1" == default_region()


def test_missing_profile_must_not_stop_the_operator(monkeypatch: pytest.MonkeyPatch):
    """Backend Cluster needs no AWS configuration, and runs beside a broken one."""
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert default_region() is None
