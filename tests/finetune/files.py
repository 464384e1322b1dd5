"""Writing small data files, and the real ones where they are."""

from __future__ import annotations

import gzip
import io
import sys
from pathlib import Path

import pytest

from tests.helpers import REPOSITORY

DATA = REPOSITORY.parent / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the public data sets of ../shared/data are not there")


def write(path: Path, content: str | bytes) -> str:
    """Writes a file, compressed where it is called .gz; gives its path."""
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return str(path)


def standard_input(monkeypatch: pytest.MonkeyPatch, content: str) -> str:
    """Makes this the standard input; gives its path, "-"."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
    return "-"
