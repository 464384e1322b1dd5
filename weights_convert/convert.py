"""Conversion of a Hugging Face directory to a model directory (`from_hf`), and back (`to_hf`)."""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
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
from weights_convert.card import CARD, CardHead, model_card
from weights_convert.config_map import MASKED_LM, Described, read_config, to_fields
from weights_convert.families import Family
from weights_convert.hub import directory_named
from weights_convert.key_map import Ledger, check_layers, match, to_keys, to_parameters, without_prefix
from weights_convert.sentence_files import encoder_directory, read_text_vectors, to_files, used_paths
from weights_convert.weight_files import SAFETENSORS, files_of, find_weights, read_weights


@dataclass(frozen=True)
class Conversion:
    """A converted Hugging Face directory, and what became of its parts."""

    model: Model
    tokenizer: Tokenizer
    prefix: str  # removed from every key of the weights
    ledger: Ledger
    left_aside: tuple[str, ...]  # fields of its config.json
    not_used: tuple[str, ...]  # files, and directories with a slash at the end
    notes: tuple[str, ...] = ()  # where its config.json and its tokenizer differ


def from_hf(directory: str | Path, out: str | Path, *, new_head: torch.Generator | None = None) -> Conversion:
    """Write the model directory `out` from a Hugging Face directory, or from a model's name on the hub.

    Weights keep their number format. `new_head` draws the weights of a head (or pooler) that the directory lacks; None:
    that is an error.

    Raises InputError as `read_hf` does, or if `out` already exists; OSError if `out` can't be written; then nothing is
    left over.
    """
    writing.check_new(out)
    conversion = read_hf(directory, new_head=new_head)
    checkpoint.save(conversion.model, conversion.tokenizer, out)
    return conversion


def read_hf(directory: str | Path, *, new_head: torch.Generator | None = None) -> Conversion:
    """Return what `from_hf` writes, without writing it; the model is in evaluation mode.

    Raises InputError if it is not a Hugging Face directory or is of another kind of model, a file is damaged, keys are
    unknown or missing, or config fields contradict the weights or the vocabulary.
    """
    place = directory_named(directory)
    directory = encoder_directory(place)
    described = read_config(directory / "config.json")
    tokenizer = Tokenizer.load(directory)
    described, notes = beside_tokenizer(described, tokenizer)
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
    not_used = _others(place, directory, used)
    return Conversion(model.eval(), tokenizer, prefix, ledger, described.left_aside, not_used, notes)


def beside_tokenizer(described: Described, tokenizer: Tokenizer) -> tuple[Described, tuple[str, ...]]:
    """Return a config as it is used beside this tokenizer, and what a user should know of it.

    A Longformer with a BERT's vocabulary may have the ids of RoBERTa's special tokens in its config (Lawformer). Its
    positions follow the config, as they did in training; its separator is the tokenizer's, or no text would have one.
    """
    config, notes = described.config, []
    if config.attention_window is None:
        return described, ()
    special = tokenizer.special_tokens
    if config.pad_token_id != tokenizer.pad_id:
        notes.append(
            f"pad_token_id is {config.pad_token_id}, but the tokenizer's {special.pad} is {tokenizer.pad_id}: as in "
            f"transformers, padding takes positions, and only token {config.pad_token_id} takes none"
        )
    if config.sep_token_id not in (None, tokenizer.sep_id):
        notes.append(
            f"sep_token_id is {config.sep_token_id}, but the tokenizer's {special.sep} is {tokenizer.sep_id}, which is "
            "used: transformers would find no separator"
        )
    return replace(described, config=config.with_separator(tokenizer.sep_id)), tuple(notes)


def _others(place: Path, encoder: Path, used: Collection[Path]) -> tuple[str, ...]:
    """Return what is not used in a directory, and in the encoder's within it."""
    there = {path for directory in (place, encoder) for path in directory.iterdir()} - {encoder, *used}
    return tuple(sorted(f"{path.relative_to(place)}{'/' if path.is_dir() else ''}" for path in there))


def choose_architecture(described: Described, keys: Iterable[str], *, source: str) -> str:
    """Return the name of minibert's class: of the one that the config names, or else of the one that the weights fit.

    Raises InputError if the config names none and the weights fit several, or if the decoder's weight is missing.
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
    """Return minibert's class for a directory whose config names none, as old ones do; None for the plain model."""
    if any(module.split(".")[0] == "classifier" for module in modules):
        raise InputError(f"{source}/config.json: architectures is missing, and classifier.weight fits several classes")
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


def to_hf(directory: str | Path, out: str | Path, *, head: CardHead | None = None) -> Model:
    """Write `out`, which transformers' `from_pretrained` loads, from a model directory; return its model.

    head: what the model card says that the directory doesn't.

    Raises InputError if the model directory or a file of its run is missing or damaged, the reference has no class for
    its model or tokenizer, `head` is misspelt, or `out` already exists; OSError if `out` can't be written; then nothing
    is left over.
    """
    writing.check_new(out)
    head = head or CardHead()
    head.check()
    model, tokenizer = checkpoint.load(directory)
    with naming(directory):
        fields, options = to_fields(model), tokenizer_fields(tokenizer, model.config)
    card = model_card(model, tokenizer, directory, out, head)
    with writing.written_whole(out) as aside:
        tokenizer.save(aside)
        write_json(aside / "tokenizer_config.json", options)
        content = safetensors_bytes(to_keys(model), metadata={"format": "pt"})  # which the reference asks for
        (aside / SAFETENSORS).write_bytes(content)
        write_json(aside / "config.json", fields)
        for name, steps in to_files(model).items():
            (aside / name).parent.mkdir(exist_ok=True)
            write_json(aside / name, steps)
        (aside / CARD).write_text(card, encoding="utf-8", errors="replace", newline="\n")
    return model


def tokenizer_fields(tokenizer: Tokenizer, config: BertConfig) -> dict[str, object]:
    """Return a `tokenizer_config.json`: the class that does what the tokenizer does, and its options.

    Whatever `tokenizer.json` says, the reference's BertTokenizer takes a word of more than 100 characters for [UNK],
    and its AlbertTokenizer the token of id 1 for <unk>. If the file says otherwise, the generic class is named, which
    follows it.

    Raises InputError if the reference's tokenizer lacks an option.
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
    """Write JSON as people read it."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
