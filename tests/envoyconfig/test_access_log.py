"""What the access log holds, and what it must not."""

from __future__ import annotations

from betterproto2 import Casing

from extproc.envoyconfig.access_log import access_log


def fields(*, log_client: bool) -> dict[str, str]:
    config = access_log(log_client=log_client).to_dict(casing=Casing.SNAKE)["typed_config"]
    return dict(config["log_format"]["json_format"])


def test_neither_a_query_nor_a_credential_is_logged():
    formats = " ".join(fields(log_client=True).values()).lower()

    assert "%path(nq)%" in formats
    assert not [word for word in ("authorization", "api-key", "cookie", "req(:path)", "path(wq") if word in formats]


def test_the_request_id_joins_it_with_the_processors_log():
    assert fields(log_client=True)["request_id"] == "%REQ(X-REQUEST-ID)%"


def test_the_clients_address_is_logged_only_where_it_may_be():
    assert "client" in fields(log_client=True)
    assert "DOWNSTREAM_REMOTE" not in " ".join(fields(log_client=False).values())
