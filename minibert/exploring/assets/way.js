// The path of a token: all tokens, embeddings, then the parts of the chosen block at the chosen token.

const EMBEDDING_STEPS = [
  ["token", "the token's row of the embedding table"], ["position", "+ the position's row"], ["segment", "+ the segment's row"],
  ["sum", "= their sum"], ["norm", "after LayerNorm"], ["projection", "projected to the width of the blocks"],
];
const embeddingSteps = () => EMBEDDING_STEPS.filter(([name]) => name in record.embeddings.norms); // the ones this model has
// What a block computes, in its order: the name that minibert.trace gives it, and what it is.
const BLOCK_STEPS = [
  ["attention.query", "query, all heads side by side"], ["attention.key", "key"], ["attention.value", "value"],
  ["attention.context", "values, averaged by the attention"],
  ["attention.output", "what attention adds"], ["attention.sum", "the stream with that added"], ["attention_norm", "after LayerNorm"],
  ["feed_forward.inner", "feed-forward, before the activation"], ["feed_forward.activation", "after the activation"],
  ["feed_forward.output", "what feed-forward adds"], ["feed_forward.sum", "the stream with that added"],
  ["feed_forward_norm", "after LayerNorm: the block's output"],
];

function drawTokens() {
  const norms = record.embeddings.norms;
  const rows = record.tokens.map((entry) => {
    const at = entry.position;
    const button = choiceButton(entry.piece, at === choice.token, (step) => at + step in record.tokens && choose({ token: at + step }));
    const numbers = embeddingSteps().map(([name]) => number(digits(norms[name][at])));
    const cells = [number(at), make("td", {}, button), make("td", {}, token(shortened(entry.characters, 60))),
      number(entry.id), number(`${entry.segment} (${entry.text ? "B" : "A"})`), ...numbers];
    return make("tr", { className: at === choice.token ? "chosen" : "" }, ...cells);
  });
  const heads = ["position", "piece", "characters", "id", "segment", ...embeddingSteps().map(([name]) => `‖${name === "norm" ? "LayerNorm" : name}‖`)];
  byId("token-table").replaceChildren(table(heads, rows));
}
panel(["token"], drawTokens);

function drawSteps() {
  const { layer, token: at } = choice;
  byId("way-title").textContent = `${quoted(at)}: the embeddings, then block ${layer}`;
  const row = (name, what, norm, values, error) => make("tr", { className: /output|token/.test(name) ? "adds" : "" },
    make("td", { className: "name" }, make("code", {}, name), " ", what), make("td", { className: "number norm" }, digits(norm)),
    make("td", {}, ...(values ? [strip(values, name, error)] : [make("small", {}, "shown by its norm alone")])));
  const rows = embeddingSteps().map(([name, what]) =>
    row(`embeddings.${name}`, what, record.embeddings.norms[name][at], record.embeddings.values[name].row(at), record.embeddings.values[name].stepOf(0) / 2));
  for (const [name, what] of BLOCK_STEPS) {
    const values = record.blocks.values[name];
    rows.push(row(`blocks.${layer}.${name}`, what, record.blocks.norms[name][layer][at], values?.row(layer, at), values?.stepOf(layer) / 2));
    if (name === "attention.value") {
      const place = make("div", {});
      rows.push(make("tr", {}, make("td", { className: "name" }, make("code", {}, `blocks.${layer}.attention.probabilities`),
        " softmax of query · key / √D: one row for each head, one column for each token"), make("td", {}), make("td", {}, place)));
      place.drawLater = () => heatmap(place, {
        rows: heads(), columns: pieces(), label: `Attention of token ${at} in all heads of block ${layer}`,
        colour: (head, key) => shareColour(record.attention.probabilities.at(layer, head, at, key)),
        says: (head, key) => `head ${head}: ${pieceAt(at)} → ${pieceAt(key)}: ${fourDecimals(record.attention.probabilities.at(layer, head, at, key))}`,
        chosen: [choice.head, null], choose: (head) => choose({ head }), most: 20,
      });
    }
  }
  const made = table([], rows, { className: "strips" });
  made.prepend(make("thead", {}, make("tr", {}, make("th", { className: "name" }, "step"),
    make("th", { className: "norm" }, "norm"), make("th", {}, "values: blue above 0, orange below; each strip has a scale of its own"))));
  byId("way-strips").replaceChildren(made);
  openStrips(made);
  for (const place of made.querySelectorAll("div")) place.drawLater();
}
panel(["layer", "token", "head"], drawSteps);

// What the panel shows of the stream at every token and block: a name, what it is, and its numbers [block][token].
const STREAM = {
  attention: ["what attention adds", "the norm of attention.output, divided by the norm of what the block is given", () => record.blocks.added.attention],
  feed_forward: ["what feed-forward adds", "the norm of feed_forward.output, divided by the norm of attention_norm", () => record.blocks.added.feed_forward],
  stream: ["the stream's norm before the block", "the length of the vector that the block is given", () => record.blocks.stream],
  sum: ["the norm with both added", "the norm of feed_forward.sum, before the last LayerNorm", () => record.blocks.norms["feed_forward.sum"]],
};

function drawStream() {
  const [name, about, numbersOf] = STREAM[choice.stream];
  const numbers = numbersOf();
  const largest = Math.max(...numbers.flat()) || 1;
  byId("stream-about").textContent = `${about}; the strongest colour is the largest value, ${digits(largest)}`;
  heatmap(byId("stream"), {
    rows: record.tokens.map((entry) => pieceAt(entry.position)), columns: blocks(), label: name, most: 76,
    colour: (at, layer) => mixed(palette.none, palette.much, numbers[layer][at] / largest),
    text: (at, layer) => [digits(numbers[layer][at]), ...shorter(numbers[layer][at], 2)],
    says: (at, layer) => `${pieceAt(at)}, block ${layer}: ${digits(numbers[layer][at])}`,
    chosen: [choice.token, choice.layer], choose: (at, layer) => choose({ token: at, layer }),
  });
}
panel(["layer", "token", "stream"], drawStream);

function setUpWay() {
  offer("stream", Object.entries(STREAM).map(([key, [name]]) => [key, name]));
}
