"""Options of a run: recipes, what overrides what, shorthands, ranges, and the saved configuration."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from minibert.errors import InputError
from pretrain.options import PretrainOptions, parse_options, read_recipe
from tests.helpers import refusal

NEEDED = ("--corpus", "text.txt", "--out", "run")


def parsed(*args: str) -> PretrainOptions:
    return parse_options([*NEEDED, *args])


def recipe(tmp_path: Path, content: str) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(content, encoding="utf-8")
    return str(path)


# --- Recipes ---------------------------------------------------------------------------------------------------------


def test_the_fast_recipe_is_the_default() -> None:
    options = parsed()
    assert (options.recipe, options.model, options.minutes, options.steps) == ("fast", "mini", 5, None)
    assert (options.optimizer, options.mask_rate, options.nsp) == ("muon", 0.3, True)
    assert (options.learning_rate, options.block_learning_rate, options.dropout) == (None, None, None)  # by rule
    assert options == dataclasses.replace(parsed("--recipe", "fast"))


def test_the_paper_recipe_has_the_papers_numbers() -> None:
    options = parsed("--recipe", "paper")
    assert (options.steps, options.minutes, options.batch_size) == (1_000_000, None, 256)
    assert options.phases == ((128, 0.9), (512, 0.1))
    assert (options.optimizer, options.learning_rate, options.betas, options.eps) == ("adamw", 1e-4, (0.9, 0.999), 1e-6)
    assert options.warmup_share * options.steps == 10_000
    assert (options.weight_decay, options.dropout, options.mask_rate, options.nsp) == (0.01, 0.1, 0.15, True)


@pytest.mark.parametrize("name", ["fast", "paper"])
def test_every_option_overrides_the_recipe(name: str) -> None:
    options = parsed("--recipe", name, "--steps", "7", "--seq-len", "48", "--batch-size", "3", "--accumulate", "2",
                     "--learning-rate", "0.5", "--mask-rate", "0.2", "--dropout", "0.3", "--seed", "9")  # fmt: skip
    assert (options.steps, options.minutes, options.phases) == (7, None, ((48, 1.0),))
    assert (options.batch_size, options.accumulate, options.learning_rate) == (3, 2, 0.5)
    assert (options.mask_rate, options.dropout, options.seed) == (0.2, 0.3, 9)


@pytest.mark.parametrize("name", ["fast", "paper"])
@pytest.mark.parametrize("form", [("--minutes", "2"), ("--minutes=2",)])
def test_a_length_replaces_the_recipes_of_either_kind(name: str, form: tuple[str, ...]) -> None:
    options = parsed("--recipe", name, *form)
    assert (options.steps, options.minutes, options.passes) == (None, 2.0, None)
    options = parsed("--recipe", name, "--passes", "0.5")
    assert (options.steps, options.minutes, options.passes) == (None, None, 0.5)


def test_a_users_recipe_gives_defaults_and_is_overridden(tmp_path: Path) -> None:
    path = recipe(tmp_path, 'steps = 12\nphases = [[16, 0.5], [32, 0.5]]\nlearning_rate = 1\nmodel = "tiny"\n')
    options = parsed("--recipe", path)
    assert (options.steps, options.phases, options.model) == (12, ((16, 0.5), (32, 0.5)), "tiny")
    assert options.learning_rate == 1
    assert parsed(f"--recipe={path}", "--steps", "5", "--model", "base").model == "base"


@pytest.mark.parametrize("flag", ["--whole-word-mask", "--sentence-per-line", "--no-lowercase"])
def test_a_flag_that_the_recipe_sets_already_can_still_be_given(tmp_path: Path, flag: str) -> None:
    name, value = flag.removeprefix("--").replace("-", "_"), "true"
    if name == "no_lowercase":
        name, value = "lowercase", "false"
    path = recipe(tmp_path, f"steps = 12\n{name} = {value}\n")
    assert parsed("--recipe", path, flag) == parsed("--recipe", path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stepps = 3", "mine.toml: stepps: not an option that a recipe can set"),
        ('out = "elsewhere"', "mine.toml: out: not an option that a recipe can set"),
        ("resume = true", "resume: not an option"),
        ("no_nsp = true", "no_nsp: not an option"),
        ('steps = "many"', "mine.toml: steps must be of type int"),
        ("steps = 2.5", "steps must be of type int"),
        ("steps = true", "steps must be of type int"),
        ("learning_rate = true", "learning_rate must be of type float"),
        ("whole_word_mask = 1", "whole_word_mask must be of type bool"),
        ("phases = 128", "phases must be of type tuple"),
        ("model = 3", "model must be of type str"),
        ("steps = ", "mine.toml: not readable as TOML"),
    ],
)
def test_a_recipe_with_a_mistake_is_refused(tmp_path: Path, content: str, message: str) -> None:
    assert message in refusal(lambda: parsed("--recipe", recipe(tmp_path, content)))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("phases = [128]", "phases"),
        ('phases = ["long"]', "phases"),
        ("phases = [[128]]", "phases"),
        ("phases = [[128, 1.0, 3]]", "phases"),
        ('phases = [["128", 1.0]]', "phases"),
        ("phases = [[32.5, 1.0]]", "phases"),
        ("phases = [[128, nan]]", "phases"),
        ("betas = [0.9]", "betas"),
        ("betas = [0.9, 0.9, 0.9]", "betas"),
        ('betas = ["0.9", "0.98"]', "betas"),
        ("betas = [0.9, nan]", "betas"),
        ('optimizer = "sgd"', "optimizer"),
        ('pair_objective = "order"', "pair"),
        ('word_segmenter = "scissors"', "word_segmenter"),
        ('dtype = "int8"', "dtype"),
        ("corpus = [3]", "corpus"),
    ],
)
def test_a_recipe_with_a_mistake_inside_a_value_is_refused(tmp_path: Path, content: str, named: str) -> None:
    path = recipe(tmp_path, f"steps = 3\n{content}")
    args = ["--out", "run"] if named == "corpus" else NEEDED
    assert named in refusal(lambda: parse_options([*args, "--recipe", path]))


def test_a_recipe_that_is_missing_is_refused(tmp_path: Path) -> None:
    assert refusal(lambda: parsed("--recipe", "swift")) == (
        "no recipe 'swift': give fast, paper or the path of a .toml file"
    )
    assert str(tmp_path) in refusal(lambda: parsed("--recipe", str(tmp_path)))


@pytest.mark.parametrize("form", [("--recipe", ""), ("--recipe=",)])
def test_an_empty_name_is_no_recipe(form: tuple[str, ...]) -> None:
    """As of a variable of the shell that is not set."""
    assert refusal(lambda: parsed(*form)) == ". is a directory, expected a file"


def test_a_recipe_without_a_value_is_the_parsers_to_refuse() -> None:
    assert "--recipe needs a value" in refusal(lambda: parsed("--recipe"))


# --- Shorthands and contradictions -----------------------------------------------------------------------------------


def test_no_nsp_is_short_for_the_pair_objective() -> None:
    assert parsed("--no-nsp") == dataclasses.replace(parsed("--pair-objective", "none"), no_nsp=True)
    assert parsed("--no-nsp").decisive() == parsed("--pair-objective", "none").decisive()
    assert not parsed("--no-nsp").nsp
    assert parsed().nsp


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--out", "run"), "give either --corpus"),
        ((*NEEDED, "--data", "arrays"), "give either --corpus"),
        (("--corpus", "text.txt"), "--out is missing"),
        ((*NEEDED, "--steps", str(10**30)), f"--steps must be at least 1 and at most 1e+18, not {10**30}"),
        ((*NEEDED, "--steps", "1" + 400 * "0"), "--steps must be at least 1 and at most 1e+18"),
        ((*NEEDED, "--steps", "3", "--minutes", "1"), "give exactly one of --steps, --minutes and --passes"),
        ((*NEEDED, "--passes", "3", "--minutes", "1"), "give exactly one of --steps, --minutes and --passes"),
        ((*NEEDED, "--init", "a", "--model", "tiny"), "--model has no effect here: --init"),
        ((*NEEDED, "--init", "a", "--tokenizer", "b"), "--tokenizer has no effect here: --init"),
        ((*NEEDED, "--init", "a", "--vocab-size", "300"), "--vocab-size has no effect here"),
        ((*NEEDED, "--tokenizer", "a", "--vocab-size", "300"), "--vocab-size has no effect here"),
        ((*NEEDED, "--tokenizer", "a", "--no-lowercase"), "--no-lowercase has no effect here"),
        (("--data", "a", "--out", "run", "--vocab-size", "300"), "--vocab-size has no effect here: the arrays"),
        (("--data", "a", "--out", "run", "--tokenizer", "b"), "--tokenizer has no effect here: the arrays"),
        ((*NEEDED, "--tokenizer-kind", "bpe", "--no-lowercase"), "--no-lowercase has no effect here: a bpe vocabulary"),
        (
            (*NEEDED, "--tokenizer", "a", "--tokenizer-kind", "bpe"),
            "--tokenizer-kind has no effect here: the vocabulary",
        ),
        ((*NEEDED, "--word-segmenter", "jieba"), "--word-segmenter has no effect here: without --whole-word-mask"),
        (
            ("--data", "a", "--out", "r", "--whole-word-mask", "--word-segmenter", "jieba"),
            "--word-segmenter has no effect here: the arrays",
        ),
        ((*NEEDED, "--tokenizer-kind", "bpe", "--vocab-size", "261"), "--vocab-size: expected a whole number from 262"),
        (("--data", "a", "--out", "run", "--no-lowercase"), "--no-lowercase has no effect here: the arrays"),
        (("--data", "a", "--out", "run", "--sentence-per-line"), "--sentence-per-line has no effect here"),
        (("--data", "a", "--out", "run", "--text-field", "body"), "--text-field has no effect here"),
        (("--data", "a", "--out", "run", "--document-per-line"), "--document-per-line has no effect here: the arrays"),
        (
            (*NEEDED, "--optimizer", "adamw"),
            "--learning-rate is missing: the rules know only the rates of --optimizer muon",
        ),
        ((*NEEDED, "--optimizer", "adamw", "--learning-rate", "0.3", "--block-learning-rate", "0.3"), "no effect"),
        ((*NEEDED, "--warmup-share", "0.6", "--decay-share", "0.6"), "--warmup-share and --decay-share"),
        ((*NEEDED, "--no-such-option"), "--no-such-option"),
        ((*NEEDED, "--model"), "--model"),
        ((*NEEDED, "--optimizer", "sgd"), "--optimizer"),
        ((*NEEDED, "--pair-objective", "both"), "--pair-objective"),
        ((*NEEDED, "--device", "tpu"), "--device"),
        ((*NEEDED, "--steps", "ten"), "--steps"),
        ((*NEEDED, "--steps", "1.5"), "--steps"),
        ((*NEEDED, "--learning-rate", "fast"), "--learning-rate"),
    ],
)
def test_options_that_do_not_go_together_are_refused(args: tuple[str, ...], message: str) -> None:
    assert message in refusal(lambda: parse_options(args))


# --- Ranges ----------------------------------------------------------------------------------------------------------

BAD = {
    "--steps": ("0", "-1"),
    "--minutes": ("0", "-1", "nan", "inf", "-inf"),
    "--seq-len": ("4", "0", "-3"),
    "--batch-size": ("0", "-8"),
    "--accumulate": ("0", "-1"),
    "--learning-rate": ("0", "-1", "nan", "inf", "1.5", "1e30"),
    "--block-learning-rate": ("0", "-1", "nan", "inf", "1.5"),
    "--eps": ("0", "nan", "inf", "2"),
    "--weight-decay": ("-0.1", "nan", "inf", "1.5"),
    "--clip-norm": ("-1", "nan", "inf"),
    "--warmup-share": ("-0.1", "1.1", "nan"),
    "--decay-share": ("-0.1", "1.1", "nan"),
    "--dropout": ("-0.1", "1", "nan", "inf"),
    "--mask-rate": ("0", "1", "-0.1", "1.5", "nan", "inf"),
    "--short-share": ("-0.1", "1.1", "nan"),
    "--vocab-size": ("0", "-5", "100000000"),
    "--keep-at": ("0", "0%", "many"),
    "--save-every": ("0",),
    "--save-seconds": ("0", "nan", "inf"),
    "--evaluations": ("0",),
    "--log-every": ("0",),
    "--seed": ("-1", str(2**64)),
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option, values in BAD.items() for value in values])
def test_values_out_of_range_are_refused_by_name(option: str, value: str) -> None:
    message = refusal(lambda: parsed(option, value))
    assert option in message


def test_betas_out_of_range_are_refused() -> None:
    assert "--betas" in refusal(lambda: parsed("--betas", "0.9", "1"))
    assert "--betas" in refusal(lambda: parsed("--betas", "nan", "0.9"))


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ((), "--phases is empty"),
        (((128, 0.5),), "--phases: the shares must add up to 1, not 0.5"),
        (((128, 0.5), (256, 0.6)), "add up to 1, not 1.1"),
        (((128, 1.5), (256, -0.5)), "--phases: a share must be above 0"),
        (((4, 1.0),), "--seq-len must be at least 5"),
    ],
)
def test_phases_that_make_no_run_are_refused(phases: tuple[tuple[int, float], ...], message: str) -> None:
    options = PretrainOptions(out="run", corpus=("text.txt",), steps=1, phases=phases)
    assert message in refusal(options.check)


def test_the_ends_of_the_ranges_are_taken() -> None:
    options = parsed("--steps", "1", "--batch-size", "1", "--clip-norm", "0", "--dropout", "0", "--short-share", "1",
                     "--warmup-share", "0", "--decay-share", "0", "--learning-rate", "1", "--seed", "0")  # fmt: skip
    assert (options.steps, options.clip_norm, options.short_share, options.learning_rate) == (1, 0.0, 1.0, 1.0)


# --- The saved configuration -----------------------------------------------------------------------------------------


def test_the_saved_configuration_is_a_recipe_for_the_same_run(tmp_path: Path) -> None:
    options = parsed("--recipe", "paper", "--no-nsp", "--seq-len", "48", "--text-field", 'a "quoted" \\ name',
                     "--corpus", "größe.txt", "b c.txt", "--steps", "12", "--seed", "4", "--tokenizer-kind", "unigram",
                     "--whole-word-mask", "--word-segmenter", "jieba")  # fmt: skip
    path = recipe(tmp_path, options.to_toml())
    again = parse_options(["--out", "other", "--recipe", path])
    assert again.decisive() == options.decisive()


def test_the_saved_configuration_has_every_option_that_decides() -> None:
    options = parsed("--model", "tiny", "--steps", "3")
    saved = tomllib.loads(options.to_toml())
    fields = {field.name for field in dataclasses.fields(PretrainOptions)}
    not_given = {"data", "init", "tokenizer", "minutes", "passes", "word_segmenter", "keep_at"}
    by_rule = {"learning_rate", "block_learning_rate", "dropout"}
    where = {"out", "resume", "device", "compile"}
    how_often = {"save_every", "save_seconds", "evaluations", "log_every"}
    worked_into_others = {"recipe", "seq_len", "no_nsp"}
    assert set(saved) == fields - not_given - by_rule - where - how_often - worked_into_others


def test_our_recipes_set_only_what_decides() -> None:
    for name in ("fast", "paper"):
        fields = read_recipe(name)
        assert set(fields) - {"recipe"} <= set(PretrainOptions(**fields).decisive())


def test_the_fast_recipe_is_what_the_options_begin_with() -> None:
    assert PretrainOptions(**read_recipe("fast")) == PretrainOptions(minutes=5)


def test_help_shows_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        parse_options(["--help"])
    assert ending.value.code == 0
    shown = capsys.readouterr().out
    for field in dataclasses.fields(PretrainOptions):
        assert f"--{field.name.replace('_', '-')}" in shown or field.name == "lowercase"
    assert "--no-lowercase" in shown
    assert "0.3" in shown and "128" in shown


def test_errors_are_input_errors() -> None:
    with pytest.raises(InputError):
        parse_options(["--out", "run"])


def test_arrays_on_the_command_line_replace_the_recipes_text(tmp_path: Path) -> None:
    path = recipe(tmp_path, 'steps = 12\ncorpus = ["text.txt"]\nmodel = "tiny"\n')
    options = parse_options(["--recipe", path, "--out", "run", "--data", "arrays"])
    assert (options.corpus, options.data) == ((), "arrays")
    options = parse_options(["--recipe", path, "--out", "run", "--init", "model"])
    assert (options.model, options.init) == (None, "model")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--seq-len", "64", "--phases", "32", "1.0"], "--phases has no effect here: --seq-len replaces"),
        (["--no-nsp", "--pair-objective", "nsp"], "--pair-objective has no effect here: --no-nsp"),
    ],
)
def test_a_shorthand_beside_what_it_stands_for_is_refused(args: list[str], message: str) -> None:
    assert message in refusal(lambda: parse_options(["--corpus", "a.txt", "--out", "run", *args]))
