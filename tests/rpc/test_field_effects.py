"""Every field of a GenerateRequest changes what it should on real vLLM; a field without a case fails here."""

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.v1 import generation_pb2 as pb
from tests.conftest import Running
from tests.rpc.field_effects import EFFECTS, Caller


def leaves(descriptor: Any, path: str = "") -> Iterator[str]:
    """The paths of all fields that hold values: `[]` for entries, `{key}` and `{value}` for those of maps."""
    for field in descriptor.fields:
        here = path + field.name
        inner = field.message_type
        if inner is None or not inner.fields or here == "batch":
            yield "batch.inputs" if here == "batch" else here
        elif inner.GetOptions().map_entry:
            _key, value = inner.fields
            if value.message_type is None:
                yield f"{here}{{key}}"
                yield f"{here}{{value}}"
            else:
                yield from leaves(value.message_type, f"{here}{{value}}.")
        else:
            yield from leaves(inner, f"{here}[]." if field.is_repeated else f"{here}.")


FIELDS = sorted(leaves(pb.GenerateRequest.DESCRIPTOR))


def test_every_field_has_an_effect_and_every_effect_a_field() -> None:
    assert sorted(EFFECTS) == FIELDS


@pytest.mark.real_vllm
@pytest.mark.timeout(600)
@pytest.mark.parametrize("effect", dict.fromkeys(EFFECTS.values()), ids=lambda effect: _name(effect))
async def test_a_field_changes_what_it_should(real: Running, llm: Any, effect: Any) -> None:
    await effect(Caller(real, llm.renderer.get_tokenizer()))


def _name(effect: Any) -> str:
    return ",".join(path for path, registered in EFFECTS.items() if registered is effect)
