"""python -m minibert: describe a model, fill masks, embed and score texts, add tokens, show a forward pass."""

from minibert.console import cli

COMMANDS = {
    "info": "architecture, parameters by part, vocabulary: python -m minibert info DIR",
    "fill-mask": 'the most likely tokens: python -m minibert fill-mask DIR "text with [MASK]" [--top-k K]',
    "embed": "one vector per line of text: python -m minibert embed DIR --input FILE --output FILE.npy",
    "score": "how likely texts are, or which of two is likelier: python -m minibert score DIR --input|--pairs FILE",
    "add-tokens": "your own words as tokens: python -m minibert add-tokens DIR OUT --tokens FILE|WORD [WORD ...]",
    "explore": 'a page that shows every step: python -m minibert explore DIR "text" ["second text"] --out page.html',
}


def command() -> None:
    """Run one of `COMMANDS`."""
    cli.dispatch("python -m minibert", cli.commands_in("minibert.commands.{0}:{0}_command", COMMANDS))


def main() -> None:
    """Run the console script `minibert`."""
    cli.run(command)


if __name__ == "__main__":
    main()
