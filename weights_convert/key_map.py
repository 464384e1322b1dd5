"""From Hugging Face's keys to minibert's parameters and back, by the tables of `weights_convert.families`.

The map is total both ways. Every key of a file is mapped, repeats another key's numbers, or is dropped with a reason;
any other key is an error. Every parameter is filled exactly once, or drawn afresh if that was asked for.

A "key" is a name in the reference, a "parameter" one in minibert, always as in a model with heads (`bert.…`,
`encoder.…`). A block that all layers share has the names of the first.
"""

import copy
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from minibert.checkpoint import listed
from minibert.config import BertConfig
from minibert.errors import InputError, plural
from minibert.heads import Model
from minibert.model import initialize
from minibert.verification.names import parameters_of
from weights_convert.families import ENCODERS, Family, Table, family_of


def keys_of(parameter: str, table: Table) -> tuple[str, ...]:
    """Return the keys whose tensors, stacked, are a parameter: three for query, key and value, else one."""
    module, _, leaf = parameter.rpartition(".")
    block = re.search(r"\d+", module)
    theirs = table[re.sub(r"\d+", "{}", module)]
    return tuple(f"{name.format(block[0] if block else '')}.{leaf}" for name in theirs)


@dataclass(frozen=True)
class Ledger:
    """What became of every key of a file, and where every parameter comes from."""

    mapped: dict[str, tuple[str, ...]] = field(default_factory=dict)  # parameter -> the file's keys that fill it
    tied: dict[str, str] = field(default_factory=dict)  # key -> the key whose numbers it repeats
    dropped: dict[str, str] = field(default_factory=dict)  # key -> why
    fresh: list[str] = field(default_factory=list)  # parameters without a key, drawn anew

    def lines(self) -> Iterator[str]:
        """Yield the ledger for people; what is the same in every block is written once."""
        keys = sum(map(len, self.mapped.values()))
        yield f"mapped: {keys} keys to {len(self.mapped)} parameters"
        alike: dict[str, list[str]] = {}  # a parameter with {} for the block's number -> those of all blocks
        for name in self.mapped:
            alike.setdefault(_folded(name), []).append(name)
        for folded, names in alike.items():
            of_blocks = len(names) > 1
            from_keys = (_folded(key) if of_blocks else key for key in self.mapped[names[0]])
            shown, count = (folded, f"   ({len(names)} blocks)") if of_blocks else (names[0], "")
            yield f"  {shown} <- {' | '.join(from_keys)}{count}"
        yield f"tied: {len(self.tied) or 'none'}"
        yield from (f"  {key} is {original}" for key, original in self.tied.items())
        yield f"dropped: {len(self.dropped) or 'none'}"
        yield from (f"  {key}: {reason}" for key, reason in self.dropped.items())
        yield f"newly initialised: {len(self.fresh) or 'none'}"
        yield from (f"  {name}" for name in self.fresh)


def _folded(name: str) -> str:
    return re.sub(r"\.\d+\.", ".{}.", name)


def without_prefix(tensors: Mapping[str, Tensor], family: Family) -> tuple[dict[str, Tensor], str]:
    """Return the tensors without the prefix that a wrapper wrote before every key, and the prefix: `module.` of data
    parallelism, `_orig_mod.` of torch.compile, a user's own name for the model.

    It is removed only if the table then knows every key; otherwise it is "", and nothing changes.
    """
    pieces = [key.split(".") for key in tensors]
    shared = [each[0] for each in itertools.takewhile(lambda each: len(set(each)) == 1, zip(*pieces, strict=False))]
    of_encoder = {_folded(module) for modules in family.table.values() for module in modules}

    def is_known(key: str) -> bool:
        meaning = family.in_table_spelling(key)
        module, _, leaf = meaning.rpartition(".")
        is_weight = leaf in ("weight", "bias") and (_folded(module) in of_encoder or _head_of(meaning, family))
        return bool(is_weight) or meaning in family.dropped

    for length in range(len(shared) + 1):
        prefix = "".join(f"{piece}." for piece in shared[:length])
        stripped = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
        if all(map(is_known, stripped)):
            return stripped, prefix
    return dict(tensors), ""


def match(tensors: Mapping[str, Tensor], model: Model, *, new_head: bool, source: str) -> Ledger:
    """Find the place in `model`, whose parameters may be without memory, of every key of a file.

    With `new_head`, parameters outside the encoder may lack keys; they are listed as fresh.

    Raises InputError if keys are unknown or missing (as many are named as `checkpoint.listed` does), two keys of one
    meaning differ, a decoder is not tied, the number of layers differs, or a shape does (both names and shapes are
    given).
    """
    family, parameters = family_of(model.config), parameters_of(model)
    check_layers(tensors, model.config, family, source)
    spelled, table, tied = family.in_table_spelling, family.names_in(type(model).__name__).table, family.tied
    wanted = {key for name in parameters for key in keys_of(name, table)}
    found: dict[str, str] = {}  # key as the table spells it -> key of the file
    ledger, unknown = Ledger(), []
    for key in sorted(tensors, key=lambda key: (spelled(key) in tied, key)):  # keys that may repeat others come last
        meaning = spelled(key)
        if meaning in family.dropped:
            ledger.dropped[key] = family.dropped[meaning]
        elif meaning in found:
            ledger.tied[key] = found[meaning]
        elif meaning in wanted:
            found[meaning] = key
        elif meaning in tied and "mlm_head.decoder.bias" in parameters:
            ledger.tied[key] = found.get(tied[meaning], tied[meaning])
        elif head := _head_of(meaning, family):
            ledger.dropped[key] = f"{type(model).__name__} has no {head}"
        else:
            unknown.append(key)
    missing = []
    for name in parameters:
        keys = keys_of(name, table)
        absent = [key for key in keys if key not in found]
        if not absent:
            ledger.mapped[name] = tuple(found[key] for key in keys)
        elif new_head and len(absent) == len(keys) and not name.startswith("encoder."):
            ledger.fresh.append(name)
        else:
            missing += absent
    if missing or unknown:
        of_heads = all(_head_of(key, family) for key in missing)
        hint = " (use --new-head to initialise a missing head)" if of_heads else ""
        wrong = [f"missing {listed(missing)}{hint}"] if missing else []
        wrong += [f"unknown {listed(unknown)}"] if unknown else []
        raise InputError(f"{source}: {'; '.join(wrong)}")
    _check_repetitions(tensors, ledger, family, source)
    _check_shapes(tensors, ledger, parameters, source)
    return ledger


def check_layers(tensors: Mapping[str, Tensor], config: BertConfig, family: Family, source: str) -> None:
    """Check the number of layers: one message instead of sixteen missing or unknown keys for every layer.

    Raises InputError if the keys are those of another number of layers than the config's.
    """
    numbers = (re.search(r"(encoder|transformer)\.layer\.(\d+)\.", key) for key in tensors)
    layers = {int(found[2]): found[0].removesuffix(".") for found in numbers if found}
    expected = config.num_hidden_layers
    if layers and max(layers) + 1 != expected:
        raise InputError(
            f"{source}: keys of {plural(max(layers) + 1, 'layer')} ({layers[max(layers)]} is the last), but "
            f"{family.fields.get('num_hidden_layers', 'num_hidden_layers')} is {expected}"
        )


def _head_of(key: str, family: Family) -> str | None:
    """Return minibert's part outside the encoder that a key belongs to in any class of the family, or None."""
    if key in family.tied:
        return "mlm_head"
    module = key.rpartition(".")[0]
    for table in (family.table, *(names.table for names in family.others.values())):
        for ours, theirs in table.items():
            if module in theirs and not ours.startswith("encoder."):
                return ours.split(".")[0]
    return None


def _check_repetitions(tensors: Mapping[str, Tensor], ledger: Ledger, family: Family, source: str) -> None:
    is_decoder = {key: family.in_table_spelling(key) in family.tied for key in ledger.tied}
    for key in sorted(ledger.tied, key=lambda key: not is_decoder[key]):  # it says more than a bias of its own
        original = ledger.tied[key]
        if tensors[key].dtype != tensors[original].dtype or not torch.equal(tensors[key], tensors[original]):
            untied = "an untied decoder (tie_word_embeddings is false), which minibert does not support"
            problem = untied if is_decoder[key] else "one parameter, two values"
            raise InputError(f"{source}: {key} differs from {original}: {problem}")


def _check_shapes(
    tensors: Mapping[str, Tensor], ledger: Ledger, parameters: Mapping[str, nn.Parameter], source: str
) -> None:
    for name, keys in ledger.mapped.items():
        rows, *others = parameters[name].shape
        expected = (rows // len(keys), *others)
        for key in keys:
            if tuple(tensors[key].shape) != expected:
                part = f"each of the {len(keys)} parts of " if len(keys) > 1 else ""
                raise InputError(f"{source}: {key} is {tuple(tensors[key].shape)}, but {part}{name} is {expected}")
        if len({tensors[key].dtype for key in keys}) > 1:
            raise InputError(f"{source}: {', '.join(keys)} differ in type, but {name} has one type")


def to_parameters(
    tensors: Mapping[str, Tensor], ledger: Ledger, model: Model, generator: torch.Generator | None
) -> dict[str, Tensor]:
    """Return the parameters of `model` by name, as the ledger says; fresh ones are drawn from `generator`."""
    filled = {
        name: torch.cat([tensors[key] for key in keys]) if len(keys) > 1 else tensors[keys[0]]
        for name, keys in ledger.mapped.items()
    }
    dtype = next(iter(filled.values())).dtype
    for module in dict.fromkeys(name.rpartition(".")[0] for name in ledger.fresh):
        drawn = copy.deepcopy(model.get_submodule(module)).to_empty(device="cpu")
        initialize(drawn, model.config.initializer_range, generator)
        filled |= {
            f"{module}.{leaf}": parameter.detach().to(dtype)
            for leaf, parameter in drawn.named_parameters()
            if f"{module}.{leaf}" in ledger.fresh
        }
    return {name.removeprefix("encoder.") if model is model.encoder else name: filled[name] for name in filled}


def to_keys(model: Model) -> dict[str, Tensor]:
    """Return every weight of `model` under its key, as the reference's class for it writes them.

    Raises InputError as `weights_convert.families.family_of` does.
    """
    architecture, family = type(model).__name__, family_of(model.config)
    table = family.names_in(architecture).table
    weights = {
        key: part.detach().clone()  # parts of a fused matrix must not share its memory in a file
        for name, parameter in parameters_of(model).items()
        for key, part in zip(keys_of(name, table), parameter.chunk(len(keys_of(name, table))), strict=True)
    }
    if architecture in ENCODERS:  # the reference's class for these writes keys without `bert.`
        return {key.removeprefix(f"{family.model_type}."): tensor for key, tensor in weights.items()}
    return weights
