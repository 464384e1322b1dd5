"""How tests run `python -m minibert` in this process."""

from __future__ import annotations

import sys

import pytest

from minibert import __main__


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """The exit code of `python -m minibert ARGS`, run here."""
    monkeypatch.setattr(sys, "argv", ["minibert/__main__.py", *args])
    try:
        __main__.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    return shown.err.removesuffix("\n")
