"""The files of a client's TLS, as they change."""

from pathlib import Path

import pytest

from penstock import tls
from penstock.tls import LOOK_SECONDS, Material, Tls, TlsFiles
from tests.client.certificates import Authority


def test_files_that_change_while_they_are_read_are_read_again_by_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    files = TlsFiles(Tls(ca=authority.ca))
    first = files.material(0.0)
    read = tls._read

    def read_while_it_is_written(asked: Tls) -> Material:
        material = read(asked)
        authority.ca.write_bytes(authority.ca.read_bytes() + b"\n\n")
        monkeypatch.setattr(tls, "_read", read)
        return material

    monkeypatch.setattr(tls, "_read", read_while_it_is_written)
    authority.ca.write_bytes(authority.ca.read_bytes() + b"\n")

    assert files.material(LOOK_SECONDS) is first
    assert files.material(LOOK_SECONDS).roots == authority.ca.read_bytes()
