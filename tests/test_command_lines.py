"""What the command lines of all packages have in common: what is near a mistyped word, --version, what is required."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import import_module

import pytest

import minibert
from finetune.data.data_options import DATA_OPTIONS
from tests.helpers import refusal

PACKAGES = ("minibert", "pretrain", "finetune", "weights_convert")


def main_of(package: str, monkeypatch: pytest.MonkeyPatch, *args: str) -> Callable[[], None]:
    """What `python -m PACKAGE ARGS` runs."""
    monkeypatch.setattr(sys, "argv", [package, *args])
    module = import_module(f"{package}.__main__")
    return module.command


@pytest.mark.parametrize("package", PACKAGES)
def test_the_version_is_that_of_the_package(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main_of(package, monkeypatch, "--version")()
    assert capsys.readouterr().out == f"minibert {minibert.__version__}\n"


@pytest.mark.parametrize(
    ("package", "args", "message"),
    [
        ("minibert", ("fil-mask",), "unknown command 'fil-mask': did you mean fill-mask?"),
        ("pretrain", ("prepar",), "unknown command 'prepar': did you mean prepare?"),
        ("finetune", ("multiple-choise",), "unknown command 'multiple-choise': did you mean multiple-choice?"),
        ("weights_convert", ("verfy",), "unknown command 'verfy': did you mean verify?"),
        ("pretrain", ("train",), "unknown command 'train', expected one of prepare, inspect"),
        ("minibert", ("fill-mask", "a", "[MASK]", "--topk", "3"), "unknown option --topk: did you mean --top-k?"),
        ("minibert", ("embed", "a", "--input", "b", "--out", "c"), "unknown option --out: did you mean --output?"),
        ("minibert", ("add-tokens", "a", "b", "--tokens", "c", "--init", "men"), "did you mean mean?"),
        ("minibert", ("explore", "a", "b", "--out", "c", "--compar", "d"), "did you mean --compare?"),
        ("pretrain", ("--corpsu", "pydocs"), "unknown option --corpsu: did you mean --corpus?"),
        ("pretrain", ("--out", "a", "--corpus", "b", "--dtype", "flaot32"), "did you mean float32?"),
        ("pretrain", ("--recipe", "fst"), "give fast, paper or the path of a .toml file: did you mean fast?"),
        ("pretrain", ("prepare", "--corpus", "a", "--uot", "b"), "unknown option --uot: did you mean --out?"),
        ("pretrain", ("inspect", "--dta", "b"), "unknown option --dta: did you mean --data?"),
        ("finetune", ("text-classification", "--text-colum", "a"), "did you mean --text-column?"),
        ("finetune", ("token-classification", "--schem", "iob1"), "unknown option --schem: did you mean --scheme?"),
        ("finetune", ("question-answering", "--strid", "9"), "unknown option --strid: did you mean --stride?"),
        ("finetune", ("multiple-choice", "--max-lenght", "9"), "did you mean --max-length?"),
        ("weights_convert", ("verify", "a", "--dtyp", "float64"), "unknown option --dtyp: did you mean --dtype?"),
        ("weights_convert", ("from-hf", "a", "b", "--new-haed"), "unknown option --new-haed: did you mean --new-head?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_a_mistyped_word_is_answered_with_the_one_that_is_near(
    package: str, args: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert message in refusal(main_of(package, monkeypatch, *args))


def test_the_near_name_of_a_model_is_told() -> None:
    from minibert.config import BertConfig, config_named

    expected = "give tiny, mini, small, medium, base, large or the path of a config .json"
    assert refusal(lambda: config_named("mnii")) == f"unknown model 'mnii': {expected}: did you mean mini?"
    assert refusal(lambda: BertConfig.from_dict({"hiden_size": 8})).endswith(": did you mean hidden_size?")


REQUIRED = {
    ("minibert", "info"): ["DIR"],
    ("minibert", "fill-mask"): ["DIR", "TEXT"],
    ("minibert", "embed"): ["DIR", "--input", "--output"],
    ("minibert", "score"): ["DIR"],
    ("minibert", "probe"): ["DIR", "--data"],
    ("minibert", "add-tokens"): ["DIR", "OUT", "--tokens"],
    ("minibert", "explore"): ["DIR", "TEXT", "--out"],
    ("pretrain",): ["--out", "--corpus"],
    ("pretrain", "prepare"): ["--out", "--corpus"],
    ("pretrain", "inspect"): ["--data"],
    **{("finetune", task): ["--model", "--train", "--out"] for task in DATA_OPTIONS},
    ("finetune", "evaluate"): ["DIR", "--data"],
    ("finetune", "predict"): ["DIR", "--input", "--output"],
    ("weights_convert", "from-hf"): ["DIR", "OUT"],
    ("weights_convert", "to-hf"): ["DIR", "OUT"],
    ("weights_convert", "verify"): ["HF_DIR"],
}


@pytest.mark.parametrize("words", REQUIRED, ids=" ".join)
def test_help_says_of_each_option_that_it_is_required_or_its_default(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main_of(words[0], monkeypatch, *words[1:], "--help")()
    shown = capsys.readouterr().out.replace("-h, --help", "")
    assert "Raises" not in shown
    told = re.split(r"\n  (?=--\w|\[?[A-Z_]+\]? )", shown)[1:]
    told = [" ".join(option.split()) for option in told]
    assert [option.split()[0] for option in told if "required)" in option] == REQUIRED[words]
    for option in told:
        assert option.count("required)") + len(re.findall(r"\(default: (?!''|\))", option)) == 1, option


@pytest.mark.parametrize(
    ("words", "first", "groups"),
    [
        (
            ("pretrain",),
            "out corpus data resume model recipe steps minutes passes batch-size learning-rate",
            "text and vocabulary, model and objective, masking, optimisation, evaluation and saving, machine and seed",
        ),
        *(
            (
                ("finetune", task),
                "model train dev test out resume epochs learning-rate batch-size",
                "data, rows and results, training method, loss and stopping, optimisation, saving, machine and seed",
            )
            for task in DATA_OPTIONS
        ),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_help_begins_with_what_matters_first_and_has_the_rest_by_subject(
    words: tuple[str, ...], first: str, groups: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main_of(words[0], monkeypatch, *words[1:], "--help")()
    _, *boxes = re.split(r"^ (?=[a-z -]*options *$)", capsys.readouterr().out, flags=re.MULTILINE)
    assert re.findall(r"^  --([\w-]+)", boxes[0], re.MULTILINE) == first.split()
    assert [box.partition(" options")[0] for box in boxes[1:]] == groups.split(", ")
