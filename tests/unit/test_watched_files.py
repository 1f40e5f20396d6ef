"""Files that change while they are read."""

from pathlib import Path

from penstock_service.watched_files import WatchedFiles


def test_what_changes_while_it_is_read_is_read_again_at_once(tmp_path: Path) -> None:
    path = tmp_path / "authorities.pem"
    path.write_text("old")
    written = iter(["", "new and whole"])  # cut off first, as an editor does it

    def read() -> str:
        text = path.read_text()
        if text != "old" and (more := next(written, None)) is not None:
            path.write_text(more)
        return text

    watched = WatchedFiles("a file", [path], read)
    path.write_text("new")

    assert watched.current() == "new and whole"


def test_what_changes_whenever_it_is_read_leaves_the_old_in_use(tmp_path: Path) -> None:
    path = tmp_path / "authorities.pem"
    path.write_text("old")

    def read() -> str:
        text = path.read_text()
        if text != "old":
            path.write_text(text + "!")
        return text

    watched = WatchedFiles("a file", [path], read)
    path.write_text("new")

    assert watched.current() == "old"
