"""What happens before the first step: what is made, what is taken away again, and which model is built."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

import minibert
from minibert.heads import BertForMaskedLM, BertForPreTraining
from minibert.tokenizer import Tokenizer
from minibert.training.run_directory import RunStatus
from minibert.training.snapshot import StartingModel
from pretrain.arrays.shards import PreparedCorpus, open_prepared
from pretrain.options import PretrainOptions
from pretrain.run_directory import PretrainDirectory
from pretrain.setup import build_model, model_config, set_up
from tests.helpers import refusal
from tests.pretrain.running import documents, tree, write_shape, write_text


@pytest.fixture
def options(arrays: Path, shape: Path, tmp_path: Path) -> PretrainOptions:
    return PretrainOptions(
        out=str(tmp_path / "new" / "run"), data=str(arrays), model=str(shape), steps=4, phases=((32, 1.0),),
        learning_rate=1e-3, block_learning_rate=1e-3, dropout=0.0,
    )  # fmt: skip


@pytest.fixture
def tokenizer(arrays: Path) -> Tokenizer:
    return Tokenizer.load(arrays)


@pytest.fixture
def corpus(arrays: Path) -> PreparedCorpus:
    return open_prepared(arrays)


def directory(options: PretrainOptions) -> PretrainDirectory:
    return PretrainDirectory(Path(options.out))


# --- The directory ---------------------------------------------------------------------------------------------------


def test_a_new_run_begins_with_its_configuration(options: PretrainOptions) -> None:
    run = directory(options)
    assert set_up(run, options, None, processes=1) is RunStatus.NEW
    assert [path.name for path in run.path.iterdir()] == ["run.toml"]
    assert run.configuration.read_text() == options.to_toml()
    assert set_up(run, dataclasses.replace(options, resume=True), None, processes=1) is RunStatus.UNFINISHED


def test_text_becomes_token_arrays_in_the_run(options: PretrainOptions, text: Path) -> None:
    options = dataclasses.replace(options, data=None, corpus=(str(text),), vocab_size=100)
    run = directory(options)
    set_up(run, options, None, processes=1)
    assert sorted(path.name for path in run.path.iterdir()) == ["data", "run.toml"]
    before = tree(run.data)
    set_up(run, dataclasses.replace(options, resume=True), None, processes=1)  # not made anew
    assert tree(run.data) == before


def test_a_run_that_was_killed_while_its_text_was_read_reads_it_again(options: PretrainOptions, text: Path) -> None:
    options = dataclasses.replace(options, data=None, corpus=(str(text),), vocab_size=100, resume=True)
    run = directory(options)
    run.path.mkdir(parents=True)
    run.configuration.write_text(options.to_toml())
    (run.path / ".data.partial").mkdir()
    assert set_up(run, options, None, processes=1) is RunStatus.UNFINISHED
    assert sorted(path.name for path in run.path.iterdir()) == ["data", "run.toml"]


def test_what_repeats_is_said_where_it_could_still_be_dropped(
    options: PretrainOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = str(write_text(tmp_path / "text.txt", [*documents(60), *documents(3)]))
    options = dataclasses.replace(options, data=None, corpus=(corpus,), vocab_size=100)
    run = directory(options)
    set_up(run, options, None, processes=1)
    assert capsys.readouterr().out.startswith("note     5% of the text repeats earlier text word for word; --drop-dupl")
    set_up(run, dataclasses.replace(options, resume=True), None, processes=1)
    options = dataclasses.replace(options, data=str(run.data), corpus=(), out=str(tmp_path / "another"))
    set_up(directory(options), options, None, processes=1)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("batch_size", "accumulate", "processes"), [(1, 1, 2), (3, 2, 2), (7, 8, 1)])
def test_every_micro_batch_must_have_a_sequence(
    options: PretrainOptions, tmp_path: Path, batch_size: int, accumulate: int, processes: int
) -> None:
    options = dataclasses.replace(options, batch_size=batch_size, accumulate=accumulate)
    message = refusal(lambda: set_up(directory(options), options, None, processes=processes))
    assert f"--batch-size {batch_size} is too small" in message
    assert not any(tmp_path.iterdir())


# --- The model -------------------------------------------------------------------------------------------------------


def test_a_model_takes_the_tokenizers_vocabulary_unless_its_file_says_another(
    options: PretrainOptions, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    assert model_config(dataclasses.replace(options, model="mini"), tokenizer).vocab_size == tokenizer.vocab_size
    (tmp_path / "silent.json").write_text('{"num_hidden_layers": 3}')
    silent = model_config(dataclasses.replace(options, model=str(tmp_path / "silent.json")), tokenizer)
    assert (silent.vocab_size, silent.num_hidden_layers) == (tokenizer.vocab_size, 3)
    wide = dataclasses.replace(options, model=str(write_shape(tmp_path / "wide.json", vocab_size=128)))
    assert model_config(wide, tokenizer).vocab_size == 128
    narrow = dataclasses.replace(options, model=str(write_shape(tmp_path / "narrow.json", vocab_size=11)))
    assert "vocab_size 11 is smaller than the tokenizer's" in refusal(lambda: model_config(narrow, tokenizer))


def test_the_model_is_in_training_mode_with_the_options_dropout(
    options: PretrainOptions, corpus: PreparedCorpus
) -> None:
    model, taken = build_model(dataclasses.replace(options, dropout=0.3), corpus)
    assert isinstance(model, BertForPreTraining) and model.training and taken == ([], [])
    assert (model.config.hidden_dropout_prob, model.config.attention_probs_dropout_prob) == (0.3, 0.3)
    assert isinstance(build_model(dataclasses.replace(options, pair_objective="none"), corpus)[0], BertForMaskedLM)


def test_random_first_weights_are_those_of_the_plain_model(options: PretrainOptions, corpus: PreparedCorpus) -> None:
    random = dataclasses.replace(options, first_weights="random")
    plain = BertForPreTraining(model_config(options, corpus.tokenizer), generator=torch.Generator().manual_seed(0))
    for model in (build_model(random, corpus)[0], build_model(options, corpus, begin=False)[0]):
        assert all(torch.equal(tensor, plain.state_dict()[name]) for name, tensor in model.state_dict().items())
    begun = build_model(options, corpus)[0]
    assert not torch.equal(begun.mlm_head.decoder.bias, plain.mlm_head.decoder.bias)


def test_the_seed_decides_the_fresh_weights(options: PretrainOptions, corpus: PreparedCorpus) -> None:
    torch.manual_seed(1)
    first = build_model(options, corpus)[0].state_dict()
    torch.manual_seed(2)
    again = build_model(options, corpus)[0].state_dict()
    other = build_model(dataclasses.replace(options, seed=1), corpus)[0].state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_tied_decoder_stays_tied_when_weights_are_taken_over(
    options: PretrainOptions, corpus: PreparedCorpus, tmp_path: Path
) -> None:
    source, _ = build_model(options, corpus)
    minibert.save(source, corpus.tokenizer, tmp_path / "source")
    options = dataclasses.replace(options, model=None, init=str(tmp_path / "source"), seed=5)
    model, taken = build_model(options, corpus, StartingModel(str(tmp_path / "source")))
    assert taken == ([], [])
    for name, parameter in source.named_parameters():
        assert torch.equal(model.get_parameter(name), parameter)
    assert len(dict(model.named_parameters())) == len(dict(source.named_parameters()))
    assert model.mlm_head.decoder.weight is model.encoder.embeddings.token.weight
