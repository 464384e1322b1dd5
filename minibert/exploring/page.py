"""One HTML file with everything inside: the data, the style and the script that draws.

The text shown was written by others. It enters the page as JSON in an element that browsers don't run, with `<`
escaped so that nothing in it can end that element, and the script inserts it only as text. In addition, the page's
policy allows only this script and this style, named by their SHA-256, and no network.
"""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from minibert.exploring.packing import packed, plain

# In the order in which they are read: dependencies come first. They share one scope, as if they were one file.
SCRIPTS = ("data.js", "drawing.js", "heatmap.js", "choice.js", "address.js", "picture.js", "attention.js", "pair.js",
           "lines.js", "neuron.js", "way.js", "predictions.js", "what_if.js", "saliency.js", "contributions.js",
           "compare.js", "main.js")  # fmt: skip
LONGEST_TITLE = 60  # characters of the text in the window's title


def html_page(record: Mapping[str, Any]) -> str:
    """Return the page for a record that `record.make_record` made."""
    style = asset("page.css")
    script = '"use strict";\n' + "\n".join(asset(name) for name in SCRIPTS)
    text = record["texts"][0]
    shown = text if len(text) <= LONGEST_TITLE else f"{text[:LONGEST_TITLE]}…"
    parts = {
        "title": html.escape(f"{shown} · {record['model']['name']}"),
        "policy": html.escape(policy(script, style)),
        "style": style,
        "script": script,
        "data": script_safe(packed(record)),
    }
    # In one pass, so that text in one part is never taken for another part's placeholder.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], asset("page.html"))


def asset(name: str) -> str:
    """Return the text of a file in `assets/`."""
    return (files("minibert.exploring") / "assets" / name).read_text(encoding="utf-8")


def policy(script: str, style: str) -> str:
    """Return a content security policy: no network, images or frames; only this script and this style."""
    return (
        f"default-src 'none'; script-src '{source_hash(script)}'; style-src '{source_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )


def source_hash(source: str) -> str:
    """Return the hash by which a content security policy names an element's content."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def script_safe(value: Any) -> str:
    """Return JSON that can stand inside a <script> element: escaping `<` rules out </script> and <!--."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def json_text(record: Mapping[str, Any]) -> str:
    """Return the whole record for other programs: every array as nested lists, numbers with six significant digits."""
    return json.dumps(plain(record), allow_nan=False, ensure_ascii=False) + "\n"
