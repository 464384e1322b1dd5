"""Command lines: options from dataclasses, one-line errors, exit codes."""

from __future__ import annotations

import errno
import importlib
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import tyro

from minibert.console import cli
from minibert.errors import CheckFailed, InputError, Interrupted, RunStopped
from tests.helpers import REPOSITORY, refusal


@dataclass(frozen=True)
class Options:
    """Two fields of a command."""

    kind: ClassVar[str] = "no option"

    place: tyro.conf.Positional[str]
    """where to look"""
    steps: int = 12
    """how many steps to take"""
    device: Literal["cpu", "cuda"] = "cpu"
    """where to take them"""
    resume: bool = False
    """go on with it"""
    stops: tuple[str, ...] = ()
    """where to rest"""


def parse(*args: str, groups: Mapping[str, str] | None = None, **defaults: Any) -> Options:
    return cli.parse(Options, args, prog="python -m walk", description="Walk.", defaults=defaults, groups=groups)


# --- Options ---------------------------------------------------------------------------------------------------------


def test_options_are_read() -> None:
    assert parse("here", "--steps", "3", "--device", "cuda", "--resume") == Options("here", 3, "cuda", True)


def test_options_not_given_have_their_defaults() -> None:
    assert parse("here") == Options("here", 12, "cpu", False)


def test_defaults_can_be_handed_in() -> None:
    assert parse("there", "--device", "cuda", place="here", steps=5) == Options("there", 5, "cuda")
    assert parse(place="here") == Options("here")


def test_help_shows_each_option_with_its_default_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        parse("--help")
    assert ending.value.code == 0
    shown = capsys.readouterr().out
    for part in ("python -m walk", "Walk.", "where to look", "--steps", "how many steps to take", "12", "{cpu,cuda}"):
        assert part in shown


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_help_shows_groups_of_options_after_the_others(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    with pytest.raises(SystemExit):
        parse("--help", groups={"on_the_way": "stops resume"})
    ungrouped, grouped = written.getvalue().decode(encoding).split(" on the way options ")
    for option, help in {"--steps INT": "how many steps to take", "--device": "where to take them"}.items():
        assert option in ungrouped and help in ungrouped and option not in grouped
    for option, help in {"--stops": "where to rest", "--resume, --no-resume": "go on with it"}.items():
        assert option in grouped and help in grouped and option not in ungrouped


def test_grouped_options_are_read_as_others() -> None:
    groups = {"on_the_way": "stops resume", "other": "steps"}
    given = parse("here", "--stops", "a", "b", "--no-resume", groups=groups, resume=True, steps=3)
    assert given == Options("here", 3, "cpu", False, ("a", "b"))
    assert "unknown option --stop: did you mean --stops?" in refusal(lambda: parse("here", "--stop", groups=groups))


@dataclass(frozen=True)
class Walk:
    """A field that is a dataclass."""

    name: str
    """what it is called"""
    options: Any
    """how it goes"""


def test_a_default_that_is_a_dataclass_has_its_fields_as_options(capsys: pytest.CaptureFixture[str]) -> None:
    defaults = {"options": Options("here", 5, resume=True)}

    def parse(*args: str) -> Walk:
        return cli.parse(Walk, args, prog="walk", description="Walk.", defaults=defaults)

    assert parse("--name", "w", "--steps", "3", "--no-resume") == Walk("w", Options("here", 3, resume=False))
    with pytest.raises(SystemExit):
        parse("--help")
    shown = capsys.readouterr().out
    assert "Two fields of a command." in shown and "how it goes" not in shown


def test_what_must_be_given_is_required_whether_the_class_or_the_defaults_say_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    defaults = {"place": "here", "steps": tyro.MISSING}
    assert refusal(lambda: parse(**defaults)) == "--steps is missing (see python -m walk --help)"
    with pytest.raises(SystemExit):
        parse("--help", **defaults)
    assert "how many steps to take (required)" in capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])  # of standard output: the parser frames its reports by it
@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("here", "--stepz", "3"), "unknown option --stepz: did you mean --steps?"),
        (("here", "--stepz=3"), "unknown option --stepz: did you mean --steps?"),
        (("--stepz", "3"), "unknown option --stepz: did you mean --steps?"),
        (("here", "--step", "3"), "unknown option --step: did you mean --steps?"),
        (("here", "-steps", "3"), "unknown option -steps: did you mean --steps?"),
        (("here", "--no-resum"), "unknown option --no-resum: did you mean --no-resume?"),
        (("here", "--quickly"), "unknown option --quickly"),
        (("here", "--steps", "many"), "--steps: expected a whole number, found 'many'"),
        (("here", "--steps", "3.5"), "--steps: expected a whole number, found '3.5'"),
        (("here", "--steps"), "--steps needs a value"),
        (("here", "--device", "tpx"), "--device: expected one of cpu, cuda, found 'tpx'"),
        (("here", "--device", "cdua"), "--device: expected one of cpu, cuda, found 'cdua': did you mean cuda?"),
        (("here", "there"), "unexpected argument 'there'"),
        (("here", "--steps", "3", ""), "unexpected argument ''"),
        (("here", "--kind", "3"), "unknown option --kind"),
        (("here", "--resume", "false"), "unexpected argument 'false': --resume takes no value"),
        (("here", "--resume=false"), "unexpected argument 'false': --resume takes no value"),
        ((), "STR is missing"),
    ],
)
def test_a_bad_command_line_is_one_line_that_names_what_is_wrong(
    args: tuple[str, ...], message: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(shown, encoding=encoding))
    assert refusal(lambda: parse(*args)) == f"{message} (see python -m walk --help)"
    assert shown.getvalue() == b""


@dataclass(frozen=True)
class Numbers:
    """Options that may be left out, or have several values."""

    passes: float | None = None
    form: Literal["text", "columns"] | None = None
    pair: tuple[float, float] = (0.5, 0.9)
    phases: tuple[tuple[int, float], ...] = ()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--passes", "many"), "--passes: expected a number, found 'many'"),
        (("--passes=many", "--pair", "1", "2"), "--passes: expected a number, found 'many'"),
        (("--passes", "1", "--passes", ""), "--passes: expected a number, found ''"),
        (("--form", "table"), "--form: expected one of columns, text, found 'table'"),
        (("--pair", "1"), "--pair needs 2 values"),
        (("--pair", "1", "b", "--passes", "2"), "--pair: expected two numbers, found '1 b'"),
        (("--phases", "128"), "--phases: expected pairs of a whole number and a number, found '128'"),
    ],
)
def test_bad_values_are_told_in_the_words_of_a_user_not_in_those_of_the_parser(
    args: tuple[str, ...], message: str
) -> None:
    said = refusal(lambda: cli.parse(Numbers, args, prog="python -m walk", description="Walk."))
    assert said == f"{message} (see python -m walk --help)"


def test_several_missing_arguments_are_named_in_one_sentence() -> None:
    said = refusal(lambda: cli.parse(Walk, (), prog="walk", description="Walk.", defaults={"options": Options("here")}))
    assert said == "--name is missing (see walk --help)"
    said = refusal(lambda: parse(steps=tyro.MISSING, device=tyro.MISSING))
    assert said == "STR, --steps and --device are missing (see python -m walk --help)"


def test_what_stands_on_a_command_line_is_known_before_it_is_parsed() -> None:
    given = cli.given_options(["here", "--batch_size=3", "--recipe", "a", "--recipe", "b", "--resume"])
    assert given == {"--batch-size": "3", "--recipe": "b", "--resume": ""}
    cli.refuse(given, ["--steps"], "it is short")
    line = "--batch-size has no effect here: it is short"
    assert refusal(lambda: cli.refuse(given, ["--steps", "--batch-size"], "it is short")) == line


# --- Ranges ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bounded:
    """Numbers with bounds."""

    count: Annotated[int | None, cli.Range(low=1)] = None
    share: cli.BetweenZeroAndOne = 0.5
    pair: Annotated[tuple[float, float], cli.Range(low=0, below=1)] = (0.0, 0.9)
    free: float = -7.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"count": 0}, "--count must be at least 1, not 0"),
        ({"count": 2 * 10**18}, f"--count must be at least 1 and at most 1e+18, not {2 * 10**18}"),
        ({"share": 1.0}, "--share must be above 0 and below 1, not 1.0"),
        ({"share": float("nan")}, "--share must be above 0 and below 1, not nan"),
        ({"pair": (0.5, 1.0)}, "--pair must be at least 0 and below 1, not 1.0"),
    ],
)
def test_a_number_out_of_range_is_named_with_its_bounds(values: dict[str, Any], message: str) -> None:
    cli.check_ranges(Bounded(count=3))
    assert refusal(lambda: cli.check_ranges(Bounded(**values))) == message


# --- Endings ---------------------------------------------------------------------------------------------------------


def ending(command: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> tuple[object, str]:
    """The exit code, and what stands on standard error."""
    with pytest.raises(SystemExit) as stop:
        cli.run(command)
    return stop.value.code, capsys.readouterr().err


def raising(error: BaseException) -> Callable[[], None]:
    def command() -> None:
        raise error

    return command


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MINIBERT_DEBUG", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (CheckFailed("they differ"), 1, "error: they differ\n"),
        (InputError("a.txt: empty"), 2, "error: a.txt: empty\n"),
        (RunStopped("the loss is nan"), 3, "error: the loss is nan\n"),
        (Interrupted("saved at step 5"), 130, "error: saved at step 5\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (FileNotFoundError(errno.ENOENT, "No such file", "a.txt"), 2, "error: a.txt: No such file\n"),
        (OSError(errno.ENOSPC, "No space left on device", "out/b"), 3, "error: out/b: No space left on device\n"),
        (OSError(errno.EFBIG, "File too large"), 3, "error: File too large\n"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 3, "error: Disk quota exceeded\n"),
        (OSError("no number"), 2, "error: no number\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_an_error_is_one_line_and_an_exit_code(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending(raising(error), capsys) == (code, line)


def test_a_message_of_several_lines_becomes_one(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = ending(raising(InputError("a file\nwith a strange name: empty")), capsys)
    assert (code, len(shown.splitlines())) == (2, 1)


def test_a_command_that_ends_well_just_returns(capsys: pytest.CaptureFixture[str]) -> None:
    cli.run(lambda: print("done"))
    assert capsys.readouterr() == ("done\n", "")


def test_a_mistake_of_ours_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run(raising(ZeroDivisionError()))


def test_a_library_that_refuses_the_environment_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "strictlib.py").write_text("import os\nfloat(os.environ['STRICTLIB_LEVEL'])\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("STRICTLIB_LEVEL", "high")
    line = "error: strictlib can't be imported: could not convert string to float: 'high'; "
    line += "it reads these environment variables: STRICTLIB_LEVEL\n"
    assert ending(lambda: importlib.import_module("strictlib"), capsys) == (2, line)


def test_debugging_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIBERT_DEBUG", "1")
    with pytest.raises(InputError, match=r"^a\.txt: empty$"):
        cli.run(raising(InputError("a.txt: empty")))


def test_the_other_processes_are_silent_and_leave_the_first_time_to_speak(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert ending(raising(InputError("a.txt: empty")), capsys) == (2, "")
    assert waits == [1]
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert ending(raising(InputError("a.txt: empty")), capsys) == (2, "error: a.txt: empty\n")
    assert waits == [1]


def test_a_machine_that_is_one_of_many_has_its_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "3")  # as a cluster sets it, for whatever command
    assert ending(raising(InputError("a.txt: empty")), capsys) == (2, "error: a.txt: empty\n")


@pytest.mark.parametrize("lines", [100_000, 1], ids=["long", "short enough to wait in a buffer"])
def test_a_reader_that_has_seen_enough_is_no_error(lines: int) -> None:
    code = (
        "import time\nfrom minibert.console import cli\n"
        f"cli.run(lambda: [time.sleep(0.3), *map(print, range({lines}))])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 0
