"""The names under which two implementations are compared.

A parameter has its name in a model with heads (`encoder.…`), an intermediate its name in `minibert.tracing`.
"""

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
    owner, _, last = name.rpartition(".")
    return tuple(f"{owner}.{part}" for part in QUERY_KEY_VALUE) if last == "query_key_value" else (name,)
