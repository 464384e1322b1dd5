// What if a head or a block were switched off: what Python got when it did so.

function drawWhatIf() {
  const { layers, heads: headCount } = record.model;
  const ofAnswer = byId("what-if-measure").value === "answer";
  const { moved, values } = record.what_if;
  const before = ofAnswer ? question().answers[0].value : 0;
  const numbers = ofAnswer ? values[choice.question].map((row) => row.map((value) => value - before)) : moved;
  const largest = Math.max(...numbers.flat().map(Math.abs)) || 1;
  const scale = ofAnswer ? question().scale : "number";
  const written = (value) => {
    if (!ofAnswer) return percent(value);
    return scale === "number" ? signed(value, digits) : `${signed(100 * value, (points) => points.toFixed(2))} points`;
  };
  byId("what-if-about").textContent = ofAnswer
    ? `change of ${scale === "number" ? "the score of" : "the probability of"} “${question().answers[0].answer}” (${question().name}); blue: more, orange: less; the strongest colour: ${written(largest).replace("+", "")}`
    : `mean distance of the last block's output from what it was, over its norm; the darkest or brightest is ${written(largest)}`;
  heatmap(byId("what-if-grid"), {
    rows: blocks(), columns: [...heads(), "block"], label: "Each head and block switched off", most: 76,
    colour: (layer, column) => ofAnswer ? signColour(numbers[layer][column] / largest) : mixed(palette.none, palette.much, numbers[layer][column] / largest),
    text: (layer, column) => withoutUnit(written(numbers[layer][column])),
    says: (layer, column) => `${column < headCount ? `block ${layer} without head ${column}` : `without block ${layer}`}: ${written(numbers[layer][column])}`,
    chosen: choice.off, choose: (layer, column) => choose({ off: [layer, column] }),
  });
  const [layer, column] = choice.off;
  byId("what-if-title").textContent = column < headCount ? `Block ${layer} without head ${column}` : `Without block ${layer}`;
  const parts = [];
  if (record.predictions.length) {
    const { answers, scale: kind, name } = question();
    const now = record.what_if.answers[choice.question][layer][column];
    parts.push(make("div", {}, make("p", {}, `${name}, with it`), answerTable(answers.slice(0, now.length), kind)));
    parts.push(make("div", { id: "what-if-without" }, make("p", {}, `${name}, without it`), answerTable(now, kind)));
  }
  parts.push(make("div", {}, make("p", {}, `The last block's output moves by ${percent(moved[layer][column])} of its norm.`)));
  byId("what-if-answers").replaceChildren(...parts);
}
panel(["question", "off"], drawWhatIf);

function setUpWhatIf() {
  const measures = [["answer", "the answer's change"], ["moved", "how far the states move"]];
  fill(byId("what-if-measure"), record.predictions.length ? measures : measures.slice(1));
  byId("what-if-measure").addEventListener("change", drawWhatIf);
}
