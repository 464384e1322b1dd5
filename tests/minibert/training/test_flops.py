"""Operations are counted by hand; what a device does at best is measured."""

from __future__ import annotations

from dataclasses import replace

import torch

from minibert.config import BertConfig
from minibert.training.flops import encoder_operations, measured_peak, training_operations

# H 2, F 3, one layer: four products of 2 x 2 and two of 2 x 3 a token, two operations each.
CONFIG = BertConfig(
    vocab_size=5, hidden_size=2, num_hidden_layers=1, num_attention_heads=1, intermediate_size=3,
    max_position_embeddings=4,
)  # fmt: skip
A_TOKEN = 56
THREE_TOKENS = 3 * A_TOKEN + 72  # with scores and their weighted sum: twice 3 x 3 x 2 x 2


def test_operations_are_those_of_the_products() -> None:
    assert encoder_operations(CONFIG, [3]) == THREE_TOKENS
    assert encoder_operations(CONFIG, [3, 3]) == 2 * THREE_TOKENS
    assert encoder_operations(replace(CONFIG, num_hidden_layers=2), [3]) == 2 * THREE_TOKENS


def test_narrow_embeddings_are_made_as_wide_as_the_blocks() -> None:
    """ALBERT's projection of 1 x 2: four operations a token, once, however many layers there are."""
    narrow = replace(CONFIG, embedding_size=1, num_hidden_layers=2)
    assert encoder_operations(narrow, [3]) == 3 * 4 + 2 * THREE_TOKENS


def test_a_window_bounds_what_a_token_attends_to() -> None:
    """Six tokens, each with two or three keys of a window of two: counted as three keys."""
    windowed = replace(CONFIG, attention_window=(2,), max_position_embeddings=6)
    assert encoder_operations(windowed, [6]) == 6 * A_TOKEN + 6 * 3 * 8
    assert encoder_operations(windowed, [2]) == 2 * A_TOKEN + 2 * 2 * 8


def test_training_has_the_head_at_the_masked_positions_and_the_way_back() -> None:
    """The head: 2 x 2, then 2 x 5; with narrow embeddings 2 x 1, then 1 x 5."""
    assert training_operations(CONFIG, [3], masked=0) == 3 * THREE_TOKENS
    assert training_operations(CONFIG, [3], masked=2) == 3 * (THREE_TOKENS + 2 * 28)
    narrow = replace(CONFIG, embedding_size=1)
    assert training_operations(narrow, [3], masked=2) == 3 * (12 + THREE_TOKENS + 2 * 14)


def test_what_the_processor_multiplies_at_best_is_measured() -> None:
    assert 1e5 < measured_peak(torch.float32, torch.device("cpu"), size=64) < 1e14
