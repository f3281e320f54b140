"""THE error table: every ONTAP code that this service answers with, its HTTP status, its text and its true cause.

Texts are the words of the ONTAP 9.6 page of ``POST /security/key-managers/{uuid}/key-servers`` for its 13 codes, and
of the ONTAP REST API reference for the others. The statuses of 6553..., 6606..., 3735... and 5255... codes are ours:
NetApp's pages do not state them. Other modules use the names below, never a number; ``docs/reference/errors.md`` is
generated from this table. A row goes into the file of its family; this file only exports them all.
"""

# ruff: noqa: F403 - a row is named once, where it stands
from keystead.core.errors.administration import *
from keystead.core.errors.advice import ADVICE as ADVICE
from keystead.core.errors.certificates import *
from keystead.core.errors.common import *
from keystead.core.errors.key_managers import *
from keystead.core.errors.keys import *
from keystead.core.errors.not_raised import NOT_RAISED as NOT_RAISED
from keystead.core.errors.table import TABLE as TABLE
from keystead.core.errors.table import ErrorKind as ErrorKind
from keystead.core.errors.table import OntapError as OntapError
