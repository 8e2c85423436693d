"""A made-up set with the shape of the KDD Cup 1999 data, for where the real one can't be had.

Every connection belongs to one kind of traffic, whose profile gives protocol, service, flag and the middle of the
numeric features. A share of the connections of every kind looks, in part, like another kind, so that no straight line
tells attack from normal without errors, as in the real data.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from sagebrush_server.datasets.kdd_fields import FIELDS, NORMAL, SYMBOLIC

_DISGUISED_SHARE: Final = 0.12
_RATE_SPREAD: Final = 12.0


@dataclass(frozen=True, kw_only=True)
class _Profile:
    """One kind of traffic. Bytes and durations are medians, `counts` and `rates` means of the features named."""

    label: str
    share: float
    protocol: str
    services: tuple[str, ...]
    flags: tuple[str, ...]
    seconds: float = 0.0
    source_bytes: float = 0.0
    answer_bytes: float = 0.0
    counts: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)


_QUIET: Final = {"same_srv_rate": 0.97, "dst_host_same_srv_rate": 0.8, "dst_host_srv_diff_host_rate": 0.03}
_SYN: Final = {"serror_rate": 0.98, "srv_serror_rate": 0.98, "dst_host_serror_rate": 0.97} | {
    "dst_host_srv_serror_rate": 0.97, "same_srv_rate": 0.07, "diff_srv_rate": 0.07, "dst_host_same_srv_rate": 0.05,
}  # fmt: skip
_SCAN: Final = {"rerror_rate": 0.85, "srv_rerror_rate": 0.85, "dst_host_rerror_rate": 0.6} | {
    "dst_host_srv_rerror_rate": 0.7, "same_srv_rate": 0.3, "diff_srv_rate": 0.5, "dst_host_diff_srv_rate": 0.5,
}  # fmt: skip
_SWEEP: Final = {"same_srv_rate": 0.95, "srv_diff_host_rate": 0.6, "dst_host_same_src_port_rate": 0.8} | {
    "dst_host_srv_diff_host_rate": 0.5, "dst_host_same_srv_rate": 0.6,
}  # fmt: skip

_PROFILES: Final = (
    _Profile(label=NORMAL, share=0.33, protocol="tcp", services=("http", "http", "http", "smtp"), flags=("SF",),
             seconds=0.3, source_bytes=240, answer_bytes=2500, rates=_QUIET,
             counts={"logged_in": 0.95, "count": 8, "srv_count": 11, "dst_host_count": 110, "dst_host_srv_count": 215}),
    _Profile(label=NORMAL, share=0.12, protocol="udp", services=("domain_u", "ntp_u", "other"), flags=("SF",),
             source_bytes=45, answer_bytes=70, rates=_QUIET,
             counts={"count": 60, "srv_count": 60, "dst_host_count": 220, "dst_host_srv_count": 200}),
    _Profile(label=NORMAL, share=0.08, protocol="tcp", services=("ftp_data", "ftp", "telnet", "private"),
             flags=("SF", "SF", "SF", "S1", "REJ"), seconds=15, source_bytes=900, answer_bytes=400,
             rates=_QUIET | {"rerror_rate": 0.1, "dst_host_same_src_port_rate": 0.3},
             counts={"logged_in": 0.6, "hot": 0.4, "count": 3, "dst_host_count": 130, "dst_host_srv_count": 60}),
    _Profile(label="neptune", share=0.27, protocol="tcp", services=("private", "telnet", "other", "http", "ftp_data"),
             flags=("S0", "S0", "S0", "REJ"), rates=_SYN,
             counts={"count": 175, "srv_count": 10, "dst_host_count": 253, "dst_host_srv_count": 13}),
    _Profile(label="satan", share=0.05, protocol="tcp", services=("private", "other", "finger", "smtp"),
             flags=("REJ", "RSTR", "SF"), source_bytes=4, rates=_SCAN,
             counts={"count": 120, "srv_count": 5, "dst_host_count": 240, "dst_host_srv_count": 12}),
    _Profile(label="portsweep", share=0.04, protocol="tcp", services=("private", "other", "http"),
             flags=("RSTR", "REJ", "SH"), seconds=30, rates=_SCAN,
             counts={"count": 15, "srv_count": 4, "dst_host_count": 230, "dst_host_srv_count": 6}),
    _Profile(label="ipsweep", share=0.04, protocol="icmp", services=("eco_i",), flags=("SF",), source_bytes=8,
             rates=_SWEEP, counts={"count": 2, "srv_count": 15, "dst_host_count": 30, "dst_host_srv_count": 60}),
    _Profile(label="smurf", share=0.03, protocol="icmp", services=("ecr_i",), flags=("SF",), source_bytes=800,
             rates=_QUIET | {"dst_host_same_src_port_rate": 0.97},
             counts={"count": 400, "srv_count": 400, "dst_host_count": 250, "dst_host_srv_count": 200}),
    _Profile(label="warezclient", share=0.02, protocol="tcp", services=("ftp_data", "ftp"), flags=("SF",),
             seconds=60, source_bytes=20000, rates=_QUIET | {"dst_host_same_src_port_rate": 0.6},
             counts={"logged_in": 0.98, "hot": 12, "is_guest_login": 0.6, "count": 2, "dst_host_srv_count": 40}),
    _Profile(label="back", share=0.015, protocol="tcp", services=("http",), flags=("SF", "RSTR"), seconds=1,
             source_bytes=54540, answer_bytes=8300, rates=_QUIET,
             counts={"logged_in": 0.97, "hot": 2, "num_compromised": 0.95, "count": 6, "dst_host_srv_count": 240}),
    _Profile(label="guess_passwd", share=0.005, protocol="tcp", services=("telnet", "pop_3"), flags=("SF", "RSTO"),
             seconds=3, source_bytes=125, answer_bytes=180, rates=_QUIET,
             counts={"num_failed_logins": 1, "hot": 0.8, "count": 1, "dst_host_srv_count": 20}),
)  # fmt: skip
_YES_OR_NO: Final = frozenset(("land", "logged_in", "root_shell", "su_attempted", "is_host_login", "is_guest_login"))
_LIMITS: Final = {"count": 511, "srv_count": 511, "dst_host_count": 255, "dst_host_srv_count": 255}


def generate(rows: int, *, seed: int) -> list[list[str]]:
    """Return `rows` records of 41 feature texts and a label, the same for the same seed."""
    random = np.random.default_rng(seed)
    shares = np.array([profile.share for profile in _PROFILES])
    kinds = random.choice(len(_PROFILES), size=rows, p=shares / shares.sum())
    disguises = random.choice(len(_PROFILES), size=rows, p=shares / shares.sum())
    disguised = random.random(rows) < _DISGUISED_SHARE
    records = []
    for kind, disguise, hidden in zip(kinds.tolist(), disguises.tolist(), disguised.tolist(), strict=True):
        own, shown = _PROFILES[kind], _PROFILES[disguise]
        records.append(_record(own, numbers=shown if hidden else own, random=random))
    return records


def _record(profile: _Profile, *, numbers: _Profile, random: np.random.Generator) -> list[str]:
    """Draw one connection; its numeric features come from the profile `numbers`."""
    symbols = {
        "protocol_type": profile.protocol,
        "service": str(random.choice(profile.services)),
        "flag": str(random.choice(profile.flags)),
    }
    medians = {"duration": numbers.seconds, "src_bytes": numbers.source_bytes, "dst_bytes": numbers.answer_bytes}
    cells = []
    for name in FIELDS:
        if name in SYMBOLIC:
            cells.append(symbols[name])
        elif name in medians:
            # Bytes and durations spread over orders of magnitude.
            cells.append(str(int(medians[name] * random.lognormal(0.0, 1.0))))
        elif name.endswith("_rate"):
            middle = min(max(numbers.rates.get(name, 0.02), 0.005), 0.995)
            cells.append(f"{random.beta(middle * _RATE_SPREAD, (1 - middle) * _RATE_SPREAD):.2f}")
        elif name in _YES_OR_NO:
            cells.append(str(int(random.random() < numbers.counts.get(name, 0.001))))
        else:
            cells.append(str(min(int(random.poisson(numbers.counts.get(name, 0.01))), _LIMITS.get(name, 1000))))
    return [*cells, profile.label]
