"""python -m minibert: describe a model, fill masks, embed and score texts, probe states, add tokens, show a pass."""

from minibert.console import cli

COMMANDS = {
    "info": "describe a model: DIR",
    "fill-mask": 'predict the tokens behind [MASK]: DIR "text with [MASK]" [--top-k K]',
    "embed": "turn each line of a file into a vector: DIR --input FILE --output FILE.npy",
    "score": "tell how likely texts are, or which of two is likelier: DIR --input FILE, or DIR --pairs FILE",
    "probe": "measure what each block's states tell about words or texts: DIR --data FILE.conllu, or FILE.csv",
    "add-tokens": "make your own words into tokens: DIR OUT --tokens WORD [WORD ...], or a file of words",
    "explore": 'write a page that shows every step of a forward pass: DIR "text" ["second text"] --out FILE.html',
}


def command() -> None:
    """Run one of `COMMANDS`."""
    cli.dispatch("python -m minibert", cli.commands_in("minibert.commands.{0}:{0}_command", COMMANDS))


def main() -> None:
    """Run the console script `minibert`."""
    cli.run(command)


if __name__ == "__main__":
    main()
