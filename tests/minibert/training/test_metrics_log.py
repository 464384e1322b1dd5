"""The log survives torn lines and resumes; a full disk stops the run."""

import os
from pathlib import Path

import pytest

from minibert.errors import InputError, RunStopped
from minibert.training.metrics_log import MetricsLog, open_log, read_metrics
from minibert.training.processes import Processes


def nothing(line: str) -> None:
    """To be told what must not be there."""
    pytest.fail(line)


def test_each_entry_is_on_the_disk_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.log(step=1, mlm_loss=9.5, nsp_loss=None)
        assert path.read_text() == '{"step": 1, "mlm_loss": 9.5, "nsp_loss": null}\n'
        log.log(step=2, mlm_loss=9.0)
    assert read_metrics(path, nothing) == [{"step": 1, "mlm_loss": 9.5, "nsp_loss": None}, {"step": 2, "mlm_loss": 9.0}]


def test_opening_mends_a_torn_last_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 1}\n{"step": 2, "a')
    assert read_metrics(path, nothing) == [{"step": 1, "a": 1}]
    with MetricsLog(path) as log:
        log.log(event="resume", step=1)
    assert path.read_text() == '{"step": 1, "a": 1}\n{"event": "resume", "step": 1}\n'


def test_the_first_process_logs_and_says_when_it_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with open_log(path, Processes(rank=1, world_size=2), step=0) as log:
        assert log is None and not path.exists()
    with open_log(path, Processes(rank=0, world_size=2), step=0) as log:
        assert log is not None and path.read_text() == ""
        log.log(step=1, a=1)
    with open_log(path, Processes(), step=0):
        assert path.read_text() == '{"step": 1, "a": 1}\n{"event": "resume", "step": 0}\n'


def test_a_log_that_is_gone_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "metrics.jsonl"
    with open_log(path, Processes(), step=5):  # there is a state of step 5
        pass
    assert capsys.readouterr().out == f"{path} was missing; what was logged up to step 5 is lost\n"
    with open_log(path, Processes(), step=5):  # of a run that logs every ten steps
        pass
    assert capsys.readouterr().out == ""


def test_a_log_that_is_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"st')
    with MetricsLog(path):
        pass
    assert path.read_bytes() == b""
    assert read_metrics(path, nothing) == []


def test_what_a_resume_computed_again_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        for step, value in ((10, 1.0), (20, 2.0), (30, 3.0)):
            log.log(step=step, loss=value)
        log.log(event="resume", step=15)
        log.log(step=20, loss=2.5)
        log.log(event="resume", step=20)
        log.log(step=30, loss=3.5)
    assert read_metrics(path, nothing) == [
        {"step": 10, "loss": 1.0},
        {"step": 20, "loss": 2.5},
        {"step": 30, "loss": 3.5},
    ]


def test_a_value_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "metrics.jsonl") as log, pytest.raises(ValueError, match="not JSON compliant"):
        log.log(step=1, loss=float("nan"))


DAMAGED = {
    b"nonsense": "not JSON",
    b'{"step": 2, "a": \xff}': "not JSON",
    b'{"step": 2, "a": 1}\0': "not JSON",
    b'{"step": 2, "a": ' + 5000 * b"9" + b"}": "not JSON",
    100_000 * b"[": "not JSON",
    b"": "not JSON",
    b"[1, 2]": "not a JSON object",
    b"null": "not a JSON object",
    b'{"a": 1}': "step is None",
    b'{"step": "2", "a": 1}': "step is '2'",
    b'{"step": true, "a": 1}': "step is True",
    b'{"step": 2.0, "a": 1}': "step is 2.0",
    b'{"step": -2, "a": 1}': "step is -2",
    b'{"step": 9007199254740992}': "step is 9007199254740992",
    b'{"step": 2, "a": "1"}': "'a' is '1'",
    b'{"step": 2, "a": true}': "'a' is True",
    b'{"step": 2, "a": [1]}': "'a' is [1]",
    b'{"step": 2, "a": NaN}': "'a' is nan",
    b'{"step": 2, "a": -Infinity}': "'a' is -inf",
    b'{"step": 2, "a": 1e999}': "'a' is inf",
    b'{"step": 2, "a": 1e300}': "'a' is 1e+300",
    b'{"step": 2, "event": "renume"}': "'event' is 'renume'",
}


@pytest.mark.parametrize("line", DAMAGED, ids=lambda line: repr(line[:30]))
def test_a_damaged_line_is_told_and_passed_over(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "a": 1}\n' + line + b'\n{"step": 3, "a": 3}\n')
    told: list[str] = []
    assert read_metrics(path, told.append) == [{"step": 1, "a": 1}, {"step": 3, "a": 3}]
    assert told == [f"{path}, line 2: damaged, skipped: {DAMAGED[line]}"]


def test_many_damaged_lines_are_told_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"\xff\n" * 1000 + b'{"step": 1}\n[')
    told: list[str] = []
    assert read_metrics(path, told.append) == [{"step": 1}]
    assert told == [f"{path}, line 1: damaged, skipped: not JSON (and 999 more)"]


def test_what_is_damaged_is_told_when_a_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1, "a": 1}\n{"step": "2"}\n')
    with open_log(path, Processes(), step=1):
        assert capsys.readouterr().out == f"{path}, line 2: damaged, skipped: step is '2'\n"
    assert path.read_bytes() == b'{"step": 1, "a": 1}\n{"step": "2"}\n{"event": "resume", "step": 1}\n'


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_stops_the_run() -> None:
    with MetricsLog(Path("/dev/full")) as log, pytest.raises(RunStopped, match=r"/dev/full .*No space left on device"):
        log.log(step=1)


def test_a_log_that_is_no_file_is_refused_by_its_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(InputError, match=r"metrics\.jsonl is a named pipe, expected a file$"):
        open_log(tmp_path / "metrics.jsonl", Processes(), step=0)
