"""`predict` on standard streams and pipes: each line is answered as it comes, whatever becomes of the streams."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest

from finetune.inference import as_they_come
from minibert.errors import InputError
from minibert.files.tally import Tally
from tests.finetune.files import standard_input
from tests.finetune.running import INPUTS, TASKS, TEXTS, lines, run_here, start
from tests.helpers import refusal

KEYS = {
    "text-classification": {"text", "label", "probabilities"},
    "token-classification": {"text", "words", "tags", "entities"},
    "question-answering": {"id", "question", "answer", "start", "end", "score", "no_answer_score", "n_best"},
    "multiple-choice": {"question", "answer", "choice", "scores", "probabilities"},
}
# How the command ends, its exit code, and part of what it says.
ENDS = {
    "text-classification": (
        "closed input",
        0,
        "no answer to 1 bad row (standard input:4: field ",
    ),
    "token-classification": ("Ctrl-C", 130, "error: interrupted\n"),
    "question-answering": ("other bytes", 2, "error: standard input:5: not UTF-8 at byte"),
    "multiple-choice": ("closed output", 0, ""),
}


@pytest.mark.parametrize("task", TASKS)
def test_each_line_is_answered_before_the_next_is_written(task: str, runs: Path) -> None:
    heeds = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # also where the tests run in a shell's background
    args = ("predict", runs / task, "--input", "-", "--output", "-")
    command = start(*args, stdin=subprocess.PIPE, preexec_fn=heeds)
    stdin, stdout, stderr = command.stdin, command.stdout, command.stderr
    assert stdin and stdout and stderr
    watch = Timer(60, command.kill)  # if no answer came, the test would wait forever
    watch.start()

    def answer(line: str) -> dict[str, Any]:
        print(line, file=stdin, flush=True)
        found: dict[str, Any] = json.loads(stdout.readline())
        return found

    for row in INPUTS[task]:
        assert set(answer(row if isinstance(row, str) else json.dumps(row))) == KEYS[task]
    bad = " " if task == "token-classification" else "{}"
    assert answer(bad)["error"].startswith("standard input:4: ")
    end, code, said = ENDS[task]
    if end == "Ctrl-C":
        command.send_signal(signal.SIGINT)
    elif end == "other bytes":
        stdin.buffer.write(b"\xff\n")
        stdin.flush()
    elif end == "closed output":
        stdout.close()
        print("{}", file=stdin, flush=True)
    else:
        stdin.close()
    assert command.wait() == code
    told = stderr.read()
    assert said in told and "Traceback" not in told
    watch.cancel()


def test_what_arrives_is_answered_in_order_until_the_reading_fails() -> None:
    tally, asked_again = Tally("skip"), Event()

    def example_of(number: int) -> str:
        if number == 2:
            raise InputError("bad")
        return f"good {number}"

    def numbers() -> Iterator[int]:
        yield 1
        asked_again.wait(60)
        yield from (2, 3)
        raise InputError("unreadable")

    batches = as_they_come(tally.made(numbers(), example_of), tally)
    assert next(batches) == ["good 1"]
    asked_again.set()
    found: list[str] = []
    assert refusal(lambda: [found.extend(batch) for batch in batches]) == "unreadable"
    assert found == ["bad", "good 3"] and (tally.rows, tally.refused, tally.bad) == (2, 1, [])


def test_texts_to_be_tagged_may_be_json_lines(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = []
    for content in (
        "".join(f"{text}\n" for text in TEXTS),
        "".join(f"{json.dumps({'text': text})}\n" for text in TEXTS),
    ):
        path = standard_input(monkeypatch, content)
        args = ("predict", runs / "token-classification", "--input", path, "--output", "-")
        capsys.readouterr()
        assert run_here(monkeypatch, *args) == 0
        answers.append([(one["words"], one["tags"]) for one in map(json.loads, capsys.readouterr().out.splitlines())])
    assert answers[0] == answers[1]


def test_a_pipe_is_written_into_and_a_link_stays_one(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.txt").write_text("the cat\n")
    (tmp_path / "file").write_text("earlier")
    (tmp_path / "link").symlink_to("file")
    reading, writing = os.pipe()
    for output in (tmp_path / "link", f"/dev/fd/{writing}"):
        args = ("predict", runs / "text-classification", "--input", tmp_path / "x.txt", "--output", output)
        assert run_here(monkeypatch, *args) == 0
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        assert [json.loads(line)["text"] for line in pipe] == ["the cat"]
    assert (tmp_path / "link").is_symlink()
    assert [answer["text"] for answer in lines(tmp_path / "file")] == ["the cat"]


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ("stdin", "error: standard input cannot be read (it is closed)\n"),
        ("stdout", "error: standard output: closed, expected somewhere to write to\n"),
    ],
)
def test_a_closed_stream_is_one_line(
    stream: str, message: str, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, stream, None)  # as Python has it where the shell closed it: <&- or >&-
    args = ("predict", runs / "text-classification", "--input", "-", "--output", "-")
    assert run_here(monkeypatch, *args) == 2
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("none/y.jsonl", "error: {tmp}/none/y.jsonl: there is no directory {tmp}/none\n"),
        (".", "error: {tmp} is a directory, expected a file to write\n"),
    ],
)
def test_where_nothing_can_be_written_is_told_first(
    output: str, message: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for option, command in (("--output", ("predict", "--input")), ("--json", ("evaluate", "--data"))):
        args = (command[0], runs / "text-classification", command[1], "nowhere.csv", option, tmp_path / output)
        assert run_here(monkeypatch, *args) == 2
        assert capsys.readouterr().err == message.format(tmp=tmp_path)
