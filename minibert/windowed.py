"""Longformer's attention: most tokens attend to a window around them, a few to all tokens and all to them.

Beltagy et al. 2020, "Longformer: The Long-Document Transformer" (arXiv 2004.05150), section 3 and figure 2. Here the
picture of who may attend to whom is written out, T × T; `minibert.fast.windowed` computes only the band of it that is
not empty. Shapes: see `minibert.model`; w is the window: w/2 tokens on each side.
"""

import torch
from torch import Tensor, nn

from minibert.config import BertConfig
from minibert.model import DotProductAttention, SelfAttention, visible_keys

PADDING, LOCAL, GLOBAL = 0, 1, 2  # the values of a mask: what a token is


class WindowedSelfAttention(SelfAttention):
    """Attention over a window, and over all tokens for the global ones, which have projections of their own
    (section 3.1, "Global Attention" and "Linear Projections for Global Attention").
    """

    def __init__(self, config: BertConfig, window: int) -> None:
        super().__init__(config)
        self.global_query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.global_dot_product = DotProductAttention(config.attention_probs_dropout_prob)
        self.window = window

    def context(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, H), (B, T) of PADDING, LOCAL and GLOBAL -> (B, T, H); 0 at padding, as in the reference."""
        assert mask is not None
        query, key, value = map(self.split_heads, self.query_key_value(x).chunk(3, dim=-1))
        context = self.dot_product(query, key, value, picture(mask, self.window))  # (B, N, T, D)
        is_global = mask == GLOBAL
        if is_global.any():  # if none is, their projections take no part, and get no gradient
            query, key, value = map(self.split_heads, self.global_query_key_value(x).chunk(3, dim=-1))
            of_global = self.global_dot_product(query, key, value, visible_keys(mask != PADDING))
            context = torch.where(is_global[:, None, :, None], of_global, context)
        return self.merge_heads(context.masked_fill((mask == PADDING)[:, None, :, None], 0))


def picture(mask: Tensor, window: int) -> Tensor:
    """Return which keys a token that is not global attends to: (B, T) -> (B, 1, T, T) bool, row: query, column: key.

    It is the band of figure 2b with the columns of 2d. Padding attends to itself, so that softmax has something to sum
    over.
    """
    places = torch.arange(mask.size(1), device=mask.device)
    near = (places[:, None] - places).abs() <= window // 2  # (T, T)
    seen = (near | (mask == GLOBAL)[:, None, :]) & (mask != PADDING)[:, None, :]  # (B, T, T)
    return (seen | torch.eye(len(places), dtype=torch.bool, device=mask.device))[:, None]


def with_global(attention_mask: Tensor | None, is_global: Tensor) -> Tensor:
    """Mark global tokens: (B, T) bool, True at real tokens, or None; (B, T) bool -> (B, T) int8"""
    marked = torch.where(is_global, GLOBAL, LOCAL).to(torch.int8)
    return marked if attention_mask is None else marked * attention_mask


def is_first(input_ids: Tensor) -> Tensor:
    """Return where [CLS] is: (B, T) -> (B, T) bool"""
    return (torch.arange(input_ids.size(1), device=input_ids.device) == 0).expand_as(input_ids)


def question(input_ids: Tensor, sep_token_id: int) -> Tensor:
    """Return the tokens before the first separator, (B, T) -> (B, T) bool; none in a row without a separator."""
    is_separator = input_ids == sep_token_id
    return (is_separator.cumsum(1) == 0) & is_separator.any(dim=1, keepdim=True)


def after_question(input_ids: Tensor, sep_token_id: int) -> Tensor:
    """Return the tokens after the separator that follows the question, or after both if it is two: as `question`."""
    is_separator = input_ids == sep_token_id
    seen = is_separator.cumsum(1)
    is_second = is_separator & is_separator.roll(1, dims=1) & (seen == 2)
    return (seen - is_separator.long() >= 1) & ~is_second
