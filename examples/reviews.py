"""Split waimai_10k, a CSV file with the columns `label` and `review`, into a training and a test set, and print the
accuracy of a baseline: logistic regression on TF-IDF features of one to three characters.

It writes four files to the current directory. train.csv and test.csv have the columns label and text; the test set is
a fifth of each class, drawn with the seed SPLIT. train.txt and test.txt have the texts without their labels, each as a
document; train.txt is the corpus to pretrain on. The program needs scikit-learn, which the extra `dev` installs.

    .venv/bin/python examples/reviews.py waimai_10k.csv SPLIT
"""

import csv
import sys

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

Rows = list[tuple[str, str]]  # label, text


def main(source: str, split: int) -> None:
    """Write the four files, then print the baseline's accuracy."""
    with open(source, encoding="utf-8", newline="") as file:
        rows = [(row["label"], row["review"]) for row in csv.DictReader(file)]
    labels = [label for label, _ in rows]
    train, test = train_test_split(rows, test_size=0.2, random_state=split, stratify=labels)
    write_table("train.csv", train)
    write_table("test.csv", test)
    write_corpus("train.txt", [text for _, text in train])
    write_corpus("test.txt", [text for _, text in test])
    print(f"TF-IDF: {baseline_accuracy(train, test):.4f}")


def write_table(path: str, rows: Rows) -> None:
    """Write rows below a header."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("label", "text"), *rows])


def write_corpus(path: str, texts: list[str]) -> None:
    """Write each text on its own line, with a blank line between texts, so that each is a document of the corpus."""
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n\n".join(" ".join(text.split()) for text in texts) + "\n")


def baseline_accuracy(train: Rows, test: Rows) -> float:
    """Return the share of the test set that logistic regression, fitted on the training set, classifies correctly."""
    model = make_pipeline(TfidfVectorizer(analyzer="char", ngram_range=(1, 3)), LogisticRegression(max_iter=1000))
    labels, texts = zip(*train, strict=True)
    test_labels, test_texts = zip(*test, strict=True)
    return float(model.fit(texts, labels).score(test_texts, test_labels))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], int(sys.argv[2]))
