"""The page that shows a forward pass in a browser: one file, no server, no network.

    from minibert.exploring.page import html_page
    from minibert.exploring.record import make_record

    model, tokenizer = minibert.load("runs/demo")
    record = make_record(model, tokenizer, "The man went to the [MASK] .", "He bought milk .", name="demo")
    record["attention"]["probabilities"]             # (L, N, T, T), numpy
    Path("page.html").write_text(html_page(record), encoding="utf-8")

Every number is computed here, in Python, from what `minibert.trace` returns; the page only draws. In the order in which
they are used: `tokens`, `states`, `attention`, `predictions`, `what_if`, `saliency`, `compare` compute one panel each,
`record` puts them together, `packing` makes them small, `page` writes the HTML around `assets/`.

Shapes: see `minibert.model`; also Q, the number of questions that a model's heads are asked about one text.
"""
