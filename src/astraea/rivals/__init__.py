"""Other policies behind the same protocol, by name. A new one is a file here and a line in ``POLICIES``.

All but ``astraea`` give up LIVE-1 (``guarded = False``): they are what published systems or textbooks do, for
comparison; they are not for serving.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches

from astraea.errors import UsageError
from astraea.policy.astraea import LearningPolicy
from astraea.policy.limits import Limits
from astraea.policy.protocol import Policy
from astraea.rivals.astraea_paper import AstraeaPaper
from astraea.rivals.continuum import Continuum
from astraea.rivals.fcfs import Fcfs
from astraea.rivals.hrrn import Hrrn
from astraea.rivals.hrrn_turn import HrrnTurn
from astraea.rivals.infercept import Infercept
from astraea.rivals.job_fcfs import JobFcfs, JobFcfsKept
from astraea.rivals.mars import Mars
from astraea.rivals.mlfq import Mlfq
from astraea.rivals.plas import Plas
from astraea.rivals.sjf_predicted import SjfPredicted
from astraea.rivals.srpt_oracle import SrptOracle, SrptOracleLru
from astraea.rivals.thunderagent import ThunderAgent, ThunderAgentUndecayed

__all__ = ["POLICIES", "make_policy", "policy_names"]

POLICIES: Mapping[str, Callable[[Limits], Policy]] = {
    "astraea": LearningPolicy,
    "astraea-paper": AstraeaPaper,
    "fcfs": Fcfs,
    "job-fcfs": JobFcfs,
    "hrrn": Hrrn,
    "sjf-predicted": SjfPredicted,
    "mlfq": Mlfq,
    "plas": Plas,
    "infercept": Infercept,
    "mars": Mars,
    "continuum": Continuum,
    "thunderagent": ThunderAgent,
    "thunderagent-undecayed": ThunderAgentUndecayed,
    "hrrn-turn": HrrnTurn,
    "job-fcfs-kept": JobFcfsKept,
    "srpt-oracle": SrptOracle,
    "srpt-oracle-lru": SrptOracleLru,
}


def policy_names() -> tuple[str, ...]:
    """Return the names of all policies."""
    return tuple(POLICIES)


def make_policy(name: str, limits: Limits) -> Policy:
    """Return a fresh policy for one scheduler; raise :class:`UsageError` for an unknown name."""
    factory = POLICIES.get(name)
    if factory is None:
        close = get_close_matches(name, POLICIES, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(f"There is no policy {name!r}.{hint} The policies are {', '.join(POLICIES)}.")
    return factory(limits)
