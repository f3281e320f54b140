"""Codes of SVMs, the cluster, jobs, accounts, roles and audit. Source: their pages of the ONTAP REST API reference."""

from __future__ import annotations

from keystead.core.errors.table import row

JOB_INTERRUPTED = row(
    262145,
    503,
    "The job was interrupted: its node stopped. What it had done by then stays done.",
    "The service was stopped, or ended abruptly, while a job ran.",
)
JOB_CANCELLED = row(
    262145,
    409,
    "The job was cancelled. What it had done by then stays done.",
    "A PATCH of the job with `action=cancel`.",
)
NODE_IS_UP = row(
    262145,
    409,
    'Cannot remove node "{node}": it was heard less than 45 seconds ago. Stop it first.',
    "A node that is to be removed still runs, or ran a moment ago.",
)
JOB_ENDED = row(458762, 400, "Job is already in a terminal state.", "The job has succeeded or failed.")
JOB_IS_RUNNING = row(458771, 400, "The specified job is running.", "Only a paused job can be resumed.")
JOB_NOT_RUNNING = row(
    458776, 400, "The specified job is not currently running.", "The job is paused, or is being cancelled."
)
JOB_WITHOUT_PAUSE = row(
    458783, 400, "This job does not support pause.", "Its work has no steps from which another process could go on."
)
JOB_WITHOUT_CANCEL = row(458784, 400, "This job does not support cancel.", "As above.")
ROLE_BUILT_IN = row(1263347, 400, "Cannot modify pre-defined roles.", "A built-in role is neither changed nor deleted.")
ROLE_NOT_FOUND = row(1261215, 400, "The role was not found.", "No role has this name.")
USER_NOT_FOUND = row(1261218, 400, "The user was not found.", "The account whose password is to be set does not exist.")
LAST_ADMIN = row(
    5636098,
    400,
    "Last unlocked account that has an admin role cannot be deleted.",
    "Without this account no account could administer the cluster with a password. It cannot be locked or given a"
    " lesser role either.",
)
NAME_RESERVED = row(
    5636121,
    400,
    "The user account name is reserved for use by the system.",
    "autosupport or diag, which are ONTAP's own.",
)
ROLE_NOT_DEFINED = row(
    5636129, 400, "A role with given name has not been defined.", "A privilege is added to a role that does not exist."
)
ACCESS_NOT_OF_SVMS = row(
    5636143,
    400,
    "A Vserver admin cannot use the API with this access level.",
    "A role of an SVM never has more access to a path than vsadmin has.",
)
ACCESS_INVALID = row(
    5636144,
    400,
    "The value specified for the access level is not valid.",
    "It is none, readonly, read_create, read_modify, read_create_modify or all.",
)
PATH_INVALID = row(
    5636169,
    400,
    "Specified URI path is invalid or not supported.",
    "A privilege's path begins with /api, and has no empty segment, no slash at its end and nothing percent-encoded. A"
    " path of commands is not supported.",
)
PATH_NOT_SERVED = row(
    5636170,
    400,
    "The URI does not exist.",
    "Nothing is served at or beneath this path. Only an identifier in a path may be written as *.",
)
ROLE_NAME_RESERVED = row(
    5636171, 400, "Role already exists in legacy role table.", "A built-in role has this name, in any letter case."
)
ROLE_IN_USE = row(
    5636172,
    400,
    "User accounts detected with this role assigned. Update or delete those accounts before deleting this role.",
    "An account has the role. A role is deleted with its last privilege.",
)
API_NOT_OF_SVMS = row(
    5636175,
    400,
    "Vserver admin cannot have access to given API.",
    "A role of an SVM names a path to which vsadmin has no access.",
)
QUERY_OF_API_PATH = row(
    5636192,
    400,
    "The query parameter cannot be specified for the privileges tuple with API endpoint entries.",
    "`query` is for paths of commands, which are not supported.",
)
NAME_CHARACTERS = row(
    7077897, 400, "Invalid character in username.", "Letters, digits and . _ - @ are allowed, a letter or digit first."
)
NAME_LENGTH = row(7077899, 400, "The username does not meet length requirements.", "A name has 3 to 64 characters.")
ROLE_OF_OTHER_SCOPE = row(
    7077906,
    400,
    "A role with that name has not been defined for the Vserver.",
    "A role of the cluster for an account of an SVM, or the other way round.",
)
PASSWORD_HOLDS_NAME = row(
    7077918, 400, "The password cannot contain the username.", "In any case, forwards or backwards."
)
PASSWORD_TOO_SHORT = row(
    7077919,
    400,
    "The minimum length for new password does not meet the policy.",
    "A password has at least 8 characters.",
)
PASSWORD_TOO_SIMPLE = row(
    7077920, 400, "The new password must have both letters and numbers.", "A password lacks a letter or a digit."
)
PASSWORD_REPEATED = row(
    7077925,
    400,
    "New password must be different from the old password.",
    "The account has this password already. Earlier passwords are not compared.",
)
PASSWORD_TOO_LONG = row(
    7077940, 400, "The password exceeds the maximum supported length.", "A password has at most 128 characters."
)
PASSWORD_MISSING = row(
    7078900,
    400,
    "An admin password is not set. Set the password by including it in the request.",
    "The authentication method password is asked for, and the account has no password.",
)
