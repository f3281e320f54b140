"""Write ``keystead/api/ontap_fields.py``: the field names that ONTAP's resources have.

They are read from the schemas of the official client, netapp-ontap, in the version that the development environment
has. ``--check`` writes nothing and fails if the file is out of date.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import netapp_ontap
from marshmallow import fields
from netapp_ontap import resources

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = Path(__file__).resolve().parent.parent / "src" / "keystead" / "api" / "ontap_fields.py"

WIDTH = 120

# The client's classes for the resources that Keystead serves.
SERVED = (
    "Account",
    "Cluster",
    "EmsDestination",
    "EmsEvent",
    "EmsFilter",
    "EmsFilterRule",
    "EmsMessage",
    "Job",
    "KeyManagerAuthKey",
    "KeyManagerConfig",
    "KeyManagerKeys",
    "KeyServer",
    "LoginMessages",
    "Node",
    "Role",
    "RolePrivilege",
    "SecurityAudit",
    "SecurityAuditLog",
    "SecurityAuditLogForward",
    "SecurityCertificate",
    "SecurityConfig",
    "SecurityKeyManager",
    "SecurityKeystore",
    "Svm",
)

HEAD = '''"""The field names that ONTAP's resources have: generated, do not edit.

``scripts/generate_ontap_fields.py`` reads them from the schemas of netapp-ontap {version}. A type is a text of names;
``name:Type`` has members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPES: Final[Mapping[str, str]] = {{
'''


def main() -> int:
    """Generate or check the file; the exit status is 1 when ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
    made = written()
    if not parser.parse_args().check:
        TARGET.write_text(made, encoding="utf-8")
        return 0
    current = TARGET.exists() and TARGET.read_text(encoding="utf-8") == made
    if not current:
        print(f"{TARGET.name} is out of date: run scripts/generate_ontap_fields.py", file=sys.stderr)
    return 0 if current else 1


def written() -> str:
    """Return the text of the file."""
    types: dict[str, str] = {}
    for name in SERVED:
        _collect(getattr(resources, name)._schema(), types)  # noqa: SLF001 - the client has no other way to its schemas
    return HEAD.format(version=netapp_ontap.__version__) + "".join(map(_entry, sorted(types.items()))) + "}\n"


def _collect(schema: Any, types: dict[str, str]) -> str:
    """Add a schema and those that it uses to ``types``. Return its name."""
    name = type(schema).__name__.removesuffix("Schema")
    if name not in types:
        types[name] = ""  # some schemas contain themselves
        types[name] = " ".join(sorted(_members(schema, types)))
    return name


def _members(schema: Any, types: dict[str, str]) -> Iterator[str]:
    for attribute, field in schema.fields.items():
        element = field
        while isinstance(element, fields.List):
            element = element.inner
        name = field.data_key or attribute
        yield f"{name}:{_collect(element.schema, types)}" if isinstance(element, fields.Nested) else name


def _entry(item: tuple[str, str]) -> str:
    """Return a type as the formatter would write it."""
    name, members = item
    if len(f"    {name!r}: {members!r},") <= WIDTH:
        return f'    "{name}": "{members}",\n'
    room = WIDTH - len('        ""')
    lines = [members]
    if len(members) > room:
        lines = [f"{line} " for line in textwrap.wrap(members, room - 1, break_on_hyphens=False)]
    return f'    "{name}": (\n' + "".join(f'        "{line}"\n' for line in lines) + "    ),\n"


if __name__ == "__main__":
    sys.exit(main())
