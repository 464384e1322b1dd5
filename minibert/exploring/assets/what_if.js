// What if a head or a block were switched off: what Python got when it did so.

function drawWhatIf() {
  const { layers, heads: headCount } = record.model;
  const ofAnswer = choice.effect === "answer";
  const { moved, values } = record.what_if;
  const before = ofAnswer ? question().answers[0].value : 0;
  const numbers = ofAnswer ? values[choice.question].map((row) => row.map((value) => value - before)) : moved;
  const largest = Math.max(...numbers.flat().map(Math.abs)) || 1;
  const scale = ofAnswer ? question().scale : "number";
  const written = (value) => {
    if (!ofAnswer) return percent(value);
    return scale === "number" ? signed(value, digits) : `${signed(100 * value, (points) => points.toFixed(2))} points`;
  };
  const short = (value) => {
    if (!ofAnswer) return shorter(100 * value, 2);
    const shown = scale === "number" ? value : 100 * value;
    const forms = shorter(shown, 2, { write: (decimals) => signed(shown, (number) => number.toFixed(decimals)) });
    return scale === "number" ? [signed(value, digits), ...forms] : forms;
  };
  byId("what-if-about").textContent = ofAnswer
    ? `how the ${scale === "number" ? "score" : "probability, in percentage points,"} of “${question().answers[0].answer}” (${question().name}) changes; blue: it rises, orange: it falls; the strongest colour is ${written(largest).replace("+", "")}`
    : `how far the last block's output is from what it was, divided by its norm and averaged over the tokens; the strongest colour is the largest value, ${written(largest)}`;
  heatmap(byId("what-if-grid"), {
    rows: blocks(), columns: [...heads(), "block"], label: "Each head and block switched off", most: 76, heads: true,
    colour: (layer, column) => ofAnswer ? signColour(numbers[layer][column] / largest) : mixed(palette.none, palette.much, numbers[layer][column] / largest),
    text: (layer, column) => short(numbers[layer][column]),
    says: (layer, column) => `${column < headCount ? `block ${layer} without head ${column}` : `without block ${layer}`}: ${written(numbers[layer][column])}`,
    chosen: choice.off, choose: (layer, column) => choose({ off: [layer, column] }),
  });
  const [layer, column] = choice.off;
  byId("what-if-title").textContent = column < headCount ? `Block ${layer} without head ${column}` : `Without block ${layer}`;
  const parts = [];
  if (record.predictions.length) {
    const { answers, scale: kind, name } = question();
    const now = record.what_if.answers[choice.question][layer][column];
    parts.push(make("div", {}, make("p", {}, `${name}, with everything`), answerTable(answers.slice(0, now.length), kind)));
    parts.push(make("div", { id: "what-if-without" }, make("p", {}, `${name}, without it`), answerTable(now, kind)));
  }
  parts.push(make("div", {}, make("p", {}, `The last block's output moves by ${percent(moved[layer][column])} of its norm.`)));
  byId("what-if-answers").replaceChildren(...parts);
}
panel(["question", "off", "effect"], drawWhatIf);

function setUpWhatIf() {
  const measures = [["answer", "how the answer changes"], ["moved", "how far the last block's output moves"]];
  offer("effect", record.predictions.length ? measures : measures.slice(1));
}
