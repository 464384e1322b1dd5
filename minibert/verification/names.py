"""The names by which two implementations are compared.

A parameter has the name that it has in a model with heads (`encoder.…`), an intermediate that of `minibert.tracing`.
"""

from torch import nn

from minibert.heads import Model

QUERY_KEY_VALUE = ("query", "key", "value")  # the order in which our stacked matrix has them


def parameters_of(model: Model) -> dict[str, nn.Parameter]:
    """The parameters, a tied one once."""
    prefix = "encoder." if model is model.encoder else ""
    return {prefix + name: parameter for name, parameter in model.named_parameters()}


def values_of(module: str) -> tuple[str, ...]:
    """The intermediates that a module of ours makes: three for query, key and value, else the one of its name."""
    name = module.removeprefix("encoder.")
    owner, _, last = name.rpartition(".")
    return tuple(f"{owner}.{part}" for part in QUERY_KEY_VALUE) if last == "query_key_value" else (name,)
