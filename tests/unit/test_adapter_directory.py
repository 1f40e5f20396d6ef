"""Finding adapters on disk: what a name can reach, and what the files must be."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from penstock_service.adapter_directory import MOST_BYTES, AdapterDirectory
from penstock_service.errors import AdapterNotFound, AdapterRefused, InvalidRequest
from tests.adapter_files import write_adapter

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

OPENED: list[str] | None = None  # what was opened while it is a list: an audit hook cannot be taken back


def _note_opening(event: str, arguments: tuple[object, ...]) -> None:
    if OPENED is not None and event in ("open", "os.listdir", "os.scandir"):
        OPENED.append(str(arguments[0]))


sys.addaudithook(_note_opening)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    paths: list[str] = []
    monkeypatch.setattr(sys.modules[__name__], "OPENED", paths)
    return paths


async def test_a_version_is_found_with_its_rank_and_a_digest_that_sha256sum_can_tell(root: Path) -> None:
    where = write_adapter(root, "legal", "2025-11.r1", rank_pattern={"q_proj": 16})
    command = f"cd {where} && sha256sum {CONFIG} {WEIGHTS} | sha256sum"
    sum_of_sums = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
    digest = (await sum_of_sums.communicate())[0].split()[0].decode()

    files = await AdapterDirectory(root).find("legal", "2025-11.r1")

    assert (files.path, files.digest, files.rank) == (where, f"sha256:{digest}", 16)


@pytest.mark.parametrize("changed", [CONFIG, WEIGHTS])
async def test_a_change_of_either_file_changes_the_digest_and_is_noticed(root: Path, changed: str) -> None:
    where = write_adapter(root, "legal", "1")
    directory = AdapterDirectory(root)
    before = await directory.find("legal", "1")
    assert await directory.unchanged("legal", "1", before)

    (where / changed).write_bytes((where / changed).read_bytes() + b" ")

    assert not await directory.unchanged("legal", "1", before)
    assert (await directory.find("legal", "1")).digest != before.digest


@pytest.mark.parametrize(
    "name",
    [
        *("../../etc", "/etc", "a/b", "..", ".", ".hidden", "", "a\0b", "a" * 65, "a" * 1024, "t:legal", "legal@1"),
        *("lеgal", "legal\n", "ｌegal", "le gal", "legal\u202e"),  # noqa: RUF001 - Cyrillic, full width, direction
    ],
)
async def test_a_name_that_is_no_plain_name_is_refused_before_anything_is_opened(
    root: Path, opened: list[str], name: str
) -> None:
    write_adapter(root, "legal", "1")
    opened.clear()

    for given, field in (((name, "1"), "name"), (("legal", name), "version")):
        with pytest.raises(InvalidRequest) as raised:
            await AdapterDirectory(root).find(*given)
        assert [violation.field for violation in raised.value.violations] == [field]
        assert len(str(raised.value)) < 300

    assert opened == []


async def test_a_link_out_of_the_root_leads_nowhere(root: Path, tmp_path: Path, opened: list[str]) -> None:
    outside = write_adapter(tmp_path, "outside", "1")
    (root / "name").symlink_to(tmp_path / "outside")
    (root / "legal").mkdir()
    (root / "legal" / "1").symlink_to(outside)
    for number, file in enumerate((CONFIG, WEIGHTS), 2):
        inside = write_adapter(root, "legal", str(number))
        (inside / file).unlink()
        (inside / file).symlink_to(outside / file)
    opened.clear()
    directory = AdapterDirectory(root)

    for name, version in (("name", "1"), ("legal", "1")):
        with pytest.raises(AdapterNotFound):
            await directory.find(name, version)
    for version in ("2", "3"):
        with pytest.raises(AdapterRefused, match="leads out of the adapter directory"):
            await directory.find("legal", version)

    assert [path for path in opened if "outside" in path] == []


async def test_a_link_inside_the_root_is_what_it_points_to(root: Path) -> None:
    write_adapter(root, "legal", "1")
    (root / "legal" / "latest").symlink_to("1")
    directory = AdapterDirectory(root)

    assert (await directory.find("legal", "latest")).digest == (await directory.find("legal", "1")).digest


async def test_what_is_not_there_is_not_found(root: Path) -> None:
    write_adapter(root, "legal", "1")
    (root / "legal" / "file").touch()

    for name, version in (("legal", "2"), ("medical", "1"), ("legal", "file")):
        with pytest.raises(AdapterNotFound, match=f"{name}@{version}"):
            await AdapterDirectory(root).find(name, version)


@pytest.mark.parametrize("file", ["adapter_model.bin", "adapter_model.pt", "weights.pkl"])
async def test_pickled_weights_are_refused_with_the_reason(root: Path, opened: list[str], file: str) -> None:
    where = write_adapter(root, "legal", "1")
    (where / WEIGHTS).rename(where / file)

    with pytest.raises(AdapterRefused, match="can run code"):
        await AdapterDirectory(root).find("legal", "1")

    assert [path for path in opened if path.endswith(file)] == []


@pytest.mark.parametrize("missing", [CONFIG, WEIGHTS])
async def test_a_missing_file_is_named_without_its_path(root: Path, missing: str) -> None:
    (write_adapter(root, "legal", "1") / missing).unlink()

    with pytest.raises(AdapterRefused, match=f"{missing} is missing or cannot be read") as raised:
        await AdapterDirectory(root).find("legal", "1")

    assert str(root) not in str(raised.value)


@pytest.mark.parametrize("file", [CONFIG, WEIGHTS])
@pytest.mark.parametrize("kind", ["pipe", "directory", "huge", "circle"])
async def test_what_is_no_plain_file_of_permitted_size_is_refused_and_blocks_nobody(
    root: Path, file: str, kind: str
) -> None:
    where = write_adapter(root, "legal", "1") / file
    where.unlink()
    match kind:
        case "pipe":
            os.mkfifo(where)
        case "directory":
            where.mkdir()
        case "huge":
            where.touch()
            os.truncate(where, MOST_BYTES[file] + 1)
        case "circle":
            where.symlink_to(file)

    with pytest.raises(AdapterRefused, match=file):
        await AdapterDirectory(root).find("legal", "1")


@pytest.mark.parametrize(
    "config",
    [
        *("", "[]", "{}", "null", "\x00", "[" * 200_000, '{"r": "8"}', '{"r": 0}', '{"r": true}', '{"r": 1e400}'),
        *('{"r": 8, "rank_pattern": [1]}', '{"r": 8, "rank_pattern": {"q": 0.5}}'),
    ],
)
async def test_a_configuration_without_a_rank_is_refused(root: Path, config: str) -> None:
    (write_adapter(root, "legal", "1") / CONFIG).write_text(config)

    with pytest.raises(AdapterRefused, match=CONFIG):
        await AdapterDirectory(root).find("legal", "1")


async def test_a_root_that_is_gone_has_no_adapters(root: Path) -> None:
    directory = AdapterDirectory(root)
    shutil.rmtree(root)

    with pytest.raises(AdapterNotFound):
        await directory.find("legal", "1")
