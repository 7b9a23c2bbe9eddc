"""`redact_user_api_key_info`: whose a spend row is stands in its columns, not in its metadata."""

from __future__ import annotations

import httpx
import msgspec
from management.asking import get
from management.conftest import MASTER, SETTINGS


async def test_the_metadata_of_spend_rows_does_not_say_whose_they_are(gateway):
    made = await gateway.generate(key_alias="laptop", user_id="ada")
    await gateway.book(made["token"], key_alias="laptop", user_id="ada")

    async def metadata(redact: bool) -> list[dict[str, object]]:
        app = gateway.with_parts(settings=msgspec.structs.replace(SETTINGS, redact_user_api_key_info=redact))
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=app), base_url="http://x", headers={"authorization": f"Bearer {MASTER}"}
        )
        async with client:
            rows = await get(client, "/spend/logs")
            page = await get(client, "/spend/logs/v2", start_date="2026-11-01", end_date="2026-12-01")
        assert [row["user"] for row in (*rows, *page["data"])] == ["ada", "ada"]
        return [row["metadata"] for row in (*rows, *page["data"])]

    shown, hidden = await metadata(False), await metadata(True)

    assert all(each["user_api_key_alias"] == "laptop" for each in shown)
    assert all(not any(name.startswith("user_api_key") for name in each) for each in hidden)
    assert all({**each, **more} == more for each, more in zip(hidden, shown, strict=True))
