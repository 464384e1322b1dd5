"""The model's input: each token with its piece, id, segment, position and the characters that it stands for."""

from typing import Any

from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.tokenizer import Batch, Tokenizer
from minibert.windowed import GLOBAL

# U+2400 and up are pictures of the control characters: of a NUL in a text, a browser would show nothing.
CONTROL_PICTURES = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}

LONGEST_SHOWN = 2_000  # characters of a text; longer ones are cut on the page, and the page says so


def encode(tokenizer: Tokenizer, config: BertConfig, text: str, second: str | None, *, max_tokens: int) -> Batch:
    """Return one text or pair as a batch of one, not truncated.

    Raises InputError if a text has no tokens or is not Unicode, or for more tokens than positions or `max_tokens`.
    """
    batch = tokenizer(text, second)
    for number, (name, given) in enumerate((("text", text), ("second text", second))):
        if given is not None and not (batch.sequence_ids == number).any():
            raise InputError(f"the {name} is empty: there are no tokens in {_shortened(given)!r}")
    tokens = batch.input_ids.size(1)
    if tokens > config.longest:
        raise InputError(f"{tokens} tokens, but the model has {config.longest} positions")
    if tokens > max_tokens:
        raise InputError(f"{tokens} tokens, but --max-tokens is {max_tokens}: give a shorter text or a larger limit")
    return batch


def described(tokenizer: Tokenizer, batch: Batch, text: str, second: str | None) -> list[dict[str, Any]]:
    """Return one entry per token, T in all."""
    texts = (text, second or "")
    ids = batch.input_ids[0].tolist()
    segments = batch.token_type_ids[0].tolist()
    frame = (batch.sequence_ids[0] < 0).tolist()  # not so a [SEP] that is spelled out in the text
    of_second = (batch.sequence_ids[0] == 1).cummax(0).values.int().tolist()  # [SEP] with the text before it
    offsets = batch.offsets[0].tolist()
    is_global = (batch.attention_mask[0] == GLOBAL).tolist()
    rows = zip(ids, segments, of_second, offsets, frame, is_global, strict=True)
    return [
        {
            "position": position,
            "piece": tokenizer.shown(token_id),
            "id": token_id,
            "segment": segment,
            "text": number,
            # [CLS] and [SEP] stand for no characters; their offsets are (0, 0).
            "characters": visible(texts[number][start:end]),
            "start": start,
            "end": end,
            "frame": is_frame,
            "global": attends_to_all,
        }
        for position, (token_id, segment, number, (start, end), is_frame, attends_to_all) in enumerate(rows)
    ]


def visible(text: str) -> str:
    """Return a text as it can be shown: control characters as their pictures, and a long text cut."""
    return _shortened(text).translate(CONTROL_PICTURES)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}… ({len(text):,} characters)"
