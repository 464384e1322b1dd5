// Attention: small pictures of all heads, the chosen one as a matrix, and every head by one figure.

/** Name and meaning of a figure of heads. */
function figure(key) {
  const { cls, sep } = record.special_tokens;
  const between = (from, to) => `what tokens of ${from} give to tokens of ${to}; ${cls} and ${sep} belong to neither`;
  return {
    entropy: ["entropy", "bits; 0: looks at one token alone"], self: ["itself", "share on the token itself"],
    previous: ["previous", "share on the token before"], next: ["next", "share on the token after"],
    cls: [cls, `share on ${cls}`], sep: [sep, `share on all ${sep}`],
    a_to_a: ["A → A", between("A", "A")], a_to_b: ["A → B", between("A", "B")],
    b_to_a: ["B → A", between("B", "A")], b_to_b: ["B → B", between("B", "B")],
  }[key];
}

/** Whether the filters show what `from` gives to `to`. */
function passes(from, to) {
  const wanted = (id, at) => byId(id).value === "all" || Number(byId(id).value) === at;
  const segments = byId("filter-segments").value;
  const between = `${record.tokens[from].text}${record.tokens[to].text}`;
  return wanted("filter-from", from) && wanted("filter-to", to) && (segments === "all" || segments === between);
}

const shown = (id, count) => counted(count).filter((place) => byId(id).value === "all" || Number(byId(id).value) === place);

function drawGallery() {
  const { layers: layerCount, heads: headCount } = record.model;
  const layers = shown("filter-layer", layerCount);
  const heads = shown("filter-head", headCount);
  const size = record.tokens.length;
  const gallery = byId("gallery");
  // 22 or 44 to 116 pixels each, and as many columns as there are heads, so that arrow keys move as the eye does.
  gallery.style.gridTemplateColumns = `max-content repeat(${heads.length}, minmax(${heads.length > 6 ? 22 : 44}px, 116px))`;
  const children = ["head", ...heads].map((name) => make("span", { className: "column-name" }, String(name)));
  for (const layer of layers) {
    children.push(make("span", { className: "row-name" }, `block ${layer}`));
    for (const head of heads) {
      const { numbers, strides } = record.attention.probabilities;
      const start = layer * strides[0] + head * strides[1];
      const table = shareTable();
      const picture = pixels(size, size, (row, column) => table[numbers[start + row * size + column]]);
      const entropy = record.attention.figures.entropy[layer][head];
      const button = make("button", {
        type: "button", title: `block ${layer}, head ${head}: entropy ${entropy.toFixed(2)} bits`,
        "aria-label": `block ${layer}, head ${head}, entropy ${entropy.toFixed(2)} bits`,
        "data-layer": layer, "data-head": head,
      }, picture);
      button.addEventListener("click", () => choose({ layer, head }));
      children.push(button);
    }
  }
  gallery.replaceChildren(...children);
  markGallery();
}
panel([], drawGallery);

/** The colour of each of the 10,001 values that attention has on this page. */
function shareTable() {
  const key = palette.much.join();
  if (shareTable.key !== key) {
    const step = record.attention.probabilities.steps[0];
    Object.assign(shareTable, { key, colours: counted(10001).map((whole) => shareColour(whole * step)) });
  }
  return shareTable.colours;
}

/** The chosen head is marked, and is the one that Tab reaches. */
function markGallery() {
  const buttons = [...byId("gallery").querySelectorAll("button")];
  const isChosen = ({ dataset }) => Number(dataset.layer) === choice.layer && Number(dataset.head) === choice.head;
  const reached = buttons.find(isChosen) || buttons[0];
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(isChosen(button)));
    button.tabIndex = button === reached ? 0 : -1;
  }
}
panel(["layer", "head"], markGallery);

function moveInGallery(event) {
  const step = ARROWS[event.key];
  const now = event.target.closest("button");
  if (!step || !now) return;
  event.preventDefault();
  const layer = Number(now.dataset.layer) + step[0];
  const head = Number(now.dataset.head) + step[1];
  const next = byId("gallery").querySelector(`[data-layer="${layer}"][data-head="${head}"]`);
  if (!next) return;
  next.focus();
  choose({ layer, head });
}

function drawHead() {
  const { layer, head } = choice;
  byId("head-title").textContent = `Block ${layer}, head ${head}`;
  byId("head-figures").replaceChildren(...Object.entries(record.attention.figures).map(([key, values]) => {
    const [name, about] = figure(key);
    const written = key === "entropy" ? `${values[layer][head].toFixed(2)} bits` : percent(values[layer][head]);
    return make("div", { title: about }, make("dt", {}, name), make("dd", { className: "number" }, written));
  }));
  drawMatrix(byId("matrix"), record.attention.probabilities, `Attention of block ${layer}, head ${head}`);
}
panel(["layer", "head", "token", "filters"], drawHead);

/** A head's probabilities as a matrix: also of the second model, in the comparison. */
function drawMatrix(place, probabilities, label) {
  const { layer, head } = choice;
  const value = (from, to) => probabilities.at(layer, head, from, to);
  heatmap(place, {
    rows: pieces(), columns: pieces(), label, chosen: [choice.token, null],
    colour: (from, to) => (passes(from, to) ? shareColour(value(from, to)) : palette.paper),
    text: (from, to) => (passes(from, to) ? value(from, to).toFixed(2) : ""),
    says: (from, to) => `${pieceAt(from)} → ${pieceAt(to)}: ${fourDecimals(value(from, to))}`,
    choose: (from, to) => choose({ token: from, key: to }), most: 40,
  });
}

function drawFigures() {
  const key = byId("figure-measure").value;
  const [name, about] = figure(key);
  const values = record.attention.figures[key];
  const largest = key === "entropy" ? Math.log2(record.tokens.length) : 1;
  byId("figure-about").textContent = key === "entropy" ? `${about}; ${largest.toFixed(2)}: at all ${record.tokens.length} alike` : `${about}; in %`;
  const written = (value) => (key === "entropy" ? value.toFixed(2) : percent(value));
  heatmap(byId("figures"), {
    rows: blocks(), columns: heads(), label: `${name} of every head`, most: 76,
    colour: (layer, head) => mixed(palette.none, palette.much, values[layer][head] / largest),
    text: (layer, head) => withoutUnit(written(values[layer][head])),
    says: (layer, head) => `block ${layer}, head ${head}: ${written(values[layer][head])}`,
    chosen: [choice.layer, choice.head], choose: (layer, head) => choose({ layer, head }),
  });
}
panel(["layer", "head"], drawFigures);

function setUpAttention() {
  const tokens = record.tokens.map((entry) => [entry.position, pieceAt(entry.position)]);
  fill(byId("filter-layer"), [["all", "all"], ...counted(record.model.layers).map((layer) => [layer, layer])]);
  fill(byId("filter-head"), [["all", "all"], ...counted(record.model.heads).map((head) => [head, head])]);
  fill(byId("filter-from"), [["all", "all"], ...tokens]);
  fill(byId("filter-to"), [["all", "all"], ...tokens]);
  fill(byId("filter-segments"), [["all", "all"], ["00", "A → A"], ["01", "A → B"], ["10", "B → A"], ["11", "B → B"]]);
  byId("filter-segments-label").hidden = record.texts.length < 2;
  fill(byId("figure-measure"), Object.keys(record.attention.figures).map((key) => [key, figure(key)[0]]));
  for (const name of ["layer", "head"]) byId(`filter-${name}`).addEventListener("change", drawGallery);
  for (const name of ["from", "to", "segments"]) {
    byId(`filter-${name}`).addEventListener("change", () => drawThose(({ uses }) => uses.includes("filters")));
  }
  byId("figure-measure").addEventListener("change", drawFigures);
  byId("gallery").addEventListener("keydown", moveInGallery);
}
