"""The first weights of the `fast` recipe."""

import math

import numpy as np
import pytest
import torch

from minibert.config import BertConfig
from minibert.heads import BertForMaskedLM
from pretrain.initial import begin_at_neighbours, sinusoids

CONFIG = BertConfig(
    vocab_size=50, hidden_size=128, num_hidden_layers=3, num_attention_heads=2, intermediate_size=256,
    max_position_embeddings=64, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
# Sentences of the form 10 A 11 B, where A is 1, 2 or 3, and B is 4, 5 or 6.
RNG = np.random.default_rng(0)
TOKENS = np.array([token for _ in range(500) for token in (10, RNG.integers(1, 4), 11, RNG.integers(4, 7))])


def begun() -> BertForMaskedLM:
    generator = torch.Generator().manual_seed(0)
    model = BertForMaskedLM(CONFIG, generator=generator)
    begin_at_neighbours(model, TOKENS, np.array([3, 0, 7] + [10] * 37), generator=generator)
    return model.eval()


def test_the_bias_is_the_log_frequency() -> None:
    bias = begun().mlm_head.decoder.bias
    total = 3 + 0 + 7 + 37 * 10 + 50  # one more for each of the 50 tokens, also the ten that have no count
    expected = [math.log(4 / total), math.log(1 / total), math.log(8 / total), math.log(11 / total)]
    torch.testing.assert_close(bias[:4], torch.tensor(expected))
    assert bias[49].item() == pytest.approx(math.log(1 / total))


def test_tokens_with_like_neighbours_begin_alike_and_others_as_drawn() -> None:
    drawn = BertForMaskedLM(CONFIG, generator=torch.Generator().manual_seed(0)).encoder.embeddings.token.weight
    embeddings = begun().encoder.embeddings.token.weight
    assert torch.cosine_similarity(embeddings[1], embeddings[2], dim=0) > 0.7
    assert torch.cosine_similarity(embeddings[1], embeddings[4], dim=0) < 0.3
    torch.testing.assert_close(embeddings[6].norm(), torch.tensor(0.02 * math.sqrt(128)))
    assert torch.equal(embeddings[12:], drawn[12:]) and torch.equal(embeddings[7:10], drawn[7:10])
    assert not embeddings[0].any()  # padding


@pytest.mark.parametrize(("head", "distance"), [(0, -1), (1, 1)])
@torch.no_grad()
def test_a_head_begins_by_looking_at_its_neighbour(head: int, distance: int) -> None:
    model = begun()
    hidden = model.encoder.embeddings(torch.full((1, 64), 5), token_type_ids=torch.zeros(1, 64, dtype=torch.long))
    attention = model.encoder.blocks[0].attention
    query, key, _ = map(attention.split_heads, attention.query_key_value(hidden).chunk(3, -1))
    probabilities = attention.dot_product.probabilities(query, key, None)
    inside = torch.arange(1, 63)
    assert (probabilities[0, head, inside].argmax(-1) == inside + distance).all()
    assert probabilities[0, head, inside, inside + distance].mean() > 0.5


def test_only_the_first_half_of_the_blocks_begins_so() -> None:
    zeros = [(block.attention.query_key_value.weight == 0).any().item() for block in begun().encoder.blocks]
    assert zeros == [True, True, False]


def test_sinusoids_of_two_frequencies() -> None:
    expected = torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 0.0, -1.0]])
    torch.testing.assert_close(sinusoids(2, torch.tensor([math.pi / 2, math.pi])), expected, atol=1e-6, rtol=0)


def test_the_same_generator_gives_the_same_weights() -> None:
    first, second = begun().state_dict(), begun().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
