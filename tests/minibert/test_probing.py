"""Linear probes: the states are those of a trace, the fit is scikit-learn's, and the control task is a random one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression

import minibert
from minibert import probing
from minibert.fast import accelerate
from minibert.heads import BertForMaskedLM
from minibert.model import Bert
from minibert.probing import PENALTIES, block_states, control_targets, fit, predicted, probe, probed, split
from minibert.tokenizer import Tokenizer
from tests.helpers import FAMILY, randomize, refusal, seeded

SENTENCES = [
    (("the", "cats", "sat"), ("D", "N", "V")),
    (("a", "dog", "ran", "home"), ("D", "N", "V", "R")),
    (("he", "bought", "bread"), ("P", "V", "N")),
]


def random_model(tokenizer: Tokenizer, family: str = "bert", **fields: Any) -> BertForMaskedLM:
    model = BertForMaskedLM(FAMILY[family].replace(vocab_size=tokenizer.vocab_size, **fields))
    randomize(model, seed=5)
    return model.eval()


def clusters(rows: int, *, seed: int, spread: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    """States of three classes that overlap, (rows, 6), whose dimensions have different scales, and the classes."""
    generator = seeded(seed)
    targets = torch.randint(3, (rows,), generator=generator)
    centres = torch.randn(3, 6, generator=seeded(1), dtype=torch.float64)
    states = centres[targets] + spread * torch.randn(rows, 6, generator=generator, dtype=torch.float64)
    return states * torch.tensor([1.0, 5.0, 0.1, 1.0, 2.0, 1.0]) + 3, targets


# --- States ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILY)
@pytest.mark.parametrize("batch_tokens", [1, 1000])
def test_a_words_state_is_the_mean_of_its_pieces_in_a_trace(
    tokenizer: Tokenizer, family: str, batch_tokens: int
) -> None:
    model = accelerate(random_model(tokenizer, family))
    items = probing.word_items(model, tokenizer, SENTENCES, progress=False)
    states = list(block_states(model.encoder, items, tokenizer.pad_id, batch_tokens))
    assert [tuple(each.shape) for each in states] == [(10, 24)] * 3
    records = [minibert.trace(model, tokenizer(" ".join(words))) for words, _ in SENTENCES]
    pieces = [[len(ids) for ids in tokenizer.encode_plain([f" {word}" for word in words])] for words, _ in SENTENCES]
    assert pieces[2][2] == 2
    for name, found in zip(("embeddings", "blocks.0", "blocks.1"), states, strict=True):
        means = [
            part.mean(0)
            for record, lengths in zip(records, pieces, strict=True)
            for part in record[name][0, 1:-1].split(lengths)
        ]
        assert_allclose(found, torch.stack(means), atol=2e-6)


def test_a_texts_state_is_the_vector_that_embed_makes(tokenizer: Tokenizer) -> None:
    model = random_model(tokenizer)
    texts = ["the cat sat", "a dog", "he " * 30]
    items = probing.text_items(model, tokenizer, [(text, "x") for text in texts], progress=False)
    *_, last = block_states(model.encoder, items, tokenizer.pad_id, 40)
    assert_allclose(last, minibert.embed(model, tokenizer, texts), atol=2e-6)
    assert items.left_out == {"cut at the model's positions": 1} and items.types is None


def test_what_has_no_state_is_left_out_and_counted(tokenizer: Tokenizer) -> None:
    model = random_model(tokenizer)  # 16 positions
    words = ("the", "\ufe0f", "cat", *("the",) * 11, "bread", "the")
    tags = ("D", "X", None, *("D",) * 11, "N", "D")  # the 14th piece is the first of "bread", and "the" comes later
    items = probing.word_items(model, tokenizer, [(words, tags)], progress=False)
    assert items.labels == ["D"] * 12
    assert items.left_out == {"beyond the model's positions": 2, "no piece": 1}
    assert len(items.sequences[0]) == 15  # the word without a tag is read


# --- The probe -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [1e-1, 1e-3])
def test_the_fit_is_that_of_scikit_learn(penalty: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "TOLERANCE", 1e-9)
    states, targets = clusters(200, seed=2)
    fitted = fit(states, targets, 3, penalty)
    theirs = LogisticRegression(C=1 / (200 * penalty), tol=1e-9, max_iter=10_000).fit(states, targets)
    assert_allclose(fitted[:, :-1], theirs.coef_, atol=1e-6)
    assert_allclose(predicted(fitted, states).softmax(-1), theirs.predict_proba(states), atol=1e-6)
    again = fit(states, targets, 3, penalty, start=torch.ones_like(fitted))
    assert_allclose(predicted(again, states).softmax(-1), theirs.predict_proba(states), atol=1e-6)


def test_accuracies_are_those_of_scikit_learn_on_standardised_states() -> None:
    states, targets = clusters(900, seed=3)
    states[:, 5] = 7.0  # constant
    control = torch.randint(3, (900,), generator=seeded(4))
    where = torch.arange(900).split([500, 100, 300])
    accuracy, control_accuracy, penalty = probed(states.float(), targets, control, where, 3)
    train, dev, test = (states[rows].numpy() for rows in where)
    mean, spread = train.mean(0), train.std(0)
    spread[5] = 1

    def theirs(wanted: torch.Tensor, penalty: float) -> tuple[float, float]:
        model = LogisticRegression(C=1 / (500 * penalty)).fit((train - mean) / spread, wanted[where[0]])
        parts = ((dev, where[1]), (test, where[2]))
        return tuple(model.score((part - mean) / spread, wanted[rows]) for part, rows in parts)

    on_dev = {each: theirs(targets, each)[0] for each in PENALTIES}
    assert penalty == max(PENALTIES, key=lambda each: on_dev[each])
    assert accuracy == pytest.approx(theirs(targets, penalty)[1], abs=0.004)  # a row in 300
    assert control_accuracy == pytest.approx(theirs(control, penalty)[1], abs=0.004)
    assert 0.5 < accuracy < 0.95


def test_of_penalties_that_are_equally_good_the_strongest_is_chosen() -> None:
    states, targets = clusters(60, seed=5, spread=0.01)
    assert probed(states, targets, None, torch.arange(60).split(20), 3) == (1.0, None, PENALTIES[0])


# --- The control task ------------------------------------------------------------------------------------------------


def test_every_type_has_one_label_drawn_with_the_frequencies_of_the_tags() -> None:
    types = [(i % 5000,) for i in range(10_000)]
    found = control_targets(types, torch.tensor([0.7, 0.1, 0.2]), np.random.default_rng(1))
    assert found[:5000].tolist() == found[5000:].tolist()
    assert_allclose(found.bincount() / 10_000, [0.7, 0.1, 0.2], atol=0.02)
    assert found.tolist() != control_targets(types, torch.tensor([0.7, 0.1, 0.2]), np.random.default_rng(2)).tolist()


def test_what_words_say_by_themselves_is_also_memorised(tokenizer: Tokenizer) -> None:
    generator = np.random.default_rng(0)
    words = ("the", "cat", "dog", "sat", "ran", "and", "on", "a")
    sentences = [tuple(generator.choice(words, 6).tolist()) for _ in range(120)]
    tagged = [(one, ["N" if word in ("cat", "dog") else "O" for word in one]) for one in sentences]
    found = probe(random_model(tokenizer), tokenizer, tagged)
    assert found.blocks[0].accuracy > 0.98 and found.blocks[0].control == 1.0
    assert found.seen_types == 1.0 and found.unknown == 0


def test_what_only_the_context_says_is_not_in_the_embeddings(tokenizer: Tokenizer) -> None:
    """Every word is tagged with the first word of its sentence."""
    generator = np.random.default_rng(0)
    firsts = generator.choice(("cat", "dog"), 200).tolist()
    sentences = [(first, *generator.choice(("the", "ran", "a"), 3).tolist()) for first in firsts]
    found = probe(random_model(tokenizer), tokenizer, [(one, [None, *one[:1] * 3]) for one in sentences])
    embeddings, first, _ = found.blocks
    assert embeddings.accuracy < 0.65 < 0.9 < first.accuracy
    assert embeddings.selectivity == embeddings.accuracy - embeddings.control
    assert embeddings.selectivity < -0.3 and first.selectivity > -0.1


# --- probe -----------------------------------------------------------------------------------------------------------


def test_figures_of_the_data(tokenizer: Tokenizer) -> None:
    model = Bert(FAMILY["bert"].replace(vocab_size=80)).train()
    test = [(("cat", "the", "mat", "dog"), ("N", "D", "Q", "N")), (("sat",), (None,))]
    found = probe(model, tokenizer, SENTENCES, dev=SENTENCES, test=test)
    assert model.training
    assert found.labels == ("D", "N", "P", "R", "V")
    assert found.counts == {"train": 10, "dev": 10, "test": 4}
    assert found.majority == 0.5  # N and V are equally frequent: the first
    assert (found.unseen_labels, found.seen_types) == (1, 0.5)  # of the types, "the" and "dog"
    assert all(block.accuracy <= 0.75 for block in found.blocks)
    assert [block.name for block in found.blocks] == ["embeddings", "blocks.0", "blocks.1"]


def test_texts_have_no_control_task(tokenizer: Tokenizer) -> None:
    texts = [(f"the {'cat' if i % 3 else 'dog'} {'sat ' * (i % 4)}", "cat" if i % 3 else "dog") for i in range(60)]
    found = probe(random_model(tokenizer), tokenizer, texts)
    assert found.counts == {"train": 43, "dev": 5, "test": 12}
    assert [block.accuracy for block in found.blocks] == [1.0, 1.0, 1.0]
    assert [(block.control, block.selectivity) for block in found.blocks] == [(None, None)] * 3
    assert found.seen_types is None


def test_a_seeded_part_is_held_out_where_none_is_given() -> None:
    examples = [(str(i), "x") for i in range(100)]
    train, dev, test = split(examples, None, None, np.random.default_rng(1))
    assert [len(part) for part in (train, dev, test)] == [72, 8, 20]
    assert sorted([*train, *dev, *test]) == sorted(examples) and list(train) == sorted(train, key=examples.index)
    assert split(examples, None, None, np.random.default_rng(1)) == (train, dev, test)
    assert split(examples, None, None, np.random.default_rng(2)) != (train, dev, test)
    assert split(examples, examples, None, np.random.default_rng(1))[1:] == (examples, test)
    assert split(examples, examples, examples, np.random.default_rng(1)) == (examples, examples, examples)


@pytest.mark.parametrize(
    ("train", "options", "message"),
    [
        ([], {}, "no examples to train on, expected sentences or texts"),
        (SENTENCES[:1], {}, "the train part has no word with a label, expected at least one"),
        (SENTENCES[:2], {}, "the train part has no word with a label, expected at least one"),
        (SENTENCES, {"dev": [(("a",), (None,))]}, "the dev part has no word with a label, expected at least one"),
        ([("a", "x")] * 10, {}, "expected from 2 to 1,000 different labels to train on, found only 'x'"),
        (
            [("a", str(i)) for i in range(1500)],
            {},
            "expected from 2 to 1,000 different labels to train on, found 1,080",
        ),
        (SENTENCES * 5, {"batch_tokens": 0}, "a batch must have at least 1 token, not 0"),
        (SENTENCES * 5, {"scale": np.nan}, "the model's hidden states are not finite numbers, so they can't be probed"),
        (SENTENCES * 5, {"positions": 2}, "a model of 2 positions has no room for a word"),
    ],
)  # fmt: skip
def test_what_can_not_be_probed_is_refused(
    train: Any, options: dict[str, Any], message: str, tokenizer: Tokenizer
) -> None:
    model = random_model(tokenizer, max_position_embeddings=options.pop("positions", 16))
    model.encoder.embeddings.token.weight.data *= options.pop("scale", 1.0)
    assert refusal(lambda: probe(model, tokenizer, train, **options)) == message
