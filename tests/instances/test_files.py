from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import pytest

from apportion.instances.errors import InstanceError
from apportion.instances.files import content_hash, read_text, stem, write_text


def test_gzip_is_read_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    file = tmp_path / "plain.txt"
    file.write_bytes(gzip.compress(b"hello"))
    assert read_text(file) == "hello"


def test_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbfhello")
    assert read_text(file) == "hello"


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"x" * 1000, mtime=0)[:-12], b"\x1f\x8bnonsense", b"\xff\xfe\x00bad"],
    ids=["truncated", "not gzip", "not UTF-8"],
)
def test_broken_content_is_an_instance_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.gz"
    file.write_bytes(content)
    with pytest.raises(InstanceError, match=r"a\.gz"):
        read_text(file)


def test_gzip_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    file = tmp_path / "bomb.json.gz"
    file.write_bytes(gzip.compress(b"0" * 3_000_000))
    with pytest.raises(InstanceError, match="larger than 1000000 bytes"):
        read_text(file, most_bytes=1_000_000)


def test_missing_file_and_folder_are_instance_errors(tmp_path: Path) -> None:
    with pytest.raises(InstanceError, match="No such file"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(InstanceError, match="directory"):
        read_text(tmp_path)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"hello")))
    assert read_text(Path("-")) == "hello"


def test_writing_replaces_at_once_and_leaves_no_neighbour(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "out.json"
    write_text(file, "one")
    write_text(file, "two")
    assert file.read_text() == "two"
    assert [p.name for p in file.parent.iterdir()] == ["out.json"]


def test_written_files_have_ordinary_permissions(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    write_text(tmp_path / "ours", "x")
    assert (tmp_path / "ours").stat().st_mode == ordinary.stat().st_mode


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    write_text(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(file, "\ud800")
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_gzip_writing_is_reproducible(tmp_path: Path) -> None:
    one, two = tmp_path / "a.mps.gz", tmp_path / "b.mps.gz"
    write_text(one, "same")
    write_text(two, "same")
    assert content_hash(one) == content_hash(two)
    assert read_text(one) == "same"


def test_stem_drops_folders_and_suffixes() -> None:
    assert stem(Path("x/openb_pod_list_default.csv.gz")) == "openb_pod_list_default"
    assert stem(Path("2020-06-09.json")) == "2020-06-09"
    assert stem(Path("-")) == "stdin"
