"""Who may call: tenants and admins by their keys, tenants by their certificates as well."""

import time
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Self

from penstock_service.api_keys import matching
from penstock_service.configuration import ConfigurationError
from penstock_service.identity_file import (
    IdentityFile,
    TenantEntry,
    read_identity_file,
    tenants_of_short_form,
    with_tenants,
)
from penstock_service.settings import Settings
from penstock_service.tenant import Tenant
from penstock_service.watched_files import WatchedFiles

# How often the file is looked at, at most.
LOOK_SECONDS = 1.0


class Identity:
    """The tenants and admins of the settings, as their file has them by now."""

    def __init__(self, read: Callable[[], IdentityFile], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._look_again = float("-inf")
        self._required = self._has_admins = False
        self._refresh()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """That of the settings. Raises ConfigurationError."""
        short = tenants_of_short_form(settings.api_keys)
        if (path := settings.identity_file) is None:
            return cls(lambda: IdentityFile(tenants=short))

        def both() -> IdentityFile:
            return with_tenants(read_identity_file(path), short)

        watched = WatchedFiles("the identity file", [path], both)
        if watched.current() == IdentityFile():
            raise ConfigurationError(
                f"identity_file: {path} has neither [[tenants]] nor keys of [admin], so that anybody could call: add "
                "some, or leave identity_file out where that is meant"
            )
        return cls(watched.current)

    @property
    def required(self) -> bool:
        """Whether a caller must be a tenant.

        It stays so when a later file has none: to lose all tenants must not open the service to everybody.
        """
        self._refresh()
        return self._required

    @property
    def by_certificate(self) -> bool:
        """Whether a certificate can tell who calls."""
        self._refresh()
        return any(entry.certificate_names for entry in self._entries)

    @property
    def has_admins(self) -> bool:
        """Whether there is any key for the admin port, or was."""
        self._refresh()
        return self._has_admins

    def admin(self, key: str) -> bool:
        """Whether the key opens the admin port."""
        self._refresh()
        return bool(matching(key, self._admin_hashes))

    def tenant_of_key(self, key: str) -> Tenant | None:
        """Whose key it is."""
        self._refresh()
        places = matching(key, self._hashes)
        return self._owners[places[0]] if places else None

    def tenant_certified(self, names: Iterable[str]) -> Tenant | None:
        """Whose certificate has these names; nobody's if they are of several tenants."""
        self._refresh()
        known = set(names)
        certified = [entry for entry in self._entries if known.intersection(entry.certificate_names)]
        return certified[0].tenant if len(certified) == 1 else None

    def _refresh(self) -> None:
        if (now := self._clock()) < self._look_again:
            return
        self._look_again = now + LOOK_SECONDS
        file = self._read()
        self._entries: tuple[TenantEntry, ...] = file.tenants
        self._hashes = list(chain.from_iterable(entry.keys for entry in self._entries))
        self._owners = list(chain.from_iterable([entry.tenant] * len(entry.keys) for entry in self._entries))
        self._admin_hashes = file.admin.keys
        self._required = self._required or bool(self._entries)
        self._has_admins = self._has_admins or bool(self._admin_hashes)
