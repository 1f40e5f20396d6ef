"""The identity file: who may call, and what each may take. TOML, read whole and checked whole.

[[tenants]]
name = "search"
keys = ["<SHA-256 of a key>"]           # two at most, so that one can follow the other
certificate_names = ["search.internal"]
tokens_per_minute = 100_000
max_concurrent_calls = 32
manages_models = false

[admin]
keys = ["<SHA-256 of a key>"]
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Self

import tomllib
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from penstock_service.api_keys import HASH
from penstock_service.configuration import ConfigurationError
from penstock_service.tenant import Tenant

MOST_KEYS = 2
TENANT_NAME = r"[A-Za-z0-9._-]{1,64}"


def _hash(given: str) -> str:
    # Never shown: what is no hash may be the key itself.
    if not HASH.fullmatch(given):
        raise ValueError("must be the SHA-256 of a key, 64 digits of 0-9 and a-f; `penstock-key` prints it")
    return given


KeyHash = Annotated[str, AfterValidator(_hash)]
KeyHashes = Annotated[tuple[KeyHash, ...], Field(max_length=MOST_KEYS)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TenantEntry(_Part):
    """A tenant as the file has it."""

    name: str = Field(pattern=f"^{TENANT_NAME}$")
    keys: KeyHashes = ()
    certificate_names: tuple[Annotated[str, Field(min_length=1, max_length=512)], ...] = ()
    tokens_per_minute: int | None = Field(None, ge=1)
    max_concurrent_calls: int | None = Field(None, ge=1)
    manages_models: bool = False

    @property
    def tenant(self) -> Tenant:
        """The same, as the rest of the service knows it."""
        return Tenant(self.name, self.tokens_per_minute, self.max_concurrent_calls, self.manages_models)


class AdminEntry(_Part):
    """Who may use the admin port."""

    keys: KeyHashes = ()


class IdentityFile(_Part):
    """All that the file has."""

    tenants: tuple[TenantEntry, ...] = ()
    admin: AdminEntry = AdminEntry()

    @model_validator(mode="after")
    def _each_belongs_to_one(self) -> Self:
        hashes = [key for tenant in self.tenants for key in tenant.keys]
        for what, given in (
            ("tenants of the name", [tenant.name for tenant in self.tenants]),
            ("tenants with the certificate name", [n for tenant in self.tenants for n in tenant.certificate_names]),
            ("places with the key whose SHA-256 is", [*hashes, *self.admin.keys]),
        ):
            if (repeated := _repeated(given)) is not None:
                raise ValueError(f"there are two {what} {repeated!r}")
        return self


def read_identity_file(path: Path) -> IdentityFile:
    """What the file has in it. Raises ConfigurationError, which names the place in the file."""
    try:
        return IdentityFile.model_validate(tomllib.loads(path.read_text()))
    except OSError as error:
        raise ConfigurationError(f"identity_file: cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigurationError(f"identity_file: {path}: {_sentences(error)}") from None
    except ValueError as error:  # no UTF-8, or no TOML; its text has nothing of the file
        raise ConfigurationError(f"identity_file: {path} is not TOML: {error}") from None
    except RecursionError:
        raise ConfigurationError(f"identity_file: {path} is nested too deeply") from None


def tenants_of_short_form(entries: Iterable[str]) -> tuple[TenantEntry, ...]:
    """The tenants of TENANT:SHA256 entries; the keys of one tenant go together. ValueError names the wrong entry."""
    keys: dict[str, list[str]] = {}
    for place, entry in enumerate(entries, start=1):
        name, _, key = entry.partition(":")
        if not HASH.fullmatch(key):
            raise ValueError(f"entry {place} must be TENANT:SHA256, with the 64 digits that `penstock-key` prints")
        keys.setdefault(name, []).append(key)
    try:
        return IdentityFile.model_validate(
            {"tenants": [{"name": name, "keys": hashes} for name, hashes in keys.items()]}
        ).tenants
    except ValidationError as error:
        raise ValueError(_sentences(error)) from None


def with_tenants(file: IdentityFile, more: tuple[TenantEntry, ...]) -> IdentityFile:
    """The file with further tenants, from elsewhere in the settings. Raises ConfigurationError."""
    try:
        return IdentityFile(tenants=(*more, *file.tenants), admin=file.admin)
    except ValidationError as error:
        raise ConfigurationError(f"api_keys and identity_file together: {_sentences(error)}") from None


def _repeated(given: Iterable[str]) -> str | None:
    seen: set[str] = set()
    return next((each for each in given if each in seen or seen.add(each)), None)  # type: ignore[func-returns-value]


def _sentences(error: ValidationError) -> str:
    """Without the values: one of them may be a key."""
    return "; ".join(f"{_place(problem['loc'])}{_decapitalised(problem['msg'])}" for problem in error.errors())


def _place(loc: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).removeprefix(".")
    return f"{path}: " if path else ""


def _decapitalised(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
