"""What a token's last hidden state is the sum of, and what each part adds to a score computed from it.

    record = minibert.trace(model, batch)
    parts = parts_of_state(model, record, position)            # name -> (H,); they sum to the last block's output
    of_score, remainder = parts_of_score(parts, lambda state: model.mlm_head(state[None])[0, token])

A block only adds and normalises: x ← LayerNorm(x + sublayer(x)). With its σ held at the value that it has in this pass,
LayerNorm is linear but for its bias, γ ⊙ (z − mean(z)) / σ + β. So whatever was ever added to the residual stream is
still there at the end, multiplied by every LayerNorm on the way, and so are the biases (Mickus et al. 2022, "How to
Dissect a Muppet", arXiv 2206.03529). A score is linear in the state only to first order: what that misses is said.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from minibert.heads import Model
from minibert.model import Bert, Block

Parts = dict[str, Tensor]  # name -> (H,), in the order in which they are added


@torch.no_grad()
def parts_of_state(model: Model, record: Mapping[str, Tensor], position: int, *, row: int = 0) -> Parts:
    """Return the parts of the last block's output for one token, which sum to it within rounding.

    record: of `minibert.trace`; row: of the batch.

    embeddings.token, .position, .segment, .norm.bias     (.segment, .projection.bias: in models that have them)
    blocks.{}.attention.head.{}, .attention.output.bias, .attention_norm.bias
    blocks.{}.feed_forward, .feed_forward.output.bias, .feed_forward_norm.bias

    A head's part has its values' biases in it. The feed-forward sublayer is one part, as its activation is not linear.
    """
    encoder: Bert = model.encoder
    embeddings = encoder.embeddings

    def here(name: str) -> Tensor:
        tensor = record[name]
        return tensor[position] if tensor.ndim == 2 else tensor[row, ..., position, :]  # (H,), or of heads (N, D)

    names = [f"embeddings.{name}" for name in ("token", "position", "segment") if f"embeddings.{name}" in record]
    parts = normalized(torch.stack([here(name) for name in names]), embeddings.norm)  # (P, E), of so many names
    names.append("embeddings.norm.bias")
    if (projection := embeddings.projection) is not None:
        parts = torch.cat([F.linear(parts, projection.weight), projection.bias[None]])
        names.append("embeddings.projection.bias")
    for layer, block in enumerate(encoder.blocks):
        assert isinstance(block, Block)
        name = f"blocks.{layer}"
        output = block.attention.output
        context = here(f"{name}.attention.context")  # (N, D)
        of_heads = torch.einsum("nd,hnd->nh", context, output.weight.unflatten(1, context.shape))  # (N, H)
        parts = normalized(torch.cat([parts, of_heads, output.bias[None]]), block.attention_norm)
        names += [f"{name}.attention.head.{head}" for head in range(len(of_heads))]
        names += [f"{name}.attention.output.bias", f"{name}.attention_norm.bias"]
        output = block.feed_forward.output
        added = F.linear(here(f"{name}.feed_forward.activation"), output.weight)  # (H,)
        parts = normalized(torch.cat([parts, added[None], output.bias[None]]), block.feed_forward_norm)
        names += [f"{name}.{part}" for part in ("feed_forward", "feed_forward.output.bias", "feed_forward_norm.bias")]
    return dict(zip(names, parts, strict=True))


def normalized(parts: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Return the parts of LayerNorm's output from those of its input, with σ of their sum; its bias is one more:
    (P, H) -> (P + 1, H)
    """
    deviation = (parts.sum(0).var(unbiased=False) + norm.eps).sqrt()
    return torch.cat([norm.weight * (parts - parts.mean(1, keepdim=True)) / deviation, norm.bias[None]])


def sum_of(parts: Parts) -> Tensor:
    """Return the sum of the parts, (H,)."""
    return torch.stack(list(parts.values())).sum(0)


def parts_of_score(parts: Parts, score: Callable[[Tensor], Tensor]) -> tuple[dict[str, float], float]:
    """Return what each part adds to a score of the state, to first order, and what is then missing from the score.

    score: the state, (H,) -> a single number. With its gradient g at the state, a part p adds g·p; the remainder is the
    score less g·state.
    """
    with torch.enable_grad():
        state = sum_of(parts).detach().requires_grad_()
        value = score(state)
        (gradient,) = torch.autograd.grad(value, state)
    state, value = state.detach(), value.detach()
    added = torch.stack(list(parts.values())) @ gradient  # (P,)
    return dict(zip(parts, added.tolist(), strict=True)), (value - state @ gradient).item()
