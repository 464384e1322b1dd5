"""States are whole or not there: damage, kills and full disks, each made for real."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minibert.errors import InputError, RunStopped
from minibert.training import state as state_module
from minibert.training.state import load_newest_state, save_state


def tensors(step: int) -> dict[str, torch.Tensor]:
    return {
        "model/weight": torch.full((3, 2), float(step)),
        "optimizer/weight/step": torch.tensor(float(step)),
        "generator": torch.arange(5, dtype=torch.uint8),
        "transposed": torch.arange(6, dtype=torch.float64).reshape(2, 3).T,
    }


def save(directory: Path, *steps: int) -> None:
    for step in steps:
        save_state(directory, step, tensors(step), {"seconds": step / 10})


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def no_report(message: str) -> None:
    raise AssertionError(f"nothing should be reported: {message}")


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    facts = {"seconds": 0.1 + 0.2, "data": {"seed": 7, "name": "pydocs"}, "list": [1, None, True]}
    path = save_state(tmp_path / "state", 200, tensors(200), facts)
    assert path == tmp_path / "state" / "step-00000200"
    assert names(path) == ["state.json", "tensors.safetensors"]
    loaded = load_newest_state(tmp_path / "state", no_report)
    assert loaded is not None
    assert (loaded.step, loaded.facts) == (200, facts)
    assert loaded.tensors.keys() == tensors(200).keys()
    for name, tensor in tensors(200).items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    save(tmp_path, 100, 200, 300)
    assert names(tmp_path) == ["step-00000200", "step-00000300"]


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (tmp_path / "other").touch()
    assert (tmp_path / "step-00000001/tensors.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_no_state_at_all_is_none(tmp_path: Path) -> None:
    assert load_newest_state(tmp_path, no_report) is None
    assert load_newest_state(tmp_path / "not there", no_report) is None


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


def change_the_facts(path: Path) -> None:
    path.write_text(path.read_text().replace('"seconds": 20.0', '"seconds": 21.0'))


DAMAGES = {
    "a byte of the tensors": ("tensors.safetensors", flip_a_byte, "does not have the sha256"),
    "the end of the tensors": ("tensors.safetensors", lambda path: os.truncate(path, 50), "has 50 bytes, expected"),
    "no tensors": ("tensors.safetensors", Path.unlink, "No such file"),
    "no record": ("state.json", Path.unlink, "No such file"),
    "half a record": ("state.json", lambda path: os.truncate(path, 50), "state.json is not JSON"),
    "another fact": ("state.json", change_the_facts, "state.json was changed"),
    "another format": ("state.json", lambda path: path.write_text('{"format": 0}'), "is not a record of format 1"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_state_is_named_and_the_one_before_is_used(tmp_path: Path, damage: str) -> None:
    file, do, reason = DAMAGES[damage]
    save(tmp_path, 100, 200)
    do(tmp_path / "step-00000200" / file)
    before = names(tmp_path)
    reports: list[str] = []
    loaded = load_newest_state(tmp_path, reports.append)
    assert loaded is not None and loaded.step == 100
    assert len(reports) == 1
    assert "step-00000200: damaged, skipped: " in reports[0] and reason in reports[0]
    assert names(tmp_path) == before


def test_a_state_under_another_steps_name_is_damaged(tmp_path: Path) -> None:
    save(tmp_path, 100)
    shutil.copytree(tmp_path / "step-00000100", tmp_path / "step-00000200")
    reports: list[str] = []
    loaded = load_newest_state(tmp_path, reports.append)
    assert loaded is not None and loaded.step == 100
    assert "state.json belongs to step 100" in reports[0]


def test_only_damaged_states_are_an_error_and_no_start_at_zero(tmp_path: Path) -> None:
    save(tmp_path, 100, 200)
    for step in (100, 200):
        flip_a_byte(tmp_path / f"step-{step:08d}" / "tensors.safetensors")
    reports: list[str] = []
    with pytest.raises(InputError, match="every saved state is damaged"):
        load_newest_state(tmp_path, reports.append)
    assert len(reports) == 2


def test_damaged_and_later_states_do_not_count_as_kept(tmp_path: Path) -> None:
    save(tmp_path, 100, 300)
    os.truncate(tmp_path / "step-00000300" / "tensors.safetensors", 10)
    save(tmp_path, 200)  # training went on from 100
    assert names(tmp_path) == ["step-00000100", "step-00000200"]
    os.truncate(tmp_path / "step-00000200" / "tensors.safetensors", 10)
    save(tmp_path, 250)
    assert names(tmp_path) == ["step-00000100", "step-00000250"]


def test_a_state_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    save(tmp_path, 100)
    save_state(tmp_path, 100, tensors(100), {"finished": True})
    loaded = load_newest_state(tmp_path, no_report)
    assert loaded is not None and loaded.facts == {"finished": True}
    assert names(tmp_path) == ["step-00000100"]


def test_what_interrupted_saves_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".step-00000100.partial").mkdir()
    (tmp_path / ".step-00000100.partial" / "tensors.safetensors").write_bytes(b"half")
    assert load_newest_state(tmp_path, no_report) is None
    save(tmp_path, 200)
    assert names(tmp_path) == ["step-00000200"]


def test_a_kill_between_replacing_and_taking_the_place_loses_nothing(tmp_path: Path) -> None:
    save(tmp_path, 100)
    (tmp_path / "step-00000100").rename(tmp_path / ".step-00000100.replaced")
    loaded = load_newest_state(tmp_path, no_report)
    assert loaded is not None and loaded.step == 100
    save(tmp_path, 200)
    assert names(tmp_path) == ["step-00000100", "step-00000200"]


@pytest.mark.parametrize("moment", ["save_file", "to_disk", "sha256"])
def test_a_disk_that_fails_at_any_moment_stops_the_run_with_the_good_states_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    save(tmp_path, 100, 200)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(state_module, moment, fail)
        with pytest.raises(RunStopped, match=r"step-00000300 .*No space left on device.*last good state .* step 200"):
            save(tmp_path, 300)
    assert names(tmp_path) == ["step-00000100", "step-00000200"]
    loaded = load_newest_state(tmp_path, no_report)
    assert loaded is not None and loaded.step == 200


def test_a_state_that_is_too_big_for_the_disk_is_a_clean_error(tmp_path: Path) -> None:
    """A real failing write, inside safetensors: the process may write no file over 100 kB."""
    code = f"""
import resource, signal, torch
from pathlib import Path
from minibert.errors import RunStopped
from minibert.training.state import save_state
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
directory = Path({str(tmp_path)!r})
save_state(directory, 100, {{"a": torch.zeros(10)}}, {{}})
try:
    save_state(directory, 200, {{"a": torch.zeros(1_000_000)}}, {{}})
except RunStopped as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "step-00000200 could not be written (" in done.stdout
    assert "File too large" in done.stdout
    assert done.stdout.endswith("the last good state is that of step 100\n")
    assert done.stdout.count("\n") == 1
    assert names(tmp_path) == ["step-00000100"]


def test_the_first_save_that_fails_says_that_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")
    with pytest.raises(RunStopped, match="no state was saved before"):
        save(tmp_path / "state", 100)


def test_the_record_names_size_and_sum(tmp_path: Path) -> None:
    save(tmp_path, 7)
    record = json.loads((tmp_path / "step-00000007" / "state.json").read_text())
    assert record["tensors_bytes"] == (tmp_path / "step-00000007" / "tensors.safetensors").stat().st_size
    assert len(record["tensors_sha256"]) == 64
    assert (record["format"], record["step"], record["facts"]) == (1, 7, {"seconds": 0.7})
