"""The heads: what is tied, what is computed, and the numbers against the reference's."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close

from minibert.architectures import ARCHITECTURES
from minibert.heads import BertForMaskedLM, BertForPreTraining, Classifier, MaskedLMHead, Pooler
from minibert.model import Bert
from tests.helpers import HEADS, TINY, ragged_batch, randomize, refusal, seeded, tiny_model
from tests.reference import copy_pretraining_model, reference_config

POSITIONS = torch.tensor(
    [1, 10, 11 + 2, 11 + 6, 22]
)  # flat, b·11 + t: tokens 1 and 10 of the first sequence, and so on


@pytest.fixture(scope="module")
def reference() -> transformers.BertForPreTraining:
    model = transformers.BertForPreTraining(reference_config(TINY)).double().eval()
    randomize(model, seed=11)
    return model


@pytest.fixture(scope="module")
def ours(reference: transformers.BertForPreTraining) -> BertForPreTraining:
    model = BertForPreTraining(TINY).double().eval()
    copy_pretraining_model(reference, model)
    return model


def inputs() -> dict[str, Tensor]:
    input_ids, token_type_ids, attention_mask = ragged_batch()
    return {"input_ids": input_ids, "token_type_ids": token_type_ids, "attention_mask": attention_mask}


def test_masked_lm_logits_are_the_references(
    ours: BertForPreTraining, reference: transformers.BertForPreTraining
) -> None:
    expected = reference(**inputs()).prediction_logits.flatten(0, 1)[POSITIONS]
    assert_close(ours(**inputs(), masked_positions=POSITIONS).mlm, expected, rtol=0, atol=1e-10)


def test_next_sentence_logits_are_the_references(
    ours: BertForPreTraining, reference: transformers.BertForPreTraining
) -> None:
    expected = reference(**inputs()).seq_relationship_logits
    assert_close(ours(**inputs(), masked_positions=POSITIONS).nsp, expected, rtol=0, atol=1e-10)


def test_the_pooler_is_the_references(ours: BertForPreTraining, reference: transformers.BertForPreTraining) -> None:
    hidden = torch.randn(3, 11, TINY.hidden_size, generator=seeded(1), dtype=torch.float64)
    assert_close(ours.pooler(hidden), reference.bert.pooler(hidden), rtol=0, atol=1e-10)


@pytest.mark.parametrize("activation", ["gelu_new", "relu"])
def test_the_masked_lm_head_uses_the_configs_activation(activation: str) -> None:
    head = MaskedLMHead(TINY.replace(hidden_act=activation)).double()
    randomize(head, seed=3)
    chosen = torch.randn(4, TINY.hidden_size, generator=seeded(1), dtype=torch.float64)
    functions = {
        "gelu_new": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        "relu": torch.nn.functional.relu,
    }
    assert_close(head(chosen), head.decoder(head.norm(functions[activation](head.dense(chosen)))), rtol=0, atol=1e-12)


def test_masked_lm_model_is_the_masked_lm_part_of_the_pretraining_model(ours: BertForPreTraining) -> None:
    alone = BertForMaskedLM(TINY).double().eval()
    incompatible = alone.load_state_dict(ours.state_dict(), strict=False)
    assert incompatible.missing_keys == []
    assert sorted(incompatible.unexpected_keys) == [
        "nsp_head.bias",
        "nsp_head.weight",
        "pooler.dense.bias",
        "pooler.dense.weight",
    ]
    answer = alone(**inputs(), masked_positions=POSITIONS)
    assert_close(answer, ours(**inputs(), masked_positions=POSITIONS).mlm, rtol=0, atol=0)


# --- The tie ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", [BertForPreTraining, BertForMaskedLM])
def test_the_decoder_is_the_token_embedding(architecture: type[BertForPreTraining | BertForMaskedLM]) -> None:
    model = architecture(TINY)
    assert model.mlm_head.decoder.weight is model.encoder.embeddings.token.weight
    names = [name for name, _ in model.named_parameters()]
    assert "encoder.embeddings.token.weight" in names
    assert "mlm_head.decoder.weight" not in names
    assert "mlm_head.decoder.bias" in names


def test_the_gradient_comes_from_both_uses_of_the_tied_matrix() -> None:
    model = BertForMaskedLM(TINY, generator=seeded(1)).double().eval()
    weight = model.encoder.embeddings.token.weight
    input_ids = torch.tensor([[5, 6, 7, 6]])
    positions = torch.tensor([1])

    def gradient(answer: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(answer.log_softmax(-1)[0, 9], weight)
        return found

    both = gradient(model(input_ids, masked_positions=positions))
    as_output = gradient(model.mlm_head(model.encoder(input_ids)[0, positions].detach()))
    assert bool((as_output.abs().amax(dim=1) > 0).all())  # every token competes in the softmax
    as_input = (both - as_output).abs().amax(dim=1)
    assert (as_input > 1e-12).nonzero().flatten().tolist() == [5, 6, 7]


@pytest.mark.parametrize("architecture", [BertForPreTraining, BertForMaskedLM])
def test_tying_keeps_the_embeddings_fresh_weights(architecture: type[BertForPreTraining | BertForMaskedLM]) -> None:
    weight = architecture(TINY, generator=seeded(1)).encoder.embeddings.token.weight.detach()
    assert_close(weight[0], torch.zeros(TINY.hidden_size), rtol=0, atol=0)  # the padding token's row
    assert float(weight[1:].std()) == pytest.approx(0.02, rel=0.1)


def test_fresh_heads_have_the_papers_weights() -> None:
    wide = TINY.replace(hidden_size=240)
    model = BertForPreTraining(wide, generator=seeded(1))
    for matrix in (model.pooler.dense.weight, model.mlm_head.dense.weight):
        assert float(matrix.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert float(model.nsp_head.weight.detach().std()) == pytest.approx(0.02, rel=0.15)  # 480 numbers only
    for vector in (
        model.pooler.dense.bias,
        model.mlm_head.dense.bias,
        model.mlm_head.decoder.bias,
        model.nsp_head.bias,
    ):
        assert_close(vector.detach(), torch.zeros_like(vector), rtol=0, atol=0)
    assert_close(model.mlm_head.norm.weight.detach(), torch.ones(240), rtol=0, atol=0)


def test_the_generator_alone_decides_a_models_weights() -> None:
    torch.manual_seed(1)
    one = BertForPreTraining(TINY, generator=seeded(5)).state_dict()
    torch.manual_seed(2)
    assert_close(BertForPreTraining(TINY, generator=seeded(5)).state_dict(), one, rtol=0, atol=0)


# --- Chosen positions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", [BertForPreTraining, BertForMaskedLM])
def test_answers_stand_in_the_order_of_their_positions(
    architecture: type[BertForPreTraining | BertForMaskedLM],
) -> None:
    model = architecture(TINY, generator=seeded(1)).double().eval()

    def answer(positions: list[int]) -> Tensor:
        found = model(**inputs(), masked_positions=torch.tensor(positions))
        return found if isinstance(found, Tensor) else found.mlm

    assert_close(answer([14, 0, 3]), torch.cat([answer([14]), answer([0]), answer([3])]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", ["BertForPreTraining", "BertForMaskedLM"])
def test_a_mask_is_no_list_of_positions(architecture: str) -> None:
    given = inputs()
    mask = torch.zeros(given["input_ids"].numel(), dtype=torch.bool)
    message = refusal(lambda: tiny_model(architecture)(**given, masked_positions=mask))
    assert message == "positions must be int64 or int32, not torch.bool"


@pytest.mark.parametrize("architecture", ["BertForNextSentencePrediction", "BertForSequenceClassification"])
def test_one_sequence_without_a_batch_is_refused(architecture: str) -> None:
    message = refusal(lambda: tiny_model(architecture)(torch.tensor([5, 6, 7])))
    assert message == "input_ids must have the shape (B, T), not (3,)"


def test_the_head_sees_the_chosen_positions_alone(ours: BertForPreTraining) -> None:
    seen: list[Tensor] = []
    handle = ours.mlm_head.register_forward_pre_hook(lambda _module, args: seen.append(args[0]))
    answer = ours(**inputs(), masked_positions=POSITIONS)
    handle.remove()
    assert [tuple(chosen.shape) for chosen in seen] == [(5, 24)]
    assert tuple(answer.mlm.shape) == (5, 40)
    assert tuple(answer.nsp.shape) == (3, 2)


def test_no_chosen_position_is_an_empty_answer(ours: BertForPreTraining) -> None:
    none = torch.empty(0, dtype=torch.long)
    assert tuple(ours(**inputs(), masked_positions=none).mlm.shape) == (0, 40)


def test_the_pooler_reads_the_first_token_alone() -> None:
    pooler = Pooler(TINY)
    hidden = torch.randn(2, 4, 24, generator=seeded(1))
    changed = hidden.clone()
    changed[:, 1:] = 0
    assert_close(pooler(changed), pooler(hidden), rtol=0, atol=0)
    changed[:, 0] = 0
    assert not torch.equal(pooler(changed), pooler(hidden))


# --- Tasks -----------------------------------------------------------------------------------------------------------

# That their numbers are the reference's is tested in tests/weights_convert/test_convert.py.


@pytest.mark.parametrize(
    ("architecture", "shape"),
    [
        ("Bert", (3, 11, 24)),
        ("BertForNextSentencePrediction", (3, 2)),
        ("BertForSequenceClassification", (3, 3)),
        ("BertForTokenClassification", (3, 11, 4)),
    ],
)
def test_a_model_answers_in_one_shape(architecture: str, shape: tuple[int, ...]) -> None:
    model = tiny_model(architecture)
    assert tuple(model(**inputs()).shape) == shape
    assert tuple(model(inputs()["input_ids"]).shape) == shape


def test_a_pooled_encoder_answers_hidden_states_and_their_pooled_first() -> None:
    model = tiny_model("BertWithPooler")
    hidden, pooled = model(**inputs())
    assert_close(hidden, model.encoder(**inputs()), rtol=0, atol=0)
    assert_close(pooled, model.pooler(hidden), rtol=0, atol=0)
    assert tuple(pooled.shape) == (3, 24)


def test_spans_are_two_scores_a_token() -> None:
    model = tiny_model("BertForQuestionAnswering")
    start, end = model(**inputs())
    scores = model.span_head(model.encoder(**inputs()))
    assert_close(torch.stack([start, end], dim=-1), scores, rtol=0, atol=0)
    assert tuple(start.shape) == tuple(end.shape) == (3, 11)


def choices() -> dict[str, Tensor]:
    """The ragged batch as one text's first choice, second and third; and a second text with the same in reverse."""
    return {name: torch.stack([tensor, tensor.flip(0)]) for name, tensor in inputs().items()}


def test_choices_are_scored_one_by_one() -> None:
    model = tiny_model("BertForMultipleChoice")
    scores = model(**choices())
    assert tuple(scores.shape) == (2, 3)
    assert_close(scores[1], scores[0].flip(0))
    alone = model.classifier(model.pooler(model.encoder(**inputs()))).flatten()
    assert_close(scores[0], alone)
    plain = model(choices()["input_ids"])
    assert_close(plain, model(choices()["input_ids"], token_type_ids=torch.zeros(2, 3, 11, dtype=torch.int64)))


def test_choices_of_another_shape_are_refused() -> None:
    model = tiny_model("BertForMultipleChoice")
    ids = choices()["input_ids"]
    assert refusal(lambda: model(ids[0])) == "input_ids must have the shape (B, C, T), not (3, 11)"
    assert refusal(lambda: model(ids, token_type_ids=ids.transpose(0, 1))) == (
        "token_type_ids has the shape (3, 2, 11), input_ids (2, 3, 11)"
    )
    assert refusal(lambda: model(ids, attention_mask=ids[0].bool())) == (
        "attention_mask has the shape (3, 11), input_ids (2, 3, 11)"
    )


def test_heads_that_do_not_pool_have_no_pooler() -> None:
    pooled = sorted(name for name in ARCHITECTURES if hasattr(tiny_model(name), "pooler"))
    assert pooled == [
        "BertForMultipleChoice",
        "BertForNextSentencePrediction",
        "BertForPreTraining",
        "BertForSequenceClassification",
        "BertWithPooler",
    ]


def test_a_classifier_drops_what_it_is_told_to() -> None:
    classifiers = ("BertForSequenceClassification", "BertForTokenClassification", "BertForMultipleChoice")

    def shares(dropout: float | None) -> list[float]:
        config = TINY.replace(hidden_dropout_prob=0.4, classifier_dropout=dropout)
        return [ARCHITECTURES[name](config, **HEADS.get(name, {})).classifier.dropout.p for name in classifiers]

    assert shares(None) == [0.4, 0.4, 0.4]
    assert shares(0.25) == [0.25, 0.25, 0.25]
    assert shares(0) == [0, 0, 0]


def test_a_classifier_drops_in_training_alone() -> None:
    classifier = Classifier(TINY.replace(classifier_dropout=0.5), 2)
    x = torch.ones(1, 24)
    assert not torch.equal(classifier(x), classifier(x))
    assert_close(classifier.eval()(x), classifier.dense(x), rtol=0, atol=0)


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_every_class_draws_all_its_weights_from_the_generator(architecture: str) -> None:
    torch.manual_seed(1)
    one = tiny_model(architecture).state_dict()
    torch.manual_seed(2)
    assert_close(tiny_model(architecture).state_dict(), one, rtol=0, atol=0)
    biases = [tensor for name, tensor in one.items() if name.endswith("bias")]
    assert all(bool((bias == 0).all()) for bias in biases)


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_every_class_has_its_encoder(architecture: str) -> None:
    model = tiny_model(architecture)
    assert isinstance(model.encoder, Bert)
    assert tuple(model.encoder(**inputs()).shape) == (3, 11, 24)


def test_the_architectures_are_those_that_a_directory_may_name() -> None:
    assert sorted(ARCHITECTURES) == [
        "Bert",
        "BertForMaskedLM",
        "BertForMultipleChoice",
        "BertForNextSentencePrediction",
        "BertForPreTraining",
        "BertForQuestionAnswering",
        "BertForSequenceClassification",
        "BertForTokenClassification",
        "BertWithPooler",
    ]
