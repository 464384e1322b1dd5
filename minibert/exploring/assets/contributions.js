// What the score of the chosen answer is the sum of, the largest parts first.

/** "blocks.3.attention.head.1" -> "block 3, head 1" */
function partName(name) {
  const [, layer, rest] = /^blocks\.(\d+)\.(.*)/.exec(name) ?? [];
  if (layer === undefined) return name.replace(".", ": ").replace("norm.bias", "bias of LayerNorm");
  const head = /^attention\.head\.(\d+)/.exec(rest);
  const names = {
    "attention.output.bias": "attention, bias of the output", "attention_norm.bias": "bias of the LayerNorm after attention",
    feed_forward: "feed-forward", "feed_forward.output.bias": "feed-forward, bias of the output",
    "feed_forward_norm.bias": "bias of the LayerNorm after feed-forward",
  };
  return `block ${layer}, ${head ? `head ${head[1]}` : names[rest]}`;
}

/** A bar from the middle of its cell: to the right above zero, to the left below. */
function signedBarOf(share) {
  const bar = barOf(Math.abs(share) / 2);
  bar.style.marginLeft = `${50 * (share < 0 ? 1 + share : 1)}%`;
  bar.style.background = css(signColour(Math.sign(share)));
  return bar;
}

function drawContributions() {
  const { names, positions, values, scores, remainders } = record.contributions;
  const { answers } = question();
  const added = values[choice.question];
  const order = counted(names.length).sort((one, other) => Math.abs(added[other]) - Math.abs(added[one]));
  const rest = remainders[choice.question];
  const largest = Math.max(Math.abs(rest), Math.abs(added[order[0]])) || 1;
  const rowOf = (content, value) => make("tr", {}, make("td", {}, content), number(signed(value, digits)),
    make("td", { className: "bar-cell" }, signedBarOf(value / largest)));
  const rows = order.map((place) => {
    const found = /^blocks\.(\d+)\.attention\.head\.(\d+)$/.exec(names[place]);
    if (!found) return rowOf(partName(names[place]), added[place]);
    const button = make("button", { type: "button" }, partName(names[place]));
    button.addEventListener("click", () => choose({ layer: Number(found[1]), head: Number(found[2]) }));
    return rowOf(button, added[place]);
  });
  rows.push(rowOf("remainder: the output head is not linear", rest));
  byId("contributions-title").textContent = `${question().name}: “${answers[0].answer}” has the score ${signed(scores[choice.question], digits)}, ` +
    `computed from the last state of ${quoted(positions[choice.question])}`;
  byId("contributions-table").replaceChildren(table(["part", "adds", ""], rows, { className: "wide" }));
}

function setUpContributions() {
  if (record.predictions.length === 0) byId("contributions").hidden = true;
  else panel(["question"], drawContributions);
}
