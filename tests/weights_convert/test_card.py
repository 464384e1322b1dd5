"""The model card beside an export: what it says of a run, what it keeps to itself, and that the hub can read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from huggingface_hub import ModelCard

from finetune.options import TrainingOptions
from minibert import checkpoint
from minibert.tokenizer import Tokenizer
from pretrain.options import PretrainOptions
from tests.helpers import refusal, tiny_model
from tests.weights_convert.reference_models import SMALL
from tests.weights_convert.test_commands import run
from weights_convert.card import PATHS, CardHead
from weights_convert.convert import to_hf

TOML = """# The resolved configuration of this run; it can be given to --recipe.
data = "{}"
model = "{}"
steps = 963
learning_rate = 0.003
phases = [[128, 1.0]]
vocab_size = 8192
"""
SUMMARY = {
    "steps": 963,
    "tokens": 7588156,
    "words": 5551234,
    "passes": 5551234 / 10050000,
    "seconds": 289.634,
    "mlm_loss": 3.95367,
    "mlm_accuracy": 0.32197,
    "nsp_accuracy": None,
    "unigram_loss": 6.54752,
}


@pytest.fixture
def directory(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """The directory of a finished run, trained on token arrays beside it."""
    directory, data = tmp_path / "secret" / "run", tmp_path / "secret" / "data"
    checkpoint.save(tiny_model("BertForMaskedLM", SMALL), tokenizer, directory)
    (directory / "run.toml").write_text(TOML.format(data, tmp_path / "secret" / "shape.json"))
    write(directory / "summary.json", SUMMARY)
    manifest = {
        "options": {"corpus": ["/home/me/books-1.txt", "C:\\me\\books-2.txt"]},
        "tokenizer_fingerprint": tokenizer.fingerprint,
        "train": {"documents": 3582, "tokens": 13657097, "words": 10050000},
    }
    data.mkdir()
    write(data / "manifest.json", manifest)
    return directory


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))


def card_of(directory: Path, out: Path, head: CardHead | None = None) -> str:
    """The card that an export of `directory` to `out` has."""
    to_hf(directory, out, head=head)
    return (out / "README.md").read_text(encoding="utf-8")


# --- What it says ----------------------------------------------------------------------------------------------------


def test_a_card_says_what_the_run_did(directory: Path, tmp_path: Path) -> None:
    card = card_of(directory, tmp_path / "small-bert")
    assert "\n# small-bert\n\n`BertForMaskedLM` with " in card
    assert "AutoModelForMaskedLM.from_pretrained('small-bert')\n" in card
    assert (
        "\n## Text\n\nPretrained on `books-1.txt` and `books-2.txt`; the training part has 10,050,000 words, "
        "13,657,097 tokens and 3,582 documents.\n"
    ) in card
    assert '\nmodel = "shape.json"\nsteps = 963\nlearning_rate = 0.003\nphases = [[128, 1.0]]\n```\n' in card
    assert "| words | 5,551,234 | " in card
    assert "| passes | 0.5524 | passes over the text |" in card
    assert "| mlm_loss | 3.954 | masked-LM loss, in nats per masked token |" in card
    assert "nsp_" not in card
    assert "vocab_size" not in card  # the arrays bring their vocabulary


def test_a_card_names_no_path_of_the_machine_that_it_was_made_on(directory: Path, tmp_path: Path) -> None:
    card = card_of(directory, tmp_path / "out")
    assert not [part for part in (str(tmp_path), "secret", "/home", "me\\") if part in card]


@pytest.mark.parametrize(
    "change", [{"tokenizer_fingerprint": "another"}, {"train": {"words": 10050002}}, {"train": {}}]
)
def test_of_token_arrays_that_are_others_by_now_only_the_name_is_told(
    change: dict[str, Any], directory: Path, tmp_path: Path
) -> None:
    manifest = directory.parent / "data" / "manifest.json"
    write(manifest, json.loads(manifest.read_text()) | change)
    assert "\n## Text\n\nPretrained on token arrays named `data`.\n" in card_of(directory, tmp_path / "others")


def test_of_token_arrays_that_are_gone_only_the_name_is_told(directory: Path, tmp_path: Path) -> None:
    (directory.parent / "data" / "manifest.json").unlink()
    assert "\n## Text\n\nPretrained on token arrays named `data`.\n" in card_of(directory, tmp_path / "gone")


def test_only_the_paths_among_the_settings_are_shortened(directory: Path, tmp_path: Path) -> None:
    (directory / "run.toml").write_text('corpus = ["pydocs", "x/pydocs"]\ntext_field = "a/b"\nmodel = "c/d"\n')
    card = card_of(directory, tmp_path / "out")
    assert '\ntext_field = "a/b"\nmodel = "d"\n' in card
    assert "\nPretrained on the documentation that comes with Python and installed packages and `pydocs`.\n" in card


def test_every_setting_that_is_text_is_known_to_be_a_path_or_not() -> None:
    kinds = get_type_hints(PretrainOptions) | get_type_hints(TrainingOptions)
    words = {name for name, kind in kinds.items() if kind in (str, str | None)}
    assert words - PATHS == {"out", "recipe", "data", "text_field", "keep_at", "metric"}


def test_a_kept_model_has_the_settings_of_its_run_and_figures_of_its_own(
    directory: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    kept = directory / "kept" / "step-00000100"
    checkpoint.save(tiny_model("BertForMaskedLM", SMALL), tokenizer, kept)
    write(kept / "summary.json", {"step": 100, "words": None, "mlm_loss": 5.25, "kept_for": ["500k", "10%"]})
    card = card_of(kept, tmp_path / "out")
    assert "This model was kept during its run, by `--keep-at 500k,10%`." in card
    assert "\nsteps = 963\n" in card
    assert "| step | 100 | optimizer steps when this model was kept |" in card
    assert "| mlm_loss | 5.25 | " in card
    assert "3.954" not in card


def test_a_fine_tuned_model_is_told_by_its_task_and_its_metrics(tokenizer: Tokenizer, tmp_path: Path) -> None:
    directory = tmp_path / "tuned"
    checkpoint.save(tiny_model("BertForSequenceClassification", SMALL), tokenizer, directory)
    (directory / "run.toml").write_text('task = "text-classification"\nmodel = "runs/demo/"\ntrain = "x/train.csv"\n')
    write(directory / "summary.json", {"epochs": 3, "metrics": {"accuracy": 0.9375}, "test_metrics": {"accuracy": 1}})
    card = card_of(directory, tmp_path / "out")
    assert "Fine-tuned from `demo` for text-classification." in card
    assert '\ntrain = "train.csv"\n' in card
    assert "| epochs | 3 | passes over the examples |" in card
    assert "| figure | value |\n| --- | --- |\n| accuracy | 0.9375 |\n" in card
    assert card.index("On the development set") < card.index("| accuracy | 0.9375 |") < card.index("On the test set")
    assert ModelCard(card).data.pipeline_tag == "text-classification"


@pytest.mark.parametrize("architecture", ["Bert", "BertForNextSentencePrediction"])
def test_of_a_model_without_a_run_only_what_is_known_is_told(
    architecture: str, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    checkpoint.save(tiny_model(architecture, SMALL), tokenizer, tmp_path / "ours")
    card = card_of(tmp_path / "ours", tmp_path / "out")
    assert [line for line in card.splitlines() if line.startswith("#")] == ["# out", "## How to load it"]


# --- Its head --------------------------------------------------------------------------------------------------------


def test_the_head_is_read_back_as_it_was_given(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = """yes: "no" # 'x' \\n {é😀} - ---"""
    options = ("--language", "no,en", "--language", "zh-Hant", "--license", "cc-by-4.0", "--name", name)
    assert run(monkeypatch, "to-hf", directory, tmp_path / "out", *options) == 0
    assert ModelCard.load(tmp_path / "out" / "README.md").data.to_dict() == {
        "language": ["no", "en", "zh-Hant"],
        "license": "cc-by-4.0",
        "library_name": "transformers",
        "pipeline_tag": "fill-mask",
        "model_name": name,
        "tags": ["bert", "minibert"],
    }


def test_language_and_licence_are_left_out_unless_given(directory: Path, tmp_path: Path) -> None:
    data = ModelCard(card_of(directory, tmp_path / "a\u2028b\udcff.")).data
    assert (data.language, data.license, data.model_name) == (None, None, "a b .")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (CardHead(languages=("en", "English")), "--language 'English': expected codes such as en, or en,de for two"),
        (CardHead(languages=("",)), "--language '': expected codes such as en, or en,de for two"),
        (
            CardHead(license="Apache 2.0"),
            "--license 'Apache 2.0': expected the licence's name on the hub, such as apache-2.0 or mit",
        ),
        (CardHead(name="two\nlines"), r"--name 'two\nlines': expected one line of printable characters"),
        (CardHead(name=" "), "--name ' ': expected one line of printable characters"),
    ],
)
def test_what_the_hub_would_not_read_is_refused(head: CardHead, message: str, directory: Path, tmp_path: Path) -> None:
    assert refusal(lambda: to_hf(directory, tmp_path / "out", head=head)) == message
    assert not (tmp_path / "out").exists()


# --- Damaged files of a run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("run.toml", "steps = ", "run.toml: not readable as TOML (Invalid value (at end of document))"),
        ("run.toml", "data = 3", "run.toml: data must be of type str | None, not 3"),
        ("run.toml", "corpus = 3", "run.toml: corpus must be of type list[str], not 3"),
        ("summary.json", '{"mlm_loss": "low"}', "summary.json: mlm_loss must be of type int | float, not 'low'"),
        ("summary.json", '{"kept_for": 3}', "summary.json: kept_for must be of type list[str] | None, not 3"),
        ("summary.json", '{"metrics": 3}', "summary.json: metrics must be of type dict[str, Any] | None, not 3"),
    ],
)
def test_a_damaged_file_of_the_run_is_named(
    name: str, content: str, message: str, directory: Path, tmp_path: Path
) -> None:
    (directory / name).write_text(content)
    assert refusal(lambda: to_hf(directory, tmp_path / "out")) == f"{directory}/{message}"
    assert not (tmp_path / "out").exists()
