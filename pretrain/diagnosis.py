"""What to say of a run that learns nothing from the tokens around a masked token."""

from pretrain.arrays.shards import PreparedCorpus

# Fresh weights, and a warm-up at low rates, may leave a run at the unigram loss for a while.
JUDGED_FROM_SHARE, JUDGED_FROM_STEP = 0.25, 100
# Of the unigram loss: a bigram model of English books is 24 % below it, and a run on words in random order, judged by a
# few hundred masked tokens, within 1 % of it.
MARGIN = 0.02
# Likely causes that figures show.
MOSTLY_UNKNOWN = 0.5  # share of the tokens
SHORT_DOCUMENT = 4.0  # tokens
MANY_PASSES = 20.0


def learns_nothing(loss: float, unigram_loss: float, corpus: PreparedCorpus, *, passes: float) -> str | None:
    """Return a line for the user, with the likely causes, unless a held-out loss is below the unigram loss by a margin.

    passes: over the training text so far.
    """
    if loss < (1 - MARGIN) * unigram_loss:
        return None
    train, tokenizer = corpus.manifest.train, corpus.tokenizer
    unknown, length = train.unknown_tokens / train.tokens, train.tokens / train.documents
    causes = []
    if unknown > MOSTLY_UNKNOWN:
        causes.append(
            f"{unknown:.0%} of the tokens are {tokenizer.shown(tokenizer.unk_id)}: the vocabulary does not fit the text"
        )
    if length < SHORT_DOCUMENT:
        causes.append(f"a document has only {length:.1f} tokens on average, so little is left around a masked one")
    if passes > MANY_PASSES:
        causes.append(f"the text was read {passes:.0f} times and has been memorised: use more text or fewer steps")
    if not causes:
        causes += ["a learning rate that is too high or too low", "text without order, such as lists of words"]
    likely = "Likely causes" if len(causes) > 1 else "Likely cause"
    return (
        f"note     the held-out masked-LM loss is {loss:.3f}, not clearly below the unigram loss of "
        f"{unigram_loss:.3f}: so far, the model has learned nothing from the tokens around a masked one. "
        f"{likely}: {'; '.join(causes)}"
    )
