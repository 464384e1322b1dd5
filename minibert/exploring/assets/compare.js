// Two models side by side.

function drawDifferences() {
  const { hidden, attention_mean: attention } = record.compare;
  const largest = { hidden: Math.max(...hidden.flat()) || 1, attention: Math.max(...attention.flat()) || 1 };
  heatmap(byId("compare-hidden"), {
    rows: record.tokens.map((entry) => pieceAt(entry.position)), columns: ["embeddings", ...blocks()], label: "Distance between hidden states", most: 90,
    colour: (at, place) => mixed(palette.none, palette.much, hidden[place][at] / largest.hidden),
    text: (at, place) => shorter(hidden[place][at], 3, { least: 1 }),
    says: (at, place) => `${pieceAt(at)}, after ${place === 0 ? "the embeddings" : `block ${place - 1}`}: ${hidden[place][at].toFixed(4)}`,
    chosen: [choice.token, null], choose: (at) => choose({ token: at }),
  });
  heatmap(byId("compare-heads"), {
    rows: blocks(), columns: heads(), label: "Distance between attention distributions", most: 76, heads: true,
    colour: (layer, head) => mixed(palette.none, palette.much, attention[layer][head] / largest.attention),
    text: (layer, head) => shorter(attention[layer][head], 2, { least: 1 }),
    says: (layer, head) => `block ${layer}, head ${head}: ${attention[layer][head].toFixed(4)}`,
    chosen: [choice.layer, choice.head], choose: (layer, head) => choose({ layer, head }),
  });
}

function drawBoth() {
  const { layer, head } = choice;
  const { model, attention, probabilities } = record.compare;
  const distance = attention[layer][head][choice.token];
  byId("compare-title").textContent = `Block ${layer}, head ${head}: the attention of ${quoted(choice.token)} differs by ${distance.toFixed(4)}`;
  byId("compare-first-name").textContent = record.model.name;
  byId("compare-second-name").textContent = `${model.name} (the second model)`;
  drawMatrix(byId("compare-first"), record.attention.probabilities, `Attention in ${record.model.name}`);
  drawMatrix(byId("compare-second"), probabilities, `Attention in ${model.name}`);
}

function drawBothAnswers() {
  const ours = question();
  const theirs = ours && record.compare.predictions.find(({ name }) => name === ours.name);
  const part = (name, entry) => make("div", {}, make("p", {}, `${name}, ${entry.name}`), answerTable(entry.answers.slice(0, 5), entry.scale));
  const parts = theirs ? [part(record.model.name, ours), part(`${record.compare.model.name} (the second model)`, theirs)] : [];
  byId("compare-answers").replaceChildren(...parts);
}

function setUpCompare() {
  if (!record.compare) {
    byId("compare").hidden = true;
    return;
  }
  const said = ({ name, architecture, parameters }) => `${name} (${architecture}, ${parameters.toLocaleString("en")} parameters)`;
  byId("compare-models").textContent = `${said(record.model)} and ${said(record.compare.model)}`;
  panel(["layer", "head", "token"], drawDifferences);
  panel(["layer", "head", "token", "key", "pairs"], drawBoth);
  panel(["question"], drawBothAnswers);
}
