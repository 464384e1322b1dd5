"""The names under which two implementations are compared.

A parameter has its name in a model with heads (`encoder.…`), an intermediate its name in `minibert.tracing`.
"""

import re

from torch import nn

from minibert.heads import Model

QUERY_KEY_VALUE = ("query", "key", "value")  # their order in minibert's stacked matrix


def parameters_of(model: Model) -> dict[str, nn.Parameter]:
    """Return the parameters by name, a tied one once."""
    prefix = "encoder." if model is model.encoder else ""
    return {prefix + name: parameter for name, parameter in model.named_parameters()}


def values_of(module: str) -> tuple[str, ...]:
    """Return the names of the values that a module of minibert computes: query, key and value, or its own name."""
    name = module.removeprefix("encoder.")
    if name.endswith("query_key_value"):
        return tuple(name.removesuffix("query_key_value") + part for part in QUERY_KEY_VALUE)
    return (name,)


def stacked_part(value: str) -> tuple[str, int] | None:
    """Return the module that computes a query, key or value, and its place there; None for another value.

    "blocks.0.attention.global_key" -> ("blocks.0.attention.global_query_key_value", 1)
    """
    found = re.fullmatch(r"(.*\.(?:global_)?)(query|key|value)", value)
    return found and (f"{found[1]}query_key_value", QUERY_KEY_VALUE.index(found[2]))
