"""What is written: whole or not at all, and never in the place of what is read."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from minibert.errors import InputError
from minibert.files.writing import (
    BELONGING,
    check_writable,
    clear_leftovers,
    new_directory,
    sha256,
    write_whole,
    written_whole,
)
from minibert.tokenizer.directory import ALL_FILES
from tests.helpers import contents, full_disk, refusal


def test_a_file_is_written_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    write_whole(path, lambda aside: aside.write_text("old"))

    def fail(aside: Path) -> None:
        aside.write_text("ne")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        write_whole(path, fail)
    assert contents(tmp_path) == {"summary.json": b"old"}


def test_a_directory_is_written_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "new" / "model"
    for number in ("1", "2"):
        with written_whole(place, last="config.json") as aside:
            (aside / "weights").write_text(number)
            (aside / "config.json").write_text(number)
        (place / "mine").write_text("kept")
    with pytest.raises(KeyboardInterrupt), written_whole(place) as aside:
        (aside / "weights").write_text("3")
        raise KeyboardInterrupt
    assert contents(place) == {"weights": b"2", "config.json": b"2", "mine": b"kept"}
    assert [path.name for path in place.parent.iterdir()] == ["model"]


def test_of_a_directory_that_is_there_the_last_file_is_replaced_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, target: (replaced.append(path.name), replace(path, target))[1])
    with written_whole(tmp_path, last="b") as aside:
        for name in "abc":
            (aside / name).touch()
    assert (sorted(replaced), replaced[-1]) == (["a", "b", "c"], "b")


def test_of_a_new_directory_nothing_stays_after_an_error_but_what_others_wrote(tmp_path: Path) -> None:
    def fail(theirs: Path) -> None:
        with new_directory(tmp_path / "a" / "b" / "c") as made:
            (made / "half").touch()
            theirs.touch()
            raise InputError("no more")

    assert refusal(lambda: fail(tmp_path / "a" / "b" / "c" / "theirs")) == "no more"
    assert list(tmp_path.iterdir()) == []
    refusal(lambda: fail(tmp_path / "a" / "theirs"))
    assert contents(tmp_path) == {"a/theirs": b""}
    assert not (tmp_path / "a" / "b").exists()


def test_a_directory_that_is_there_is_not_new_and_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("kept")
    with pytest.raises(FileExistsError), new_directory(tmp_path / "there"):
        pass
    assert contents(tmp_path) == {"there/file": b"kept"}


def test_a_name_that_leaves_no_room_for_the_file_aside_is_refused_before_the_work(tmp_path: Path) -> None:
    message = refusal(lambda: check_writable(tmp_path / ("n" * 250)))
    assert message.endswith("not a usable path (File name too long)")


def test_what_is_no_file_is_written_into_and_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    reading, writing = os.pipe()
    for path in (tmp_path / "link", Path(f"/dev/fd/{writing}")):
        check_writable(path)
        write_whole(path, lambda place: place.write_text("new"))
    os.close(writing)
    with open(reading) as pipe:
        assert pipe.read() == "new"
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path) == {"file": b"new", "link": b"new"}


def test_the_checksum_is_sha_256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256(tmp_path / "file") == expected


# --- What is written, and what is not --------------------------------------------------------------------------------


@pytest.fixture
def read(tmp_path: Path) -> Path:
    """A model directory, a file, and other names for them."""
    for name in ("model/config.json", "model/state/step/state.json", "model/mine.json", "input.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "link.jsonl").symlink_to("input.jsonl")
    os.link(tmp_path / "input.jsonl", tmp_path / "hard.jsonl")
    (tmp_path / "elsewhere.json").symlink_to("model/config.json")
    (tmp_path / "also").symlink_to("model", target_is_directory=True)
    return tmp_path


@pytest.mark.parametrize(
    "output",
    ["input.jsonl", "model/../input.jsonl", "link.jsonl", "hard.jsonl", "model/config.json", "also/config.json",
     "elsewhere.json", "model/model.safetensors", "model/vocab.txt", "model/summary.json", "model/merges.txt",
     "model/model.safetensors.index.json", "model/state/step/state.json", "also/state/new.json"],
)  # fmt: skip
def test_what_is_read_is_not_replaced(read: Path, output: str) -> None:
    reads = (None, str(read / "input.jsonl"), str(read / "model"))
    message = refusal(lambda: check_writable(read / output, reads=reads))
    assert message.startswith(f"{read / output} would overwrite what this command reads ({read}/")


def test_every_file_of_a_tokenizer_belongs_to_a_model_directory() -> None:
    assert set(ALL_FILES) <= set(BELONGING)


@pytest.mark.parametrize("output", ["new.jsonl", "model/mine.json", "model/new.json", "also/answers.jsonl"])
def test_other_files_are_written_also_beside_what_is_read(read: Path, output: str) -> None:
    check_writable(read / output, reads=(str(read / "input.jsonl"), str(read / "model"), "hub/name", "-"))


def test_links_that_lead_in_a_circle_are_no_file_that_is_read(read: Path) -> None:
    (read / "model" / "vocab.txt").symlink_to("vocab.txt")
    check_writable(read / "new.jsonl", reads=(str(read / "model"), str(read / "model" / "vocab.txt")))
    write_whole(read / "model" / "vocab.txt", lambda path: path.write_text("whole"))
    assert (read / "model" / "vocab.txt").read_text() == "whole"


def test_standard_input_is_not_replaced_either(read: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(read / "input.jsonl") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        message = refusal(lambda: check_writable(read / "hard.jsonl", reads=("-",)))
    assert message.endswith("would overwrite what this command reads (standard input); give it another name")


def test_an_error_of_the_system_names_the_file_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()

    def write(path: Path) -> None:
        path.write_bytes(bytes(30_000))

    for place in (tmp_path / "there", tmp_path / "new"):
        with pytest.raises(OSError) as error, full_disk(), written_whole(place) as aside:
            write(aside / "weights")
        assert (error.value.errno, error.value.filename) == (errno.EFBIG, str(place))
    with pytest.raises(OSError) as error, full_disk():
        write_whole(tmp_path / "file", write)
    assert (error.value.errno, error.value.filename) == (errno.EFBIG, str(tmp_path / "file"))
    with pytest.raises(FileNotFoundError) as missing:  # the name of the one aside is of no use to anyone
        write_whole(tmp_path / "none" / "file", write)
    assert missing.value.filename == str(tmp_path / "none" / "file")


def test_what_killed_processes_left_goes_and_what_living_ones_write_stays(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    dead = [f".summary.json.{process.pid}.partial", f".run.toml.{os.getpid()}.partial", ".curves.png.partial"]
    kept = [f".answers.jsonl.{os.getppid()}.partial", ".data.partial", "summary.json", ".1.partial"]
    for name in (*dead, *kept):
        (tmp_path / name).write_text("half")
    for name in (".model.partial", f".model.{process.pid}.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("half")
    clear_leftovers(tmp_path, "run.toml")
    assert len(list(tmp_path.iterdir())) == 8
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    clear_leftovers(tmp_path / "none")
