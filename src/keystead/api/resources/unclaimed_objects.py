"""``.../unclaimed-objects``: objects on key servers under our names that no key accounts for. Not ONTAP's.

They come from another incarnation of the database. They are never destroyed. POST makes one of them a key.
``.../dismiss`` says that one needs nobody.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from keystead.api.codes import NEW_KEY, ONE_OWNER
from keystead.api.declared import Form, Paths
from keystead.api.hal import Reply
from keystead.api.operations import acting, listing
from keystead.api.resource import OURS, Field, Group, Resource, always
from keystead.api.resources.auth_keys import auth_key_link
from keystead.api.resources.key_fields import ONE_KEY_MANAGER, key_manager_path, shown
from keystead.api.resources.volume_keys import volume_key_link
from keystead.api.values import BOOLEAN, SERVER, TEXT, TIME, UUID, name, one_of, place_in_list, text
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.creating import NAME_LIMIT
from keystead.core.keys.model import KeyType
from keystead.core.query.query import Read
from keystead.service.keys.catalogue import KeyView

if TYPE_CHECKING:
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.keys.model import Orphan
    from keystead.core.model import KeyServer
    from keystead.core.server_address import ServerAddress
    from keystead.service.ports.page import Page

COLLECTION = f"{ONE_KEY_MANAGER}/unclaimed-objects"
_OWN, _ANOTHER = "own", "another"


class _View(NamedTuple):
    """An object, and the address of its key server. The address is empty if the server is forgotten."""

    of: Orphan
    own: bool
    server: str

    @property
    def place(self) -> str:
        """The place in the list: by server, then by name."""
        return f"{self.of.key_server} {self.of.name} {self.of.unique_identifier}"


def _place_fields(read: Read) -> tuple[Field, Field]:
    """Return the two fields that say which object is meant, in answers and in bodies."""
    return (
        Field(
            name="key_server",
            type=SERVER,
            help="The primary key server.",
            get=lambda view: view.server or None,
            read=read,
            post=True,
            required=True,
            since=OURS,
        ),
        Field(
            name="unique_identifier",
            type=text(1024),
            help="The object's unique identifier on the server.",
            get=lambda view: view.of.unique_identifier,
            read=read,
            post=True,
            required=True,
            since=OURS,
        ),
    )


UNCLAIMED = Resource(
    name="unclaimed_object",
    help="An object on a key server under one of our names that no key of this database accounts for. It may be a key"
    " from after the backup that was restored, or the key of another installation. It is never destroyed."
    " ``POST`` adopts the object: it becomes a key with the given name, and the other copies are written from it."
    " ``Location`` is the path of that key. When the key is purged, the object stays and is unclaimed again, because it"
    " may also be the key of another installation. An object of 64 bytes is a volume key; 20 to 32 bytes are an"
    " authentication key. Either half of a pair represents the whole pair. A call confined to an SVM finds none,"
    " because the owner of an object is unknown.",
    declared=(
        *_place_fields(Read.KEY),
        Field(
            name="object_name",
            type=TEXT,
            help="The object's name on the server: ``keystead-``, then the incarnation, the key and the attempt.",
            get=lambda view: view.of.name,
            since=OURS,
        ),
        Field(
            name="incarnation",
            type=one_of(_OWN, _ANOTHER),
            help="The writer, taken from the object's name. ``own``: this database, mostly in an earlier incarnation."
            " ``another``: an incarnation that this database does not know. It belongs to a copy of this database, or"
            " to another installation, which may use the object.",
            get=lambda view: _OWN if view.own else _ANOTHER,
            since=OURS,
        ),
        Field(
            name="found_time",
            type=TIME,
            help="The time when the object was first found.",
            get=lambda view: shown(view.of.found),
            since=OURS,
        ),
        Field(
            name="dismissed",
            type=BOOLEAN,
            help="Whether an administrator has dismissed the object. A dismissed object needs nobody: nothing warns of"
            " it, and ``rebuild`` does not count it. The dismissal ends when the object changes.",
            get=lambda view: view.of.dismissal is not None,
            since=OURS,
        ),
        Group(name="dismissal", help="Who dismissed the object, and when.", get=attrgetter("of.dismissal")),
        Field(
            name="dismissal.time", type=TIME, help="The time.", get=lambda dismissal: shown(dismissal.time), since=OURS
        ),
        Field(name="dismissal.account", type=TEXT, help="The account.", get=attrgetter("account"), since=OURS),
        Field(
            name="dismissal.digest",
            type=TEXT,
            help="The keyed digest (HMAC-SHA-256, hexadecimal) of what the object contained then. The scan compares it,"
            " about once a day.",
            get=lambda dismissal: dismissal.digest.hex(),
            since=OURS,
        ),
        Field(
            name="name",
            type=name(NAME_LIMIT),
            help="The name of the new key.",
            read=Read.NEVER,
            post=True,
            required=True,
            since=OURS,
        ),
        Field(
            name="svm.uuid", type=UUID, help="The SVM that will own the key.", read=Read.NEVER, post=True, since=OURS
        ),
        Field(
            name="svm.name",
            type=text(255),
            help="The SVM that will own the key, by name.",
            read=Read.NEVER,
            post=True,
            since=OURS,
        ),
    ),
    link=lambda view: f"{key_manager_path(view.of.key_manager)}/unclaimed-objects",
    key="unique_identifier",
    order=("place", place_in_list(r"[0-9a-f-]{36} .*"), attrgetter("place")),
)


DISMISSALS = Resource(
    name="unclaimed_object_dismissal",
    help="The statement that an unclaimed object needs nobody. The object is read, and a digest of what it contains is"
    " kept: when it contains something else, the dismissal ends. Nothing is destroyed, and no key server becomes"
    " removable. The audit record names the server, the object and the digest. Of a pair, both halves are dismissed.",
    declared=(
        *_place_fields(Read.NEVER),
        Field(name="undo", type=BOOLEAN, help="True undoes the dismissal.", read=Read.NEVER, post=True, since=OURS),
    ),
    link=always(""),
)


async def _page(request: Request, page: Page) -> tuple[_View, ...]:
    uuid = request.path_uuid()
    found = await request.services.unclaimed_objects.list(request.call, uuid)
    addresses = await request.services.keys.key_servers(request.call, uuid)
    views = [_View(each.of, each.own, addresses.get(each.of.key_server, "")) for each in found]
    return page.cut(views, attrgetter("place"))


async def _key_server(request: Request, address: ServerAddress) -> KeyServer:
    """Return the key server that a body names, or raise 4 (404) with the body's field as its target."""
    try:
        return await request.services.key_servers.get(request.call, request.path_uuid(), address)
    except OntapError as error:
        error.target = "key_server" if error.target == "server" else error.target
        raise


async def _adopt(request: Request, values: dict[str, Any], _: WriteQuery) -> Reply:
    call, uuid, services = request.call, request.path_uuid(), request.services
    server = await _key_server(request, values["key_server"])
    svm = values.get("svm")
    if svm is not None:
        svm = await services.svms.named(call, svm.get("uuid"), svm.get("name"))
    adopted = services.unclaimed_objects.adopt(
        call, uuid, server.uuid, values["unique_identifier"], values["name"], svm
    )
    key = await request.while_connected(adopted)
    link = volume_key_link if key.key_type is KeyType.VEK else auth_key_link
    return Reply(201, {}, ((b"location", link(KeyView(key)).encode()),))


async def _dismiss(request: Request, values: dict[str, Any], _: WriteQuery) -> Reply:
    call, uuid, service = request.call, request.path_uuid(), request.services.orphan_dismissals
    server = await _key_server(request, values["key_server"])
    work = service.undo if values.get("undo") else service.dismiss
    await request.while_connected(work(call, uuid, server.uuid, values["unique_identifier"]))
    return Reply(201, {})


_ADOPT_CODES = (*NEW_KEY, errors.KEY_LENGTH, errors.AUTH_KEY_LIMIT, errors.NOT_CLUSTERS_KEY_MANAGER, *ONE_OWNER)

PATHS: Paths = {
    COLLECTION: {
        "GET": listing(UNCLAIMED, _page),
        "POST": acting(
            UNCLAIMED,
            _adopt,
            Form.COMMAND,
            "Adopt an unclaimed object as a key",
            (*_ADOPT_CODES, errors.DUPLICATE_ENTRY),
        ),
    },
    f"{COLLECTION}/dismiss": {
        "POST": acting(
            DISMISSALS,
            _dismiss,
            Form.COMMAND,
            "Dismiss an unclaimed object, or undo that",
            (errors.ENTRY_NOT_FOUND, errors.NOT_PUSHED),
        ),
    },
}
