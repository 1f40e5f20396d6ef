"""Tools that know only an address find the whole contract."""

import asyncio

import grpc
import pytest
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.conftest import OpenService, Running


def _asked(address: str) -> tuple[set[str], list[str]]:
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        symbols = ["penstock.v1.GenerateRequest", "penstock.v1.Models", "penstock.v1.Generation.StreamGenerate"]
        return set(database.get_services()), [database.FindFileContainingSymbol(symbol).name for symbol in symbols]


async def test_services_messages_and_methods_are_described(simulated: Running) -> None:
    services, files = await asyncio.to_thread(_asked, simulated.address)

    assert {"penstock.v1.Generation", "penstock.v1.Models", "grpc.health.v1.Health"} <= services
    assert files == ["penstock/v1/generation.proto", "penstock/v1/models.proto", "penstock/v1/generation.proto"]


async def test_it_can_be_switched_off(open_service: OpenService) -> None:
    running = await open_service(reflection=False)

    with pytest.raises(grpc.RpcError) as raised:
        await asyncio.to_thread(_asked, running.address)

    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
