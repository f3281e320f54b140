"""The error table: every ONTAP code that this service answers with, its HTTP status, its text and its cause.

Texts of the 13 codes on the ONTAP 9.6 page of ``POST /security/key-managers/{uuid}/key-servers`` are from that page.
The other texts are from the ONTAP REST API reference. The statuses of 6553..., 6606..., 3735... and 5255... codes are
ours, because NetApp's pages do not give them. Other modules use the names below, never a number.
``docs/reference/errors.md`` is generated from this table. Add a row to the file of its family; this file only exports
all rows.
"""

# ruff: noqa: F403 - each row is named once, in the file of its family
from keystead.core.errors.administration import *
from keystead.core.errors.advice import ADVICE as ADVICE
from keystead.core.errors.certificates import *
from keystead.core.errors.common import *
from keystead.core.errors.forwarding import *
from keystead.core.errors.key_managers import *
from keystead.core.errors.keys import *
from keystead.core.errors.not_raised import NOT_RAISED as NOT_RAISED
from keystead.core.errors.table import TABLE as TABLE
from keystead.core.errors.table import ErrorKind as ErrorKind
from keystead.core.errors.table import OntapError as OntapError
