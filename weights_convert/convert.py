"""A Hugging Face directory becomes a model directory (`from_hf`), and the way back (`to_hf`)."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save as safetensors_bytes

from minibert import checkpoint
from minibert.config import BertConfig
from minibert.errors import InputError, naming
from minibert.files import writing
from minibert.heads import Model
from minibert.tokenizer import Tokenizer
from minibert.tokenizer.directory import ALL_FILES, CLASSES, GENERIC_CLASSES, NAMED
from minibert.tokenizer.vocabulary import MAX_WORD_CHARS
from weights_convert.config_map import MASKED_LM, Described, read_config, to_fields
from weights_convert.families import Family
from weights_convert.hub import directory_named
from weights_convert.key_map import Ledger, check_layers, match, to_keys, to_parameters, without_prefix
from weights_convert.sentence_files import encoder_directory, read_text_vectors, to_files, used_paths
from weights_convert.weight_files import SAFETENSORS, files_of, find_weights, read_weights


@dataclass(frozen=True)
class Conversion:
    """A Hugging Face directory in our terms, and what became of its parts."""

    model: Model
    tokenizer: Tokenizer
    prefix: str  # taken off every key of the weights
    ledger: Ledger
    left_aside: tuple[str, ...]  # fields of its config.json
    not_used: tuple[str, ...]  # files, and directories with a slash behind them


def from_hf(directory: str | Path, out: str | Path, *, new_head: torch.Generator | None = None) -> Conversion:
    """Writes the model directory `out` from a Hugging Face directory, or a model's name on the hub.

    Weights keep their number format. `new_head` draws those of a head (or pooler) that the directory has none for;
    None: that is an error.

    Raises InputError: as `read_hf`, or `out` is there already; OSError: `out` can't be written; then nothing is left
    behind.
    """
    writing.check_new(out)
    conversion = read_hf(directory, new_head=new_head)
    checkpoint.save(conversion.model, conversion.tokenizer, out)
    return conversion


def read_hf(directory: str | Path, *, new_head: torch.Generator | None = None) -> Conversion:
    """What `from_hf` writes, without writing it; the model is in evaluation mode.

    Raises InputError: not a Hugging Face directory, another kind of model, damaged weights, keys that the map does not
    know or misses, config fields that contradict the weights or the vocabulary, damaged files of sentence-transformers.
    """
    place = directory_named(directory)
    directory = encoder_directory(place)
    described = read_config(directory / "config.json")
    tokenizer = Tokenizer.load(directory)
    with naming(directory / "config.json"):
        checkpoint.check_tokenizer(described.config, tokenizer)
    weights = find_weights(directory)
    tensors, prefix = without_prefix(read_weights(weights), described.family)
    architecture = choose_architecture(described, tensors, source=str(directory))
    check_layers(tensors, described.config, described.family, str(weights))
    with naming(directory / "config.json"):
        config = described.config_in(architecture)
        model = checkpoint.without_memory(architecture, config, described.head(architecture))
    ledger = match(tensors, model, new_head=new_head is not None, source=str(weights))
    checkpoint.assign_weights(model, to_parameters(tensors, ledger, model, new_head), source=str(weights))
    model.encoder.text_vectors = read_text_vectors(place, config, tokenizer)
    used = [directory / name for name in ("config.json", *ALL_FILES)] + files_of(weights) + used_paths(place)
    return Conversion(model.eval(), tokenizer, prefix, ledger, described.left_aside, _others(place, directory, used))


def _others(place: Path, encoder: Path, used: Collection[Path]) -> tuple[str, ...]:
    """What lies in a directory, and in the one within it that is the encoder's, beside what is used."""
    there = {path for directory in (place, encoder) for path in directory.iterdir()} - {encoder, *used}
    return tuple(sorted(f"{path.relative_to(place)}{'/' if path.is_dir() else ''}" for path in there))


def choose_architecture(described: Described, keys: Iterable[str], *, source: str) -> str:
    """The name of our class: of the one that the config names, or else of the one that the weights are those of.

    Raises InputError: the config names none and the weights leave it open, or the decoder's weight is nowhere.
    """
    family = described.family
    modules = {family.in_table_spelling(key).rpartition(".")[0] for key in keys}
    named = described.reference_class
    name = _class_of(modules, family, source) if named is None else family.our_class(named)
    if name in MASKED_LM and not described.tied and family.decoder not in modules:
        raise InputError(f"{source}/config.json: tie_word_embeddings is false, but the weights have no decoder")
    if name is None:
        has_pooler = "BertWithPooler" in family.classes and family.table["pooler.dense"][0] in modules
        return "BertWithPooler" if has_pooler else "Bert"
    return name


def _class_of(modules: set[str], family: Family, source: str) -> str | None:
    """Our class for a directory from before configs named one; None for the plain model."""
    if any(module.split(".")[0] == "classifier" for module in modules):
        raise InputError(f"{source}/config.json: architectures missing, and classifier.weight may be of several")
    needed = {
        "BertForPreTraining": ("pooler.dense", "mlm_head.decoder", "nsp_head"),
        "BertForMaskedLM": ("mlm_head.decoder",),
        "BertForNextSentencePrediction": ("pooler.dense", "nsp_head"),
        "BertForQuestionAnswering": ("span_head",),
    }
    for name, parts in needed.items():
        if name in family.classes and {family.table[part][0] for part in parts} <= modules:
            return name
    return None


def to_hf(directory: str | Path, out: str | Path) -> Model:
    """Writes `out`, which transformers' `from_pretrained` loads, from a model directory; returns its model.

    Raises InputError: not a model directory, a damaged one, a model or a tokenizer that the reference has no class for,
    or `out` is there already; OSError: `out` can't be written; then nothing is left behind.
    """
    writing.check_new(out)
    model, tokenizer = checkpoint.load(directory)
    with naming(directory):
        fields, options = to_fields(model), tokenizer_fields(tokenizer, model.config)
    with writing.written_whole(out) as aside:
        tokenizer.save(aside)
        write_json(aside / "tokenizer_config.json", options)
        content = safetensors_bytes(to_keys(model), metadata={"format": "pt"})  # which the reference asks for
        (aside / SAFETENSORS).write_bytes(content)
        write_json(aside / "config.json", fields)
        for name, steps in to_files(model).items():
            (aside / name).parent.mkdir(exist_ok=True)
            write_json(aside / name, steps)
    return model


def tokenizer_fields(tokenizer: Tokenizer, config: BertConfig) -> dict[str, object]:
    """A `tokenizer_config.json`: the class that does what the tokenizer does, and its options.

    The reference's BertTokenizer takes a word of more than 100 characters for [UNK], and its AlbertTokenizer the token
    of id 1 for <unk>, whatever `tokenizer.json` says; where that says otherwise, the generic class is named, which goes
    by the file.

    Raises InputError: an option that the reference's tokenizer does not have.
    """
    normalization, kind = tokenizer.normalization, tokenizer.kind
    options: dict[str, bool] = {
        "wordpiece": {
            "do_lower_case": normalization.lowercase,
            "strip_accents": normalization.strip_accents,
            "tokenize_chinese_chars": normalization.chinese_chars,
        },
        "bpe": {"add_prefix_space": tokenizer.add_prefix_space},
        "unigram": {"do_lower_case": normalization.lowercase, "keep_accents": not normalization.strip_accents},
    }[kind]
    if kind == "wordpiece" and not normalization.clean_text:
        raise InputError("the tokenizer's clean_text is false; transformers' BertTokenizer always cleans")
    as_file_says = tokenizer.max_word_chars not in (None, MAX_WORD_CHARS) or (
        kind == "unigram" and tokenizer.unk_id != 1
    )
    # A model of fewer than two segments has no row for a B, whatever its tokenizer says.
    segments = ["token_type_ids"] if tokenizer.second_segment and config.type_vocab_size > 1 else []
    return {
        "tokenizer_class": GENERIC_CLASSES[0] if as_file_says else CLASSES[kind][0],
        "model_input_names": ["input_ids", *segments, "attention_mask"],
        **options,
        "model_max_length": config.longest,
        **dict(zip(NAMED, tokenizer.special_tokens, strict=True)),
    }


def write_json(path: Path, content: object) -> None:
    """As people read it."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
