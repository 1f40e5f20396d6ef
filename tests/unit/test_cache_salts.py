"""What a tenant has cached is no other tenant's, whatever salt either of them sends."""

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock_service.cache_salts import CacheSalts, new_secret
from penstock_service.tenant import ANONYMOUS, Tenant

SALTS = CacheSalts(b"a secret")
FIRST, SECOND = Tenant("first"), Tenant("second")


def test_a_tenants_salt_is_always_the_same_and_never_anothers() -> None:
    asked = ["", "a", "first", "second", SALTS.of(SECOND, ""), SALTS.of(SECOND, "a"), "\0", "a\0"]
    salts = {(tenant.name, salt): SALTS.of(tenant, salt) for tenant in (FIRST, SECOND) for salt in asked}

    assert len(set(salts.values())) == len(salts)
    assert SALTS.of(Tenant("first", 100, 1, manages_models=True), "a") == salts["first", "a"]


def test_it_cannot_be_made_without_the_secret() -> None:
    assert CacheSalts(b"another").of(FIRST, "a") != SALTS.of(FIRST, "a")
    assert SALTS.of(ANONYMOUS, SALTS.of(FIRST, "")) != SALTS.of(FIRST, "")


def test_it_tells_nothing_of_the_tenant_and_is_no_adapters_name() -> None:
    for tenant in (FIRST, ANONYMOUS):
        salt = SALTS.of(tenant, "adapter@1")
        assert ":" in salt
        assert "first" not in salt


def test_without_tenants_a_salt_is_the_callers_own_and_none_stays_none() -> None:
    assert SALTS.of(ANONYMOUS, "mine") == "salt:mine"
    assert SALTS.of(ANONYMOUS, "") == ""


@pytest.mark.timeout(300)  # the import
@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed here")
async def test_front_ends_share_the_secret_of_their_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from penstock_service.engine.vllm.shared_engine import ConnectedEngine, SharedEngine

    async def start(*_: Any) -> Any:
        return SimpleNamespace(_prompts=SimpleNamespace(salts=CacheSalts(new_secret())))

    monkeypatch.setattr(ConnectedEngine, "start", start)
    unused: Any = None
    (tmp_path / "other").mkdir()
    links = SharedEngine(unused, 2, tmp_path).links() + SharedEngine(unused, 1, tmp_path / "other").links()

    engines: list[Any] = [await ConnectedEngine.connect(unused, unused, link) for link in links]

    one, same, another = [engine._prompts.salts.of(FIRST, "") for engine in engines]
    assert one == same != another
