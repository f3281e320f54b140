"""The call that began a resumable job, as text: another process goes on in its name.

The text is for audit records and for what the account may see. Nobody logs in by it, and it holds no secret: ``input``
is masked in each call. The role is stored by its name alone, because the call was allowed when the job began.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from keystead.core.model import CustomRole, Role, Svm
from keystead.service.context import Call, Caller

if TYPE_CHECKING:
    from keystead.core.model import Job


def origin_of(call: Call) -> str:
    """Return what :func:`call_of` needs besides the job's own account and description."""
    caller = call.caller
    return json.dumps(
        {
            "role": caller.role.value,
            "location": caller.location,
            "svm": _written(caller.svm),
            "scope": _written(call.scope),
            "input": call.input,
        }
    )


def call_of(job: Job, origin: str) -> Call:
    """Return the call that began a job."""
    said = json.loads(origin)
    svm = _read(said["svm"])
    caller = Caller(job.account, _role(said["role"], svm), said["location"], svm)
    method, _, path = job.description.partition(" ")
    return Call(caller, method, path, said["input"], _read(said["scope"]))


def _role(name: str, svm: Svm | None) -> Role | CustomRole:
    return Role(name) if name in list(Role) else CustomRole(name, svm, ())


def _written(svm: Svm | None) -> list[str] | None:
    return None if svm is None else [svm.uuid, svm.name]


def _read(said: list[str] | None) -> Svm | None:
    return None if said is None else Svm(*said)
