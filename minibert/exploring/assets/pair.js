// Which head looks from one token to another: the attention between the two chosen tokens, in every head.

function drawPair() {
  const { token: from, key: to, order } = choice;
  const piece = (at) => shortened(record.tokens[at].piece);
  const value = ([layer, head]) => record.attention.probabilities.at(layer, head, from, to);
  const all = counted(record.model.layers).flatMap((layer) => counted(record.model.heads).map((head) => [layer, head]));
  if (order === "value") all.sort((one, other) => value(other) - value(one)); // equal ones stay in their order
  const rows = all.map(([layer, head], place) => {
    const isChosen = layer === choice.layer && head === choice.head;
    const button = choiceButton(`${layer}.${head}`, isChosen, (step) => {
      const next = all[place + step];
      if (next) choose({ layer: next[0], head: next[1] });
    });
    button.setAttribute("aria-label", `block ${layer}, head ${head}`);
    const row = make("tr", { className: isChosen ? "chosen" : "" },
      make("td", {}, button), number(fourDecimals(value([layer, head]))), make("td", { className: "bar-cell" }, barOf(value([layer, head]))));
    row.addEventListener("click", () => choose({ layer, head }));
    return row;
  });
  const made = table(["block.head", "attention", ""], rows, { className: "wide" });
  for (const [place, name] of ["head", "value"].entries()) {
    const head = made.querySelectorAll("th")[place];
    const button = make("button", { type: "button", title: `sort by ${head.textContent}` }, head.textContent);
    button.addEventListener("click", () => choose({ order: name }));
    head.setAttribute("aria-sort", order !== name ? "none" : name === "head" ? "ascending" : "descending");
    head.replaceChildren(button);
  }
  const box = byId("pair");
  const scrolled = box.scrollTop;
  box.replaceChildren(made);
  box.scrollTop = scrolled;
  byId("pair-title").textContent = `Which head looks from “${piece(from)}” to “${piece(to)}”?`;
}
panel(["layer", "head", "token", "key", "order"], drawPair);

function setUpPair() {
  offer("order", [["value"], ["head"]]);
}
