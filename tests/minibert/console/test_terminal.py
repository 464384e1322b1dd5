"""What can't be written to the terminal: an answer fails in one line, what is said about the work never does."""

from __future__ import annotations

import errno
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY

ANSWER = "print('answer')"
SAYING = "terminal.say('said'); terminal.say('more')"
BAR = "from tqdm import tqdm; list(tqdm(range(3), disable=False))"
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")


def shell(command: str, redirection: str, **environment: str) -> tuple[int, str]:
    """Runs Python code as a command of ours in a shell. Returns its exit code, and what stands on standard error."""
    code = f"from minibert.console import cli, terminal\ndef command():\n    {command}\ncli.run(command)"
    done = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, code],
        cwd=REPOSITORY, capture_output=True, text=True, env=os.environ | environment,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("redirection", "ending"),
    [
        (">&-", (2, "error: standard output: closed, expected somewhere to write to\n")),
        pytest.param(">/dev/full", (3, "error: standard output: No space left on device\n"), marks=FULL),
        ("| true", (0, "")),
    ],
)
def test_an_answer_that_does_not_arrive_is_one_line(redirection: str, ending: tuple[int, str]) -> None:
    assert shell(ANSWER, redirection) == ending


@pytest.mark.parametrize("redirection", [">&-", pytest.param(">/dev/full", marks=FULL), "| true"])
def test_what_is_said_about_the_work_ends_nothing(redirection: str) -> None:
    assert shell(SAYING, redirection) == (0, "")


@FULL
def test_an_answer_that_was_lost_is_not_forgiven_by_what_is_said_after_it() -> None:
    assert shell(f"{ANSWER}; {SAYING}", ">/dev/full") == (3, "error: standard output: No space left on device\n")


@pytest.mark.parametrize("redirection", ["2>&-", pytest.param("2>/dev/full", marks=FULL), ">&- 2>&- <&-"])
def test_a_progress_bar_and_an_error_that_nobody_sees_end_nothing(redirection: str) -> None:
    assert shell(f"{BAR}; {SAYING}", redirection) == (0, "")
    assert shell("from minibert.errors import InputError; raise InputError('bad')", redirection) == (2, "")


def test_a_closed_stream_is_no_place_for_the_next_file(tmp_path: Path) -> None:
    code = f"file = open({str(tmp_path / 'file')!r}, 'w'); import os; os.write(2, b'from a library'); file.close()"
    assert shell(code, "2>&-") == (0, "")
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("latin-1", b"caf\xe9 \\u65b0"), ("ascii", b"caf\\xe9 \\u65b0"), ("utf-8", "café 新".encode())],
)
def test_a_letter_that_the_encoding_lacks_is_shown_as_its_number(encoding: str, shown: bytes, tmp_path: Path) -> None:
    for command in ("print('caf\\xe9 \\u65b0')", "terminal.say('caf\\xe9 \\u65b0')"):
        assert shell(command, f"> {tmp_path / 'out'}", PYTHONIOENCODING=encoding) == (0, "")
        assert (tmp_path / "out").read_bytes() == shown + b"\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_lines_and_bars_go_on_when_the_terminal_is_gone(unbuffered: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    wait = "import sys; sys.stdin.read()"
    code = (
        "from minibert.console import cli, terminal\ndef command():\n"
        f"    {wait}; {SAYING}\n    {BAR}\n"
        f"    open({str(tmp_path / 'end')!r}, 'w').close()\ncli.run(command)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=theirs, stderr=theirs,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(theirs)
    os.close(ours)  # writing is EIO from now on
    process.communicate(b"")
    assert process.returncode == 0
    assert (tmp_path / "end").exists()


def test_a_test_or_a_notebook_keeps_its_own_streams(capsys: pytest.CaptureFixture[str]) -> None:
    from minibert.console import cli

    before = sys.stdout, sys.stderr
    cli.run(lambda: print("done"))
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == "done\n"


def test_the_error_is_the_systems() -> None:
    from minibert.console.terminal import Stream

    stream = Stream(None, "standard output", forgiving=False)
    with pytest.raises(OSError, match="closed") as found:
        stream.write(b"answer")
    assert (found.value.errno, found.value.filename) == (errno.EBADF, "standard output")
    assert stream.write(b"rest") == 4
