"""The numbers of the page, against the reference with the same weights, and against other ways to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from minibert.architectures import ARCHITECTURES
from minibert.exploring.attention import head_figures, strongest
from minibert.exploring.record import make_record
from minibert.heads import BertForPreTraining
from minibert.tokenizer import Tokenizer
from minibert.tracing import trace
from tests.helpers import refusal
from tests.minibert.exploring.conftest import SHAPE, A, B, Twins, random_model, reference_output

# --- Tokens ----------------------------------------------------------------------------------------------------------


def test_tokens_say_which_characters_they_stand_for(record: dict[str, Any]) -> None:
    rows = [(t["piece"], t["characters"], t["segment"], t["frame"]) for t in record["tokens"]]
    assert rows == [
        ("[CLS]", "", 0, True), ("the", "The", 0, False), ("cat", "cat", 0, False), ("[MASK]", "[MASK]", 0, False),
        ("on", "on", 0, False), ("the", "the", 0, False), ("mat", "mat", 0, False), ("[SEP]", "", 0, True),
        ("the", "the", 1, False), ("[MASK]", "[MASK]", 1, False), ("ran", "ran", 1, False), ("[SEP]", "", 1, True),
    ]  # fmt: skip
    assert [token["position"] for token in record["tokens"]] == list(range(12))


# --- Against the reference -------------------------------------------------------------------------------------------


def test_attention_is_the_references(twins: Twins, tokenizer: Tokenizer) -> None:
    expected = torch.stack(reference_output(twins, tokenizer, A, B).attentions)[:, 0]
    found = make_record(twins.model, tokenizer, A, B, name="x")["attention"]["probabilities"]
    assert found.shape == (2, 3, 12, 12)
    assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_hidden_states_are_the_references(twins: Twins, tokenizer: Tokenizer) -> None:
    states = [state[0] for state in reference_output(twins, tokenizer, A, B).hidden_states]
    found = make_record(twins.model, tokenizer, A, B, name="x")
    assert_allclose(found["embeddings"]["values"]["norm"], states[0], rtol=0, atol=1e-5)
    for layer in range(2):
        assert_allclose(found["blocks"]["values"]["feed_forward_norm"][layer], states[layer + 1], rtol=0, atol=1e-5)
        assert_allclose(found["blocks"]["stream"][layer], states[layer].norm(dim=-1), rtol=0, atol=1e-5)


def test_answers_are_the_references(twins: Twins, tokenizer: Tokenizer) -> None:
    output = reference_output(twins, tokenizer, A, B)
    first, second, next_sentence = make_record(twins.model, tokenizer, A, B, name="x")["predictions"]
    for prediction, position in ((first, 3), (second, 9)):
        best = output.prediction_logits[0, position].softmax(-1).topk(10)
        assert prediction["position"] == position
        assert [answer["answer"] for answer in prediction["answers"]] == tokenizer.tokens(best.indices.tolist())
        assert_allclose([answer["value"] for answer in prediction["answers"]], best.values, rtol=0, atol=1e-6)
    expected = output.seq_relationship_logits[0].softmax(-1)
    found = {answer["answer"]: answer["value"] for answer in next_sentence["answers"]}
    assert_allclose([found["B follows A"], found["B is from elsewhere"]], expected, rtol=0, atol=1e-6)


@torch.no_grad()
def test_earlier_blocks_are_read_by_the_references_head(twins: Twins, tokenizer: Tokenizer) -> None:
    states = reference_output(twins, tokenizer, A, B).hidden_states
    prediction = make_record(twins.model, tokenizer, A, B, name="x")["predictions"][0]
    followed = tokenizer.token_to_id(prediction["answers"][0]["answer"])
    assert len(prediction["layers"]) == len(states) == 3
    for entry, state in zip(prediction["layers"], states, strict=True):
        shares = twins.reference.cls.predictions(state)[0, 3].softmax(-1)
        best = shares.topk(5)
        assert [answer["answer"] for answer in entry["answers"]] == tokenizer.tokens(best.indices.tolist())
        assert entry["value"] == pytest.approx(shares[followed].item(), abs=1e-6)
        assert entry["rank"] == 1 + int((shares > shares[followed]).sum())
    assert prediction["layers"][-1]["rank"] == 1


def test_of_two_answers_that_are_shown_alike_the_better_one_is_followed(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model("BertForPreTraining")
    plain = make_record(model, tokenizer, A, B, name="x")
    best = tokenizer.token_to_id(plain["predictions"][0]["answers"][0]["answer"])
    assert best > 5
    shown = type(tokenizer).shown
    monkeypatch.setattr(type(tokenizer), "shown", lambda self, token: shown(self, best if token == 5 else token))
    alike = make_record(model, tokenizer, A, B, name="x")
    assert alike["predictions"][0]["layers"][-1]["rank"] == 1
    assert alike["predictions"][0]["layers"][-1]["value"] == plain["predictions"][0]["layers"][-1]["value"]
    assert_allclose(alike["what_if"]["values"], plain["what_if"]["values"], rtol=0, atol=0)
    assert_allclose(alike["saliency"], plain["saliency"], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("twins", "scale"), [("single label", "softmax"), ("many labels", "sigmoid"), ("scores", "number")],
    indirect=["twins"],
)  # fmt: skip
def test_a_labels_values_are_the_references(twins: Twins, scale: str, tokenizer: Tokenizer) -> None:
    logits = reference_output(twins, tokenizer, A, B).logits[0]
    (prediction,) = make_record(twins.model, tokenizer, A, B, name="x")["predictions"]
    values = {"softmax": logits.softmax(-1), "sigmoid": logits.sigmoid(), "number": logits}[scale]
    assert prediction["scale"] == scale
    found = {answer["answer"]: answer["value"] for answer in prediction["answers"]}
    assert_allclose([found[label] for label in twins.model.labels], values, rtol=0, atol=1e-6)


@pytest.mark.parametrize("twins", ["tokens"], indirect=True)
def test_every_word_has_the_references_label(twins: Twins, tokenizer: Tokenizer) -> None:
    shares = reference_output(twins, tokenizer, A, B).logits[0].softmax(-1)
    predictions = make_record(twins.model, tokenizer, A, B, name="x")["predictions"]
    assert [prediction["position"] for prediction in predictions] == [1, 2, 3, 4, 5, 6, 8, 9, 10]
    for prediction in predictions:
        expected = shares[prediction["position"]]
        assert prediction["answers"][0]["answer"] == twins.model.labels[expected.argmax()]
        assert prediction["answers"][0]["value"] == pytest.approx(expected.max().item(), abs=1e-6)


@pytest.mark.parametrize("twins", ["answers"], indirect=True)
def test_an_answer_begins_and_ends_where_the_reference_says(twins: Twins, tokenizer: Tokenizer) -> None:
    output = reference_output(twins, tokenizer, A, B)
    begins, ends = make_record(twins.model, tokenizer, A, B, name="x")["predictions"]
    for prediction, logits in ((begins, output.start_logits[0]), (ends, output.end_logits[0])):
        place = int(logits.argmax())
        assert prediction["answers"][0]["answer"].endswith(f" at {place}")
        assert prediction["answers"][0]["value"] == pytest.approx(logits.softmax(-1)[place].item(), abs=1e-6)


# --- Norms and figures -----------------------------------------------------------------------------------------------


def test_what_a_sublayer_adds_is_a_share_of_what_it_is_added_to(tokenizer: Tokenizer) -> None:
    model = random_model("BertForPreTraining")
    traced = trace(model, tokenizer(A, B))
    found = make_record(model, tokenizer, A, B, name="x")["blocks"]["added"]
    added, stream = traced["blocks.1.attention.output"][0], traced["blocks.0"][0]
    assert_allclose(found["attention"][1], added.norm(dim=-1) / stream.norm(dim=-1), rtol=1e-5)
    added, stream = traced["blocks.1.feed_forward.output"][0], traced["blocks.1.attention_norm"][0]
    assert_allclose(found["feed_forward"][1], added.norm(dim=-1) / stream.norm(dim=-1), rtol=1e-5)


def test_figures_of_a_head_that_is_known() -> None:
    # [CLS] a [SEP] b [SEP]: each looks half at itself and half at the token before; [CLS] at itself alone.
    head = np.zeros((5, 5))
    head[0, 0] = 1
    for token in range(1, 5):
        head[token, token] = head[token, token - 1] = 0.5
    found = head_figures(
        head[None, None],
        cls=np.array([True, False, False, False, False]),
        sep=np.array([False, False, True, False, True]),
        sequence_ids=np.array([-1, 0, -1, 1, -1]),
    )
    assert {name: value.item() for name, value in found.items()} == {
        "entropy": 0.8, "self": 0.6, "previous": 0.5, "next": 0.0, "cls": 0.3, "sep": 0.3,
        "a_to_a": 0.5, "a_to_b": 0.0, "b_to_a": 0.0, "b_to_b": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("texts", [("[SEP]", "the cat"), ("the cat", "[SEP] [CLS]")], ids=["first", "second"])
def test_a_text_of_special_tokens_alone_has_figures(texts: tuple[str, str], tokenizer: Tokenizer) -> None:
    record = make_record(random_model("Bert"), tokenizer, *texts, name="x")
    assert all(np.isfinite(values).all() for values in record["attention"]["figures"].values())
    frame = [token["position"] for token in record["tokens"] if token["frame"]]
    assert frame == ([0, 2, 5] if texts[0] == "[SEP]" else [0, 3, 6])


def test_a_text_alone_has_no_figures_of_pairs(tokenizer: Tokenizer) -> None:
    figures = make_record(random_model("Bert"), tokenizer, A, name="x")["attention"]["figures"]
    assert list(figures) == ["entropy", "self", "previous", "next", "cls", "sep"]


# --- Where the page opens --------------------------------------------------------------------------------------------


# From which token to which: its attention, in a head of its own each, of seven tokens.
SHARES = {(2, 2): 0.99, (0, 6): 0.95, (2, 3): 0.9, (4, 2): 0.8, (5, 2): 0.7, (4, 1): 0.6}


@pytest.mark.parametrize(
    ("words", "goes_on", "asked", "strongest_pair", "among"),
    [
        ([1, 2, 3, 4, 5], [], None, (4, 2), "words"),
        ([1, 2, 3, 4, 5], [4], None, (5, 2), "words"),  # of one word, 3 and 4 are both neighbours of 2
        ([1, 2, 4, 5], [], None, (5, 2), "words"),  # with punctuation at 3 alone between them 2 and 4 are neighbours
        ([1, 2, 3], [], 4, (4, 2), "words"),  # [MASK] at 4
        ([1, 3], [], 4, (4, 1), "words"),
        ([1, 2], [], None, (0, 6), "all"),
        ([], [], 5, (5, 2), "all"),
    ],
)
def test_the_strongest_attention_from_a_word_to_one_that_is_no_neighbour(
    words: list[int], goes_on: list[int], asked: int | None, strongest_pair: tuple[int, int], among: str
) -> None:
    probabilities = np.zeros((2, 3, 7, 7), np.float32)
    for number, (pair, share) in enumerate(SHARES.items()):
        probabilities[(number // 3, number % 3, *pair)] = share
    number = list(SHARES).index(strongest_pair)
    of_words, going_on = (np.isin(np.arange(7), places) for places in (words, goes_on))
    found = strongest(probabilities, words=of_words, goes_on=going_on, asked=asked)
    assert found == ((number // 3, number % 3, *strongest_pair), among)


def test_the_opening_says_why(record: dict[str, Any]) -> None:
    opening = record["opening"]
    assert (opening["layer"], opening["head"], opening["from"], opening["to"]) == (1, 1, 3, 1)
    assert opening["value"] == record["attention"]["probabilities"][1, 1, 3, 1]
    assert opening["why"] == (
        "The page opens with the largest attention weight in any head, from the first [MASK] to a word that is not its "
        "neighbour: 0.1641 in block 1, head 1, from “[MASK]” (token 3) to “the” (token 1)."
    )


# --- What is left out, and what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_class_has_a_record(architecture: str, tokenizer: Tokenizer) -> None:
    model = random_model(architecture)
    found = make_record(model, tokenizer, A, B, name="x")
    assert (found["predictions"] == []) == (architecture in ("Bert", "BertWithPooler"))
    assert found["what_if"]["moved"].shape == (2, 4)
    assert found["saliency"].shape == (len(found["predictions"]), 12)
    assert len(found["contributions"]["values"]) == len(found["predictions"])


def test_an_encoder_says_what_is_left_out(tokenizer: Tokenizer) -> None:
    assert make_record(random_model("Bert"), tokenizer, A, name="x")["left_out"] == [
        "The predictions, how they form and what they depend on are left out: a Bert has no head that can make a "
        "prediction for this text."
    ]


def test_a_text_without_masks_and_pair_says_what_is_left_out(tokenizer: Tokenizer) -> None:
    assert make_record(random_model("BertForPreTraining"), tokenizer, "the cat", name="x")["left_out"] == [
        "No token is predicted. Write [MASK] in the text to get a prediction there.",
        "The next-sentence prediction is left out, because it needs two texts.",
    ]


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (("",), {}, "the text is empty: there are no tokens in ''"),
        ((" \n",), {}, "the text is empty: there are no tokens in ' \\n'"),
        (("the", "\u200d"), {}, "the second text is empty: there are no tokens in '\\u200d'"),
        (("\ud800",), {}, "text 1, character 0: expected Unicode text, found a lone surrogate"),
        (("the", "cat \udcff"), {}, "text 2, character 4: expected Unicode text, found a lone surrogate"),
        (("the " * 63,), {}, "65 tokens, but the model has 64 positions"),
        (("the cat",), {"max_tokens": 3},
         "4 tokens, but --max-tokens is 3: give a shorter text or a larger limit"),
    ],
    ids=["empty", "white space", "nothing left", "surrogate", "surrogate in the second", "positions", "max tokens"],
)  # fmt: skip
def test_texts_are_refused(texts: tuple[str, ...], options: dict[str, int], message: str, tokenizer: Tokenizer) -> None:
    model = random_model("Bert")
    assert refusal(lambda: make_record(model, tokenizer, *texts, name="x", **options)) == message


def test_weights_that_are_not_finite_are_refused(tokenizer: Tokenizer) -> None:
    model = random_model("Bert")
    with torch.no_grad():
        model.encoder.blocks[1].feed_forward.inner.bias[0] = torch.nan
    assert refusal(lambda: make_record(model, tokenizer, A, name="x")) == (
        "blocks.1.feed_forward.inner contains NaN or infinity, expected finite values: has training diverged?"
    )


def test_long_and_control_characters_are_shown(tokenizer: Tokenizer) -> None:
    found = make_record(random_model("Bert"), tokenizer, "the\0 " + "x" * 10_000, name="x")
    assert found["texts"] == ["the␀ " + "x" * 1995 + "… (10,005 characters)"]
    assert [token["piece"] for token in found["tokens"]] == ["[CLS]", "the", "[UNK]", "[SEP]"]
    assert found["tokens"][2]["characters"].endswith("… (10,000 characters)")


# --- Two models ------------------------------------------------------------------------------------------------------


def test_a_model_beside_itself_differs_nowhere(tokenizer: Tokenizer) -> None:
    model = random_model("BertForPreTraining")
    found = make_record(model, tokenizer, A, B, name="x", other=(model, tokenizer, "y"))["compare"]
    assert not found["hidden"].any() and not found["attention"].any()


def test_differences_begin_where_the_weights_do(tokenizer: Tokenizer) -> None:
    model, other = random_model("BertForPreTraining"), random_model("BertForPreTraining")
    with torch.no_grad():  # the keys of block 1
        other.encoder.blocks[1].attention.query_key_value.weight[24:48] *= 2
    record = make_record(model, tokenizer, A, B, name="x", other=(other, tokenizer, "y"))
    found = record["compare"]
    assert not found["hidden"][:2].any() and (found["hidden"][2] > 0.001).all()
    assert not found["attention"][0].any()
    theirs = make_record(other, tokenizer, A, B, name="y")
    distance = np.abs(record["attention"]["probabilities"] - theirs["attention"]["probabilities"]).sum(-1) / 2
    assert_allclose(found["attention"], distance, rtol=0, atol=1e-6)
    assert found["predictions"] == theirs["predictions"]


def test_models_of_other_shapes_or_tokens_are_not_compared(tokenizer: Tokenizer) -> None:
    model = random_model("BertForPreTraining")
    deeper = BertForPreTraining(SHAPE.replace(num_hidden_layers=3)).eval()
    other_words = Tokenizer.train(["the cat sat on the mat " * 3], vocab_size=30)

    def comparing(*other: Any) -> str:
        return refusal(lambda: make_record(model, tokenizer, A, B, name="x", other=other))

    assert comparing(deeper, tokenizer, "deep") == (
        "num_hidden_layers is 3 in deep, but 2 in x: only models of the same shape can be compared"
    )
    assert comparing(model, other_words, "words") == (
        "words splits the text into different tokens than x, so they cannot be compared"
    )
