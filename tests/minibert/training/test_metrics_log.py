"""The log survives torn lines and resumes; a full disk stops the run."""

from pathlib import Path

import pytest

from minibert.errors import InputError, RunStopped
from minibert.training.metrics_log import MetricsLog, open_log, read_metrics
from minibert.training.processes import Processes


def test_each_entry_is_on_the_disk_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.log(step=1, mlm_loss=9.5, phase="short", nsp_loss=None)
        assert path.read_text() == '{"step": 1, "mlm_loss": 9.5, "phase": "short", "nsp_loss": null}\n'
        log.log(step=2, mlm_loss=9.0)
    assert read_metrics(path) == [
        {"step": 1, "mlm_loss": 9.5, "phase": "short", "nsp_loss": None},
        {"step": 2, "mlm_loss": 9.0},
    ]


def test_opening_mends_a_torn_last_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 1}\n{"step": 2, "a')
    assert read_metrics(path) == [{"step": 1, "a": 1}]
    with MetricsLog(path) as log:
        log.log_resume(1)
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


def test_a_log_that_is_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"st')
    MetricsLog(path).close()
    assert path.read_bytes() == b""
    assert read_metrics(path) == []


def test_what_a_resume_computed_again_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        for step, value in ((10, 1.0), (20, 2.0), (30, 3.0)):
            log.log(step=step, loss=value)
        log.log_resume(15)
        log.log(step=20, loss=2.5)
        log.log_resume(20)
        log.log(step=30, loss=3.5)
    assert read_metrics(path) == [{"step": 10, "loss": 1.0}, {"step": 20, "loss": 2.5}, {"step": 30, "loss": 3.5}]


def test_a_value_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "metrics.jsonl") as log, pytest.raises(ValueError, match="not JSON compliant"):
        log.log(step=1, loss=float("nan"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "line 2: expected a JSON object, found b'nonsense'"),
        ('{"a": 1}', "line 2: expected an object with"),
    ],
)
def test_a_bad_line_inside_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(InputError, match=message):
        read_metrics(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_stops_the_run() -> None:
    with MetricsLog(Path("/dev/full")) as log, pytest.raises(RunStopped, match=r"/dev/full: .*No space left on device"):
        log.log(step=1)
