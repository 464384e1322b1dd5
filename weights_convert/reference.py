"""The reference, transformers: loaded from a directory and run on a sample, in minibert's names and shapes.

transformers is imported only here, inside the function that loads it.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from minibert.errors import InputError
from minibert.heads import BertWithPooler, Model
from minibert.model import Bert
from minibert.tracing import Call, watched
from minibert.training.room import out_of_memory
from minibert.verification.names import stacked_part
from minibert.verification.runs import Run, finished
from minibert.verification.samples import Sample, encoder_loss
from minibert.windowed import GLOBAL
from weights_convert.config_map import described_config
from weights_convert.families import ENCODERS, FAMILIES, Family, Names
from weights_convert.key_map import keys_of
from weights_convert.windowed_values import in_our_shape, undivided

ReferenceModel = Any  # a transformers model: a torch module with a config


def load_reference(directory: Path, family: Family, model: Model, dtype: torch.dtype) -> ReferenceModel:
    """Load the reference's class for `model`, in evaluation mode and with its attention written out, so that it shows
    its probabilities. An encoder has a pooler if the directory has weights for one.

    Raises InputError if transformers is not installed, can't load the directory, or doesn't find all weights there.
    """
    try:
        import transformers
    except ImportError:
        raise InputError("verify needs transformers, the reference; run make venv in minibert's checkout") from None
    reference_class = getattr(transformers, family.reference_class(type(model).__name__))
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    options = {"dtype": dtype, "attn_implementation": "eager", "local_files_only": True, "output_loading_info": True}
    try:
        reference, loading = reference_class.from_pretrained(directory, **options)
        is_encoder, missing = type(model).__name__ in ENCODERS, sorted(loading["missing_keys"])
        if is_encoder and missing and all(key.startswith("pooler.") for key in missing):
            reference, loading = reference_class.from_pretrained(directory, **options, add_pooling_layer=False)
            missing = sorted(loading["missing_keys"])
    except Exception as error:  # of any type: transformers decides what it accepts
        if ending := out_of_memory(error):
            raise ending from error
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{directory}: the reference cannot load it ({reason})") from error
    finally:
        transformers.logging.set_verbosity(verbosity)
        transformers.logging.enable_progress_bar()
    if missing:
        raise InputError(f"{directory}: the reference cannot find {', '.join(missing)}")
    return reference.eval()


class SoftmaxInFull(TorchFunctionMode):
    """Has softmax of float64 numbers computed in float64: the reference's Longformer asks for float32 in any format."""

    def __torch_function__(self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is F.softmax and args[0].dtype == torch.float64:
            kwargs = kwargs | {"dtype": None}
        return function(*args, **kwargs)


def run_reference(reference: ReferenceModel, model: Model, sample: Sample) -> Run:
    """Run the reference's model for `model`, which must be in evaluation mode with its attention written out."""
    reference.zero_grad()
    with watched(reference) as calls:
        loss = reference_loss(reference, model, sample)
    family, config = FAMILIES[reference.config.model_type], described_config(reference.config)
    places = _places(family.names_in(type(model).__name__))
    values: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}
    for call in calls:
        module = family.in_table_spelling(f"{call.name}.").removesuffix(".")
        block: str | int = call.number  # the layer, if all share one block
        if module not in places and (number := re.search(r"(?<=\.)\d+\b", module)):
            module, block = module[: number.start()] + "{}" + module[number.end() :], number[0]
        for pattern, part in places.get(module, ()):
            name = pattern.format(block)
            value = _part(call, part)
            if value is None:
                continue
            if part == "output" and call.inputs:
                given[name] = call.inputs[0]
            if config.attention_window is not None:
                value = undivided(name, in_our_shape(name, value, sample), config)
                given |= {name: in_our_shape(name, given[name], sample)} if name in given else {}
            if stacked_part(name) or name.endswith("context"):  # minibert's (B, N, T, D), the reference's (B, T, H)
                value = value.unflatten(-1, (config.num_attention_heads, -1)).transpose(1, 2)
            values[name] = value
    parameters = reference_parameters(reference, model)
    return finished(config, _probabilities_first(values), given, loss, parameters)


def _places(names: Names) -> dict[str, list[tuple[str, str | int]]]:
    """Return, for each module of the reference, minibert's intermediates in its calls, and where; inputs come first."""
    places: dict[str, list[tuple[str, str | int]]] = {}
    for name, (module, part) in sorted(names.places.items(), key=lambda entry: entry[1][1] != "input"):
        places.setdefault(module, []).append((name, part))
    return places


def _part(call: Call, part: str | int) -> Tensor | None:
    """Return an input or output of a call; None for the last one that a Longformer has only if tokens are global."""
    if part == "input":
        return call.inputs[0]
    if isinstance(part, int):
        return call.output[part] if part < len(call.output) else None
    return call.output


def _probabilities_first(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the values with each attention's probabilities before its context: modules return them at the end."""
    ordered: dict[str, Tensor] = {}
    for name in values:
        probabilities = f"{name.removesuffix('context')}probabilities"
        if name.endswith(".context") and probabilities in values:
            ordered[probabilities] = values[probabilities]
        ordered[name] = values[name]
    return ordered


def reference_loss(reference: ReferenceModel, model: Model, sample: Sample) -> Tensor:
    """Return the loss that the reference's own class computes; for an encoder, which has none, `encoder_loss`."""
    with SoftmaxInFull():
        return _reference_loss(reference, model, sample)


def _reference_loss(reference: ReferenceModel, model: Model, sample: Sample) -> Tensor:
    arguments: dict[str, Any] = dict(sample.arguments(model))
    targets, family = dict(sample.targets), FAMILIES[reference.config.model_type]
    if "encoder.embeddings.segment" not in family.table:
        del arguments["token_type_ids"]
    if family.pair_objective == "sop" and "next_sentence_label" in targets:
        targets["sentence_order_label"] = targets.pop("next_sentence_label")
    if (mask := arguments["attention_mask"]) is not None and sample.global_tokens is not None:
        arguments["attention_mask"] = (mask > 0).long()
        if sample.layout.global_tokens is not None:
            arguments["global_attention_mask"] = (mask == GLOBAL).long()
    if sample.global_tokens is not None:
        arguments["output_attentions"] = True  # else its modules don't return them
    if isinstance(model, Bert | BertWithPooler):
        output = reference(**arguments)
        pooled = output.pooler_output if isinstance(model, BertWithPooler) else None
        return encoder_loss(output.last_hidden_state, pooled, sample)
    return reference(**arguments, **targets).loss


def reference_parameters(reference: ReferenceModel, model: Model) -> dict[str, list[nn.Parameter]]:
    """Return each parameter of the reference by minibert's name: one, or several that minibert stacks into one.

    A decoder's weight is among them only if it is not tied to the token embeddings.
    """
    family = FAMILIES[reference.config.model_type]
    table = family.names_in(type(model).__name__).table
    theirs = {family.in_table_spelling(key): parameter for key, parameter in reference.named_parameters()}
    found = {}
    for pattern in table:
        for block in range(reference.config.num_hidden_layers if "{}" in table[pattern][0] else 1):
            for leaf in ("weight", "bias"):
                name = f"{pattern.format(block)}.{leaf}"
                keys = keys_of(name, table)
                if all(key in theirs for key in keys):
                    found[name] = [theirs[key] for key in keys]
    for key in family.tied.keys() & theirs.keys():
        found["mlm_head.decoder.weight"] = [theirs[key]]
    return found
