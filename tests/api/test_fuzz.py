"""Bad input of any kind, over the whole service: ONTAP's error body with some 4xx, never a 5xx, soon."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keystead.api.resources import PATHS, RESOURCES
from keystead.core.model import KeyManager

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api

DISABLED = "11111111-1111-4111-8111-111111111111"  # a key manager that refuses every add before any network
NAMES = sorted({part for resource in RESOURCES for name in resource.fields for part in name.split(".")})
PARAMETERS = [
    *("fields", "max_records", "return_records", "return_timeout", "order_by", "dry_run", "start.uuid", "query"),
    *sorted({name for resource in RESOURCES for name in resource.fields}),
]

TOO_LONG_S = 10

segments = st.sampled_from([DISABLED, "a:5696", "%5B::1%5D", "x", "..", "%00", "%ff", "%2F"]) | st.text(
    "abc%0123456789:-._~!$&'()*+,;=@", min_size=1, max_size=12
)
texts = st.sampled_from(["true", "*", "**", "1", "-1", "client", "cluster", DISABLED, "", "99999999999999999999"])
queries = st.lists(
    st.tuples(st.sampled_from(PARAMETERS), texts | st.text("az09%*,.!|<>{}\"'=+", max_size=12)).map("=".join),
    max_size=3,
).map("&".join)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "records"]), inner, max_size=4)
    ),
    max_leaves=8,
)
bodies: st.SearchStrategy[Any] = (
    st.none()
    | st.binary(max_size=40)
    | values
    | st.dictionaries(st.sampled_from([*NAMES, "records"]), values, max_size=4)
)
headers = st.fixed_dictionaries(
    {},
    optional={
        "accept": st.sampled_from(["application/json", "*/*", "\xff", ""]),
        "content-type": st.sampled_from(["application/json", "text/plain", "\xff"]),
        "origin": st.sampled_from(["https://keystead.test", "null"]),
        "content-length": st.sampled_from(["0", "2", "x", "-1", "99999999999999999999"]),
        "x-dot-svm-name": st.just("vs0"),
    },
)


@st.composite
def paths(draw: st.DrawFn) -> str:
    """Return a path that is served, its values replaced; or any."""
    path = draw(st.sampled_from(sorted(PATHS)) | segments.map(lambda text: f"/api/{text}"))
    for value in ("{uuid}", "{server}", "{key_id}", "{node_uuid}", "{report_uuid}"):
        path = path.replace(value, draw(segments))
    return path


async def add_disabled(api: Api) -> None:
    """Store the key manager that refuses every add."""

    def add(tx: Transaction) -> None:
        if tx.key_manager(DISABLED) is None:
            tx.add_key_manager(
                KeyManager(DISABLED, None, enabled=False, client_certificate="", server_ca_certificates=())
            )

    await api.store.write(add)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(method=st.sampled_from(["GET", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS", "x"]), path=paths(), query=queries,
       body=bodies, sent=headers)  # fmt: skip
async def test_any_request_is_answered_as_ontap_would(
    api: Api, method: str, path: str, query: str, body: Any, sent: dict[str, str]
) -> None:
    """A success, or 4xx with an error body whose code is a string; no 5xx, no trace, and in time."""
    await add_disabled(api)
    async with asyncio.timeout(TOO_LONG_S):
        answer = await api.admin(method, f"{path}?{query}" if query else path, body, headers=sent)
    assert 200 <= answer.status < 500, answer.content
    if method == "HEAD":
        return
    assert answer.content.startswith(b"{")
    assert b"Traceback" not in answer.content
    if answer.status >= 400:
        assert set(answer.body) == {"error"}
        assert {"message", "code"} <= set(answer.body["error"]) <= {"message", "code", "target", "arguments"}
        assert all(isinstance(answer.body["error"][name], str) for name in ("message", "code"))
    else:
        assert "error" not in answer.body
