"""A file is replaced as a whole, or not at all."""

from __future__ import annotations

import gzip
import os
import time

import pytest
import zstandard

from salesgauge.streams.io.outputs import give_name, scratch, text_file
from salesgauge.streams.io.whole_files import compressed, whole_file


def test_a_new_file_is_its_owners_alone(tmp_path):
    """Outputs may hold personal data: rejected records, events, names."""
    previous = os.umask(0)
    try:
        with whole_file(tmp_path / "a") as file:
            file.write(b"a")
        with text_file(tmp_path / "b"):
            pass
        with scratch(tmp_path / "c") as folder:
            (folder / "c").write_bytes(b"c")
            give_name(folder / "c", tmp_path / "c")
    finally:
        os.umask(previous)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == dict.fromkeys("abc", 0o600)


def test_a_file_takes_its_name_at_the_end_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o640)
    with whole_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_nothing_remains_of_what_fails(tmp_path):
    (tmp_path / "there").write_bytes(b"old")

    def interrupted(name: str) -> None:
        with whole_file(tmp_path / name) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    for name in ("there", "new"):
        with pytest.raises(KeyboardInterrupt):
            interrupted(name)
    assert {found.name: found.read_bytes() for found in tmp_path.iterdir()} == {"there": b"old"}


READERS = {
    ".gz": gzip.decompress,
    ".zst": lambda made: zstandard.ZstdDecompressor().decompressobj().decompress(made),
    ".jsonl": bytes,
}


@pytest.mark.parametrize("suffix", READERS)
def test_the_same_content_gives_the_same_bytes(suffix, tmp_path, monkeypatch):
    made = []
    for name in ("one", "two"):
        path = tmp_path / f"{name}{suffix}"
        with whole_file(path) as raw, compressed(raw, suffix) as file:
            file.write(b"content\n")
        made.append(path.read_bytes())
        monkeypatch.setattr(time, "time", lambda: 4e9)
    assert made[0] == made[1]
    assert READERS[suffix](made[0]) == b"content\n"
