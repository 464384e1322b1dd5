// The neuron view: the chosen token's query against every key of the chosen head, dimension by dimension.

/** The chosen head's part of a vector of all heads side by side. */
function headPart(name, at) {
  const size = record.model.head_size;
  return record.blocks.values[name].row(choice.layer, at).slice(choice.head * size, (choice.head + 1) * size);
}

function drawNeuron() {
  const { layer, head, token: at } = choice;
  const query = headPart("attention.query", at);
  const errors = ["query", "key"].map((name) => record.blocks.values[`attention.${name}`].stepOf(layer) / 2);
  byId("neuron-title").textContent = `Block ${layer}, head ${head}: the query of ${pieceAt(at)}, D = ${query.length}`;
  const rows = record.tokens.map((entry, position) => {
    const key = headPart("attention.key", position);
    const products = key.map((value, dimension) => value * query[dimension]);
    const score = products.reduce((sum, value) => sum + value, 0) / Math.sqrt(query.length);
    const share = record.attention.probabilities.at(layer, head, at, position);
    const bar = make("span", { className: "bar" });
    bar.style.width = `${5 * share}rem`;
    bar.hidden = share === 0;
    const button = make("button", { type: "button" }, token(shortened(entry.piece, 16)));
    button.setAttribute("aria-label", `numbers of key ${pieceAt(position)}`);
    button.addEventListener("click", () => choose({ key: position }));
    return make("tr", { className: position === choice.key ? "chosen" : "" }, number(position), make("td", {}, button),
      make("td", {}, strip(key, `key of ${pieceAt(position)}`, errors[1])), make("td", {}, strip(products, `query × key of ${pieceAt(position)}`, errorOfProducts(query, key, errors))),
      number(signed(score, (value) => value.toFixed(2))), number(fourDecimals(share)), make("td", { className: "bar-cell" }, bar));
  });
  const first = make("tr", {}, make("td", {}), make("td", {}, make("strong", {}, "query")), make("td", {}, strip(query, `query of ${pieceAt(at)}`, errors[0])),
    make("td", { colSpan: 4 }, make("small", {}, "of the chosen token")));
  const made = table(["", "key of", "key", "query × key", "q·k/√D", "softmax", ""], [first, ...rows], { className: "wide" });
  byId("neuron-rows").replaceChildren(made);
  openStrips(made);
  drawNumbers(query);
}
panel(["layer", "head", "token", "key"], drawNeuron);

/** The most by which products of rounded numbers can differ from those of the exact ones. */
function errorOfProducts(query, key, [ofQuery, ofKey]) {
  const largest = (values) => Math.max(...values.map(Math.abs));
  return largest(query) * ofKey + largest(key) * ofQuery + ofQuery * ofKey;
}

function drawNumbers(query) {
  const key = headPart("attention.key", choice.key);
  byId("neuron-summary").textContent = `The numbers of the query of ${pieceAt(choice.token)} and the key of ${pieceAt(choice.key)}`;
  const rows = [...query].map((value, dimension) => [number(dimension), number(value.toFixed(2)),
    number(key[dimension].toFixed(2)), number((value * key[dimension]).toFixed(2))]);
  byId("neuron-numbers").replaceChildren(table(["dimension", "query", "key", "query × key"], rows));
}
