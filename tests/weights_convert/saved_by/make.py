"""Small random models and their tokenizers, as versions of transformers save them, and what these versions answer.

Run with Python 3.11, torch 2.13, sentencepiece 0.2.3, and of the rest what stands beside each command:

    python make.py vocabularies    transformers 5.23: `vocabularies/`, which everything else starts from
    python make.py saved           `4.30/`: transformers 4.30.2, tokenizers 0.13.3, numpy 1.26, protobuf 3.20
                                   `4.57/`: transformers 4.57.6
                                   `5.23/`: transformers 5.23.0
    python make.py first           `first/`: transformers 4.30.2, as above

In a version's directory stand, for each family, what `save_pretrained` wrote of tokenizers and models, and
`answers.json`: the ids of `TEXTS` and `PAIR` by every tokenizer, and the numbers of every model for the ids of the
first of them. `first/` has directories in the form in which the families were published in 2018 to 2020, made from a
model of version 4.30 by hand, with the answers that this version gives when it loads them.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers

HERE = Path(__file__).parent
VOCABULARIES = HERE / "vocabularies"
VERSION = ".".join(transformers.__version__.split(".")[:2])

PREFIXES = {"bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert", "albert": "Albert"}
# The models of each family, and the forms of its tokenizer: slow, which version 5 does not have, or fast; plain, or
# with two added tokens. All of them for BERT; for the others without those that are a part of another.
MODELS = {
    "bert": ("Model", "ForPreTraining", "ForMaskedLM", "ForSequenceClassification"),
    "roberta": ("Model", "ForMaskedLM", "ForSequenceClassification"),
    "distilbert": ("Model", "ForMaskedLM", "ForSequenceClassification"),
    "albert": ("Model", "ForPreTraining", "ForSequenceClassification"),
}
TOKENIZERS = {
    "bert": ("slow", "fast", "slow-added", "fast-added"),
    "roberta": ("slow", "slow-added", "fast-added"),
    "distilbert": ("slow", "fast"),
    "albert": ("slow", "slow-added", "fast-added"),
}
FIRST = {"bert": "ForPreTraining", "roberta": "ForMaskedLM", "distilbert": "ForMaskedLM", "albert": "ForMaskedLM"}

TEXTS = ("The Baker [X]covid, 2,000 (two) naïve.", "北京 [MASK] don't")
PAIR = ("the man", "sold bread to COVID [MASK]")
WORD, SPECIAL = "covid", transformers.AddedToken("[X]", lstrip=True, normalized=False)  # the added tokens

POSITIONS = 40
LABELS = ("bad", "fair", "good")
SHAPE = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 6}
FIELDS: dict[str, dict[str, Any]] = {
    "bert": SHAPE,
    "roberta": SHAPE | {"type_vocab_size": 1, "layer_norm_eps": 1e-5},
    "distilbert": {"dim": 4, "n_layers": 1, "n_heads": 2, "hidden_dim": 6},
    "albert": SHAPE | {"embedding_size": 3, "hidden_act": "gelu_new"},
}


# --- Vocabularies ----------------------------------------------------------------------------------------------------


def make_vocabularies() -> None:
    """One of each kind. The vocab.txt has tokens that nothing uses, and a blank line at its end."""
    tokens = ["[PAD]", *(f"[unused{i}]" for i in range(4)), "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += ["the", "man", "baker", "said", "sold", "bread", "two", "loaves", "to", "it", "don", "t", "naive"]
    tokens += ["##s", "##d", "##ead", "##aker", *",.()'012北京", *"abcdeilmnorsv"]
    tokens += [f"##{letter}" for letter in "abceilmnortv0"]
    for family in ("bert", "distilbert"):
        write(VOCABULARIES / family / "vocab.txt", "".join(f"{token}\n" for token in tokens) + "\n")

    from tokenizers.pre_tokenizers import ByteLevel

    merges = ["Ġ t", "h e", "Ġt he", "a k", "Ġ s", "Ġs a", "i d", "Ġsa id", "Ġ b", "r e", "Ġb re", "Ġbre a", "Ġbrea d"]
    pieces = [*sorted(ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in merges)]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *pieces, "<mask>"]
    write(VOCABULARIES / "roberta" / "vocab.json", json.dumps({token: i for i, token in enumerate(tokens)}))
    write(VOCABULARIES / "roberta" / "merges.txt", "#version: 0.2\n" + "".join(f"{merge}\n" for merge in merges))

    import sentencepiece

    rules = Path("rules.tsv")  # by its bare name: the model keeps it
    write(rules, "FF01\t21\nFF0C\t2C\n3000\t20\nFB01\t66 69\n")  # full-width signs, a ligature; ALBERT has thousands
    lines = ["the man (a baker) said the bread cost 2,000.", "two naive loaves, don't it sold to covid 北京"] * 9
    (VOCABULARIES / "albert").mkdir()
    with (VOCABULARIES / "albert" / "spiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=file, vocab_size=70, model_type="unigram", pad_id=0, unk_id=1,
            bos_id=-1, eos_id=-1, control_symbols=["[CLS]", "[SEP]", "[MASK]"], normalization_rule_tsv=str(rules),
            user_defined_symbols=["(", ")", "-", "."], hard_vocab_limit=False, num_threads=1, minloglevel=2,
        )  # fmt: skip
    rules.unlink()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


# --- Tokenizers and models -------------------------------------------------------------------------------------------


def tokenizer_of(family: str, form: str) -> Any:
    """None where this version does not have the form."""
    kind, _, added = form.partition("-")
    name = f"{PREFIXES[family]}Tokenizer{'Fast' if kind == 'fast' else ''}"
    tokenizer = getattr(transformers, name).from_pretrained(VOCABULARIES / family)
    if kind == "slow" and tokenizer.is_fast:
        return None
    if added:
        tokenizer.add_tokens([WORD])
        further = "extra_special_tokens" if VERSION.startswith("5.") else "additional_special_tokens"
        tokenizer.add_special_tokens({further: [SPECIAL]})
    return tokenizer


def encoded(tokenizer: Any) -> list[Any]:
    """The texts, and the pair, with this family's mask. Version 5 leaves an ALBERT's segments out unless asked."""
    first, second, *pair = (text.replace("[MASK]", tokenizer.mask_token) for text in (*TEXTS, *PAIR))
    options = {"return_token_type_ids": True, "return_tensors": "pt"}
    return [tokenizer(*texts, **options) for texts in ((first,), (second,), pair)]


def ids_of(tokenizer: Any) -> list[list[int]]:
    return [each["input_ids"][0].tolist() for each in encoded(tokenizer)]


def model_of(family: str, suffix: str, tokenizer: Any) -> Any:
    """A model with rows for all tokens of the largest vocabulary; its numbers are the same in every version."""
    fields = FIELDS[family] | {"max_position_embeddings": POSITIONS, "pad_token_id": tokenizer.pad_token_id}
    fields["vocab_size"] = max(tokenizer.get_vocab().values()) + 3
    if suffix == "ForSequenceClassification":
        fields |= {"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}}
    config = getattr(transformers, f"{PREFIXES[family]}Config")(**fields)
    model = getattr(transformers, PREFIXES[family] + suffix)(config).eval()
    generator = torch.Generator().manual_seed(20)
    for name, parameter in sorted(model.named_parameters()):
        drawn = torch.empty(parameter.shape).normal_(std=0.3, generator=generator)
        parameter.data = drawn + 1 if re.search(r"layer_?norm\.weight$", name, re.IGNORECASE) else drawn
    return model


@torch.no_grad()
def numbers_of(model: Any, tokenizer: Any) -> dict[str, list[list[float]]]:
    """Every output for each of the encoded texts, all its numbers in a row; of pieces' logits those at masks alone."""
    found: dict[str, list[list[float]]] = {}
    for inputs in encoded(tokenizer):
        if model.config.model_type == "distilbert":
            inputs.pop("token_type_ids", None)
        for name, output in model(**inputs).items():
            if output.shape[-1] == model.config.vocab_size:
                output = output[inputs["input_ids"] == tokenizer.mask_token_id]
            found.setdefault(name, []).append([float(f"{number:.8g}") for number in output.flatten().tolist()])
    return found


def write_answers(place: Path, ids: Mapping[str, Any], numbers: Mapping[str, Any]) -> None:
    write(place / "answers.json", json.dumps({"ids": ids, "numbers": numbers}) + "\n")


def save(family: str) -> None:
    place = HERE / VERSION / family
    forms = {form: tokenizer_of(family, form) for form in TOKENIZERS[family]}
    tokenizers = {form: tokenizer for form, tokenizer in forms.items() if tokenizer is not None}
    for form, tokenizer in tokenizers.items():
        tokenizer.save_pretrained(place / form)
    first, numbers = next(iter(tokenizers.values())), {}
    for suffix in MODELS[family]:
        model = model_of(family, suffix, first)
        model.save_pretrained(place / suffix)
        numbers[suffix] = numbers_of(model, first)
    write_answers(place, {form: ids_of(tokenizer) for form, tokenizer in tokenizers.items()}, numbers)


# --- As they were published first ------------------------------------------------------------------------------------

OLD_BERT = (
    "attention_probs_dropout_prob", "hidden_act", "hidden_dropout_prob", "hidden_size", "initializer_range",
    "intermediate_size", "max_position_embeddings", "num_attention_heads", "num_hidden_layers", "type_vocab_size",
    "vocab_size",
)  # fmt: skip
OLD_DISTILBERT = (
    "activation", "attention_dropout", "dim", "dropout", "hidden_dim", "initializer_range", "max_position_embeddings",
    "n_heads", "n_layers", "pad_token_id", "qa_dropout", "seq_classif_dropout", "sinusoidal_pos_embds", "vocab_size",
)  # fmt: skip
# The fields of a config, and those that are no longer.
OLD_CONFIGS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "bert": (OLD_BERT, {}),  # converted from TensorFlow: neither its kind nor its class
    "roberta": (
        (*OLD_BERT, "layer_norm_eps", "pad_token_id", "bos_token_id", "eos_token_id", "model_type"),
        {"architectures": ["RobertaForMaskedLM"]},
    ),
    "distilbert": (OLD_DISTILBERT, {"tie_weights_": True, "model_type": "distilbert"}),
    "albert": (
        (*OLD_BERT, "embedding_size", "inner_group_num", "layer_norm_eps", "num_hidden_groups", "pad_token_id",
         "bos_token_id", "eos_token_id", "classifier_dropout_prob", "model_type"),
        {"architectures": ["AlbertForMaskedLM"], "down_scale_factor": 1, "gap_size": 0, "net_structure_type": 0,
         "num_memory_blocks": 0},
    ),
}  # fmt: skip
# What lay beside the vocabulary.
OLD_TOKENIZERS: dict[str, dict[str, Any]] = {
    "distilbert": {
        "added_tokens.json": {},
        "special_tokens_map.json": {
            "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
            "mask_token": "[MASK]",
        },
        "tokenizer_config.json": {"do_lower_case": True, "max_len": POSITIONS, "init_inputs": []},
    }
}  # fmt: skip


def write_first(family: str) -> None:
    place, suffix = HERE / "first" / family, FIRST[family]
    shutil.copytree(VOCABULARIES / family, place / "slow")
    for name, content in OLD_TOKENIZERS.get(family, {}).items():
        write(place / "slow" / name, json.dumps(content))
    tokenizer = getattr(transformers, f"{PREFIXES[family]}Tokenizer").from_pretrained(place / "slow")
    model = model_of(family, suffix, tokenizer)
    kept, further = OLD_CONFIGS[family]
    fields = model.config.to_dict()
    write(place / suffix / "config.json", json.dumps({name: fields[name] for name in kept} | further, indent=2) + "\n")
    weights = dict(model.state_dict())
    pooler = {"roberta": "roberta.pooler.dense", "albert": "albert.pooler"}.get(family)
    if pooler:  # published with them, though the class has none
        weights |= {f"{pooler}.weight": torch.ones(4, 4), f"{pooler}.bias": torch.ones(4)}
    if family == "bert":
        del weights["cls.predictions.decoder.bias"], weights["bert.embeddings.position_ids"]
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        weights = {re.sub("|".join(old), lambda found: old[found[0]], key): weights[key] for key in weights}
    torch.save(weights, place / suffix / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    loaded = type(model).from_pretrained(place / suffix).eval()
    write_answers(place, {"slow": ids_of(tokenizer)}, {suffix: numbers_of(loaded, tokenizer)})


if __name__ == "__main__":
    directory, make = {
        "vocabularies": (VOCABULARIES, lambda: make_vocabularies()),
        "saved": (HERE / VERSION, lambda: [save(family) for family in PREFIXES]),
        "first": (HERE / "first", lambda: [write_first(family) for family in PREFIXES]),
    }[sys.argv[1]]
    shutil.rmtree(directory, ignore_errors=True)
    make()
