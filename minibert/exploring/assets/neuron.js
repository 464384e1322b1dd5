// The neuron view: the chosen token's query against every key of the chosen head, dimension by dimension.

/** The chosen head's part of a vector of all heads side by side. */
function headPart(name, at) {
  const size = record.model.head_size;
  return record.blocks.values[name].row(choice.layer, at).slice(choice.head * size, (choice.head + 1) * size);
}

/** The name of the keys that the chosen token's query is multiplied by: a Longformer's global tokens have their own. */
const keyName = () => `attention.${record.tokens[choice.token].global ? "global_key" : "key"}`;

function drawNeuron() {
  const { layer, head, token: at } = choice;
  const query = headPart("attention.query", at);
  const errors = ["attention.query", keyName()].map((name) => record.blocks.values[name].stepOf(layer) / 2);
  byId("neuron-title").textContent = `Block ${layer}, head ${head}: the query of ${quoted(at)} and the key of every token, D = ${query.length}`;
  const keys = record.tokens.map((_, position) => headPart(keyName(), position));
  const allProducts = keys.map((key) => key.map((value, dimension) => value * query[dimension]));
  const [keyScale, productScale] = [keys, allProducts].map((vectors) => scaleOf(vectors.flatMap((vector) => [...vector])));
  const rows = record.tokens.map((entry, position) => {
    const [key, products] = [keys[position], allProducts[position]];
    const score = products.reduce((sum, value) => sum + value, 0) / Math.sqrt(query.length);
    const share = record.attention.probabilities.at(layer, head, at, position);
    const button = choiceButton(shortened(entry.piece, 16), position === choice.key,
      (step) => position + step in record.tokens && choose({ key: position + step }));
    button.setAttribute("aria-label", `numbers of key ${pieceAt(position)}`);
    return make("tr", { className: position === choice.key ? "chosen" : "" }, number(position), make("td", {}, button),
      make("td", {}, strip(key, `key of ${pieceAt(position)}`, errors[1], keyScale)),
      make("td", {}, strip(products, `query × key of ${pieceAt(position)}`, errorOfProducts(query, key, errors), productScale)),
      number(signed(score, (value) => value.toFixed(2))), number(fourDecimals(share)), make("td", { className: "bar-cell" }, barOf(share)));
  });
  const first = make("tr", {}, make("td", {}), make("td", {}, make("strong", {}, "query")), make("td", {}, strip(query, `query of ${pieceAt(at)}`, errors[0])),
    make("td", { colSpan: 4 }, make("small", {}, "of the chosen token")));
  const made = table(["", "key of", "key", "query × key", "q·k/√D", "softmax", ""], [first, ...rows], { className: "wide" });
  byId("neuron-rows").replaceChildren(made);
  openStrips(made);
  drawNumbers(query, errors);
}
panel(["layer", "head", "token", "key"], drawNeuron);

/** The most by which products of rounded numbers can differ from those of the exact ones. */
function errorOfProducts(query, key, [ofQuery, ofKey]) {
  const largest = (values) => Math.max(...values.map(Math.abs));
  return largest(query) * ofKey + largest(key) * ofQuery + ofQuery * ofKey;
}

function drawNumbers(query, errors) {
  const key = headPart(keyName(), choice.key);
  byId("neuron-summary").textContent = `The numbers of the query of ${quoted(choice.token)} and of the key of ${quoted(choice.key)}`;
  const exact = [...errors, errorOfProducts(query, key, errors)];
  const rows = [...query].map((value, dimension) => [number(dimension), ...[value, key[dimension], value * key[dimension]]
    .map((shown, column) => number(shown.toFixed(decimalsFor(exact[column]))))]);
  const heads = ["query", "key", "query × key"].map((name, column) => `${name} ± ${atMost(exact[column])}`);
  byId("neuron-numbers").replaceChildren(table(["dimension", ...heads], rows));
}
