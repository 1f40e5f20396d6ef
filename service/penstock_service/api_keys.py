"""API keys: made, hashed and compared. Pure."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

# So that a key is known for one where it turns up, by people and by those who scan repositories for secrets.
PREFIX = "psk_"
_RANDOM_BYTES = 32
HASH = re.compile(r"[0-9a-f]{64}")


def new_key() -> str:
    """A key that nobody can guess: 256 random bits behind the prefix."""
    return PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)


def hash_of(key: str) -> str:
    """What is kept of a key, in hexadecimal digits.

    A plain SHA-256 is enough for a key of 256 random bits, which cannot be tried out; it is not for a password.
    """
    return hashlib.sha256(key.encode()).hexdigest()


def matching(key: str, hashes: Iterable[str]) -> list[int]:
    """The places of the key's own hash among `hashes`. It takes as long for any key: all of them are compared."""
    own = hash_of(key)
    return [place for place, known in enumerate(hashes) if hmac.compare_digest(own, known)]
