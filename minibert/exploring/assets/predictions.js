// What the output heads answer, and what they would answer at every earlier block.

/** Answers, then their values: bars for probabilities, numbers for scores. */
function answerTable(answers, scale, properties = {}) {
  return table([], answers.map(({ answer, value }) => {
    const cells = [make("td", {}, token(answer)), number(scale === "number" ? digits(value) : percent(value))];
    if (scale !== "number") cells.push(make("td", { className: "bar-cell" }, barOf(value)));
    return make("tr", {}, ...cells);
  }), { className: "answers", ...properties });
}

function drawPredictions() {
  const follow = (place) => {
    const asked = record.predictions[place];
    if (asked) choose({ question: place, ...(asked.position === null ? {} : { token: asked.position }) });
  };
  const list = record.predictions.map((entry, place) => {
    const button = choiceButton(entry.name, place === choice.question, (step) => follow(place + step));
    const { answer, value } = entry.answers[0];
    return make("tr", { className: place === choice.question ? "chosen" : "" }, make("td", {}, button), make("td", {}, token(answer)),
      number(entry.scale === "number" ? digits(value) : percent(value)), make("td", {}, make("code", {}, `minibert.${entry.head}`)));
  });
  byId("prediction-list").replaceChildren(table(["question", "best answer", "its value", "answered by"], list));
  byId("prediction-title").textContent = `${question().name}: ${question().scale === "number" ? "the scores" : "the likeliest answers"}`;
  byId("prediction-answers").replaceChildren(answerTable(question().answers, question().scale));
}

function drawLayers() {
  const { name, scale, layers, answers } = question();
  const chosen = answers[0].answer;
  byId("layers-title").textContent = `${name}: how “${chosen}” forms`;
  const written = (value) => (scale === "number" ? digits(value) : percent(value));
  const rows = layers.map(({ answers: best, value, rank }, place) => {
    const cells = best.map(({ answer, value: share }) => {
      const rgb = scale === "number" ? palette.none : shareColour(share);
      const chip = make("span", { className: "share" }, token(answer), " ", make("span", { className: "number" }, written(share)));
      chip.style.background = css(rgb);
      chip.style.color = inkOn(rgb);
      if (answer === chosen) chip.style.fontWeight = "700";
      return make("td", {}, chip);
    });
    const where = place === 0 ? "embeddings" : `block ${place - 1}`;
    return [make("th", { scope: "row" }, where), number(written(value)), number(rank), ...cells];
  });
  const heads = ["after", `for “${shortened(chosen)}”`, "its rank", ...layers[0].answers.map((_, place) => (place ? `no. ${place + 1}` : "best"))];
  byId("layers-table").replaceChildren(table(heads, rows));
}

function setUpPredictions() {
  if (record.predictions.length === 0) {
    for (const id of ["predictions", "layers"]) byId(id).hidden = true;
    return;
  }
  panel(["question"], drawPredictions);
  panel(["question"], drawLayers);
}
