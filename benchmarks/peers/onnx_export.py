"""The export of a Hugging Face directory's encoder as a graph for ONNX Runtime. `benchmarks.encode` runs this module:

python -m benchmarks.peers.onnx_export HF_DIR GRAPH.onnx
"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import AutoModel

from minibert.files.writing import write_whole

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "hidden"
OPSET = 17


class Hidden(nn.Module):
    """The encoder with positional arguments and a tensor as its output."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(model, attn_implementation="eager")

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Compute the hidden states: (B, T) each -> (B, T, H)."""
        found = self.encoder(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        states: Tensor = found.last_hidden_state
        return states


@torch.inference_mode()
def main(model: str, graph: str) -> None:
    """Write the graph, for any number of texts and tokens."""
    ids = torch.zeros(2, 8, dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0  # if nothing were masked, the tracer would leave the mask out
    axes = {name: {0: "texts", 1: "tokens"} for name in (*INPUTS, OUTPUT)}
    encoder = Hidden(model).eval()

    def write(path: Path) -> None:
        torch.onnx.export(
            encoder, (ids, mask, torch.zeros_like(ids)), str(path), input_names=list(INPUTS), output_names=[OUTPUT],
            dynamic_axes=axes, opset_version=OPSET, dynamo=False,
        )  # fmt: skip

    write_whole(Path(graph), write)


if __name__ == "__main__":
    main(*sys.argv[1:])
