"""Pseudo-log-likelihood is that of a plain loop, ours and the reference's, however it is batched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from numpy.testing import assert_allclose

import minibert
from minibert import checkpoint, scoring
from minibert.fast import accelerate
from minibert.heads import BertForMaskedLM, BertForPreTraining, Model
from minibert.model import Bert
from minibert.scoring import MaskedCopies, Scorer, blocks, score
from minibert.tokenizer import Tokenizer
from tests.helpers import FAMILY, TINY, randomize, refusal
from weights_convert.convert import to_hf

TEXTS = [
    "the cat and the dog",
    "",
    "🦠",
    "the cat and the cats",
    "The dog sat.",
    "dog [MASK] the [SEP] mat",
    "a cat ran",
]
WORDS = ("the", "cat", "sat", "on", "a", "mat", "dogs", "ran", "house;", "he", "milk,", "bread", "running", "Zoë")


def random_model(tokenizer: Tokenizer, family: str = "bert", architecture: type = BertForMaskedLM) -> Model:
    model = architecture(FAMILY[family].replace(vocab_size=tokenizer.vocab_size, max_position_embeddings=40))
    randomize(model, seed=5)
    return accelerate(model.eval())


@torch.no_grad()
def by_loop(model: Model, tokenizer: Tokenizer, text: str, spans: list[list[int]]) -> float:
    """The sum over spans of positions, each masked alone, one forward pass for each."""
    ids, total = tokenizer(text).input_ids, 0.0
    for span in spans:
        masked = ids.clone()
        masked[0, span] = tokenizer.mask_id
        answer = model(masked, masked_positions=torch.tensor(span))
        logits = answer if isinstance(model, BertForMaskedLM) else answer.mlm
        total += logits.log_softmax(-1)[range(len(span)), ids[0, span]].sum().item()
    return total


@pytest.mark.parametrize("architecture", [BertForMaskedLM, BertForPreTraining])
@pytest.mark.parametrize("batch_tokens", [1, 20, 2048])
def test_each_token_is_masked_once_alone(
    architecture: type, batch_tokens: int, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(tokenizer, architecture=architecture)
    scorer = Scorer(model, tokenizer, whole_words=False, batch_tokens=1, progress=False)
    spans = [scorer.spans(ids) for ids in scorer.tokenize(TEXTS, str)]
    expected = [
        by_loop(model, tokenizer, text, [[start] for start, _ in each]) for text, each in zip(TEXTS, spans, strict=True)
    ]
    monkeypatch.setattr(scoring, "COPIES_AT_ONCE", 60)  # a text or two
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", 300)  # the head takes 3 states at once
    found = score(model, tokenizer, TEXTS, batch_tokens=batch_tokens)
    assert found.dtype == np.float64
    assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert found[1] == 0 and max(found[2:]) < 0


def test_special_tokens_are_not_masked_and_words_are_spans_of_pieces(tokenizer: Tokenizer) -> None:
    def spans(text: str, *, whole_words: bool) -> list[tuple[int, int]]:
        scorer = Scorer(random_model(tokenizer), tokenizer, whole_words=whole_words, batch_tokens=1, progress=False)
        (ids,) = scorer.tokenize([text], str)
        return scorer.spans(ids)

    text = "cats [MASK] 🦠 and running"
    pieces = tokenizer.tokens(tokenizer(text).input_ids[0])
    assert pieces == ["[CLS]", "cats", "[MASK]", "[UNK]", "an", "##d", "ru", "##nn", "##in", "##g", "[SEP]"]
    assert spans(text, whole_words=False) == [(at, at + 1) for at in (1, 3, 4, 5, 6, 7, 8, 9)]
    assert spans(text, whole_words=True) == [(1, 2), (3, 4), (4, 6), (6, 10)]


def test_whole_words_are_masked_together_and_all_their_pieces_are_summed(tokenizer: Tokenizer) -> None:
    model = random_model(tokenizer)
    expected = by_loop(model, tokenizer, "dog running", [[1], [2, 3, 4, 5]])
    assert score(model, tokenizer, "dog running", whole_words=True)[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("family", ["roberta", "distilbert", "albert", "longformer"])
def test_relatives_are_scored_like_one_by_one(family: str, tokenizer: Tokenizer) -> None:
    model = random_model(tokenizer, family)
    text = "the cat and the dog"
    expected = by_loop(model, tokenizer, text, [[at] for at in range(1, 7)])
    assert score(model, tokenizer, ["a", text])[1] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
@torch.no_grad()
def test_the_reference_gives_the_exported_model_the_same_scores(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(1, 8))) for _ in range(20)]
    tokenizer = Tokenizer.train(texts * 3, vocab_size=300, kind=kind)  # type: ignore[arg-type]
    family = {"wordpiece": "bert", "bpe": "roberta", "unigram": "albert"}[kind]
    model = random_model(tokenizer, family)
    model.config = model.encoder.config = model.config.replace(pad_token_id=tokenizer.pad_id)
    checkpoint.save(model, tokenizer, tmp_path / "model")
    to_hf(tmp_path / "model", tmp_path / "hf")
    reference = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "hf").eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    expected = []
    for text in texts:
        ids = their_tokenizer(text, return_tensors="pt").input_ids
        at = torch.arange(1, ids.size(1) - 1)
        copies = ids.repeat(len(at), 1)
        copies[range(len(at)), at] = their_tokenizer.mask_token_id
        expected.append(reference(copies).logits[range(len(at)), at].log_softmax(-1)[range(len(at)), ids[0, at]].sum())
    assert_allclose(score(model, tokenizer, texts), expected, rtol=0, atol=1e-4)


def test_a_minimal_pair_shares_the_copies_in_which_its_difference_is_masked() -> None:
    copies = MaskedCopies()
    for number, ids in enumerate(([2, 7, 8, 3], [2, 7, 9, 3])):
        copies.add(number, np.array(ids, np.int32), [(1, 2), (2, 3)], mask_id=4)
    assert [ids.tolist() for ids in copies.inputs] == [[2, 4, 8, 3], [2, 7, 4, 3], [2, 4, 9, 3]]
    assert copies.targets == [[(1, 7, 0)], [(2, 8, 0), (2, 9, 1)], [(1, 7, 1)]]


def test_equal_texts_have_exactly_equal_scores_wherever_they_stand(tokenizer: Tokenizer) -> None:
    texts = ["the cat", "dog", "the dog ran to the mat", "The  cat"]
    found = score(random_model(tokenizer), tokenizer, texts, batch_tokens=20)
    assert found[0] == found[3] != found[1]


def test_copies_are_held_for_a_bounded_number_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "COPIES_AT_ONCE", 20)
    sequences = [np.zeros(length, np.int32) for length in (3, 3, 2, 9, 2)]
    assert list(blocks(sequences)) == [range(2), range(2, 3), range(3, 4), range(4, 5)]
    assert list(blocks([])) == []


def test_no_text_is_no_score_and_one_string_is_one_text(tokenizer: Tokenizer) -> None:
    model = random_model(tokenizer)
    assert score(model, tokenizer, []).shape == (0,)
    assert score(model, tokenizer, "the cat").shape == (1,)
    assert minibert.score is score


def test_scores_leave_out_dropout_and_the_model_as_it_was(model: BertForPreTraining, tokenizer: Tokenizer) -> None:
    expected = score(model, tokenizer, TEXTS)
    assert np.array_equal(score(model.train(), tokenizer, TEXTS), expected)
    assert all(module.training for module in model.modules())


def test_what_cannot_be_scored_is_refused(tokenizer: Tokenizer) -> None:
    model = random_model(tokenizer)
    assert refusal(lambda: score(Bert(TINY), tokenizer, "a")) == "a Bert has no masked-LM head, which scoring needs"
    assert refusal(lambda: score(model, tokenizer, "a", batch_tokens=0)) == "a batch must have at least 1 token, not 0"
    assert refusal(lambda: score(model, tokenizer, ["a", "the " * 39])) == (
        "text 2: more than 40 tokens, the model's positions, counting [CLS] and [SEP]; split the text"
    )
    with torch.no_grad():
        model.encoder.embeddings.token.weight.fill_(torch.nan)
    assert refusal(lambda: score(model, tokenizer, "a")).startswith("the model's outputs are not finite numbers")
