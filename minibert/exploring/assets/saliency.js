// Which tokens the chosen answer depends on.

function drawSaliency() {
  const values = record.saliency[choice.question];
  const largest = Math.max(...values.map(Math.abs)) || 1;
  byId("saliency-title").textContent = `${question().name}: what counts for or against “${question().answers[0].answer}”`;
  byId("saliency-tokens").replaceChildren(...record.tokens.map((entry, at) => {
    const rgb = signColour(values[at] / largest);
    const chip = make("span", { className: "token", title: `${pieceAt(at)}: ${digits(values[at])}` },
      make("bdi", {}, shortened(entry.piece, 40)), make("span", { className: "number" }, signed(values[at], digits)));
    chip.style.background = css(rgb);
    chip.style.color = inkOn(rgb);
    return chip;
  }));
}

function setUpSaliency() {
  if (record.predictions.length === 0) byId("saliency").hidden = true;
  else panel(["question"], drawSaliency);
}
