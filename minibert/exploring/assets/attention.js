// Attention: small pictures of all heads, the chosen one as a matrix, and all heads by one measure.

/** Name and meaning of a measure of heads. */
function figure(key) {
  const { cls, sep } = record.special_tokens;
  const between = (from, to) => `the attention that tokens of text ${from} pay to tokens of text ${to}, in %; ${cls} and ${sep} belong to neither`;
  const on = (what) => `the attention that a token pays to ${what}, in %, averaged over the tokens`;
  const tokens = record.tokens.length;
  return {
    entropy: ["entropy", `how widely a head spreads its attention, in bits: 0 if each token looks at only one token, ${Math.log2(tokens).toFixed(2)} if at all ${tokens} equally`],
    self: ["itself", on("itself")], previous: ["token before", on("the token before it")], next: ["token after", on("the token after it")],
    cls: [cls, on(cls)], sep: [sep, on(`every ${sep}`)],
    a_to_a: ["A → A", between("A", "A")], a_to_b: ["A → B", between("A", "B")],
    b_to_a: ["B → A", between("B", "A")], b_to_b: ["B → B", between("B", "B")],
  }[key];
}

/** Whether the attention of `from` to `to` is to be shown. */
function passes(from, to) {
  if (choice.pairs === "from") return from === choice.token;
  if (choice.pairs === "to") return to === choice.key;
  return choice.pairs === "all" || choice.pairs === `${record.tokens[from].text}${record.tokens[to].text}`;
}

const LEAST_HEAD = 32; // pixels of a small picture, so that a finger hits it
const GAP = 3; // between small pictures, as in the style

function drawGallery() {
  const { layers: layerCount, heads: headCount } = record.model;
  const shown = (wanted, count) => counted(count).filter((place) => wanted === "all" || wanted === place);
  const layers = shown(choice.blocks, layerCount);
  const heads = shown(choice.heads, headCount);
  const size = record.tokens.length;
  const gallery = byId("gallery");
  // As many columns as there are heads, so that arrow keys move as the eye does; where that is too narrow, a block takes more rows.
  const most = Math.floor((gallery.clientWidth - 8 + GAP) / (LEAST_HEAD + GAP));
  const isWrapped = heads.length + 2 > most; // two for the names of the rows
  const columns = isWrapped ? Math.ceil(heads.length / Math.ceil(heads.length / most)) : heads.length;
  gallery.classList.toggle("wrapped", isWrapped);
  gallery.style.gridTemplateColumns = `${isWrapped ? "" : "max-content "}repeat(${columns}, minmax(${LEAST_HEAD}px, 116px))`;
  const children = isWrapped ? [] : ["head", ...heads].map((name) => make("span", { className: "column-name" }, String(name)));
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
      }, picture, ...(isWrapped ? [make("small", {}, String(head))] : []));
      button.addEventListener("click", () => choose({ layer, head }));
      children.push(button);
    }
  }
  gallery.replaceChildren(...children);
  markGallery();
}
panel(["blocks", "heads"], drawGallery);

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
panel(["layer", "head", "token", "key", "pairs"], drawHead);

/** A head's probabilities as a matrix: also of the second model, in the comparison. */
function drawMatrix(place, probabilities, label) {
  const { layer, head } = choice;
  const value = (from, to) => probabilities.at(layer, head, from, to);
  heatmap(place, {
    rows: pieces(), columns: pieces(), label, chosen: [choice.token, choice.key],
    colour: (from, to) => (passes(from, to) ? shareColour(value(from, to)) : palette.paper),
    text: (from, to) => (passes(from, to) ? shorter(value(from, to), 2, { least: 1 }) : []),
    says: (from, to) => `${pieceAt(from)} → ${pieceAt(to)}: ${fourDecimals(value(from, to))}`,
    choose: (from, to) => choose({ token: from, key: to }), most: 40,
  });
}

function drawFigures() {
  const key = choice.figure;
  const [name, about] = figure(key);
  const values = record.attention.figures[key];
  const largest = key === "entropy" ? Math.log2(record.tokens.length) : 1;
  byId("figure-about").textContent = about;
  const written = (value) => (key === "entropy" ? `${value.toFixed(2)} bits` : percent(value));
  heatmap(byId("figures"), {
    rows: blocks(), columns: heads(), label: `${name} of every head`, most: 76, heads: true,
    colour: (layer, head) => mixed(palette.none, palette.much, values[layer][head] / largest),
    text: (layer, head) => shorter(values[layer][head] * (key === "entropy" ? 1 : 100), 2),
    says: (layer, head) => `block ${layer}, head ${head}: ${written(values[layer][head])}`,
    chosen: [choice.layer, choice.head], choose: (layer, head) => choose({ layer, head }),
  });
}
panel(["layer", "head", "figure"], drawFigures);

function setUpAttention() {
  const { layers, heads: headCount } = record.model;
  offer("blocks", [["all", "all"], ...counted(layers).map((layer) => [layer, layer])]);
  offer("heads", [["all", "all"], ...counted(headCount).map((head) => [head, head])]);
  const between = [["00", "A → A"], ["01", "A → B"], ["10", "B → A"], ["11", "B → B"]];
  const alone = [["all", "all pairs of tokens"], ["from", "what From looks at"], ["to", "what looks at To"]];
  offer("pairs", record.texts.length < 2 ? alone : [...alone, ...between]);
  offer("figure", Object.keys(record.attention.figures).map((key) => [key, figure(key)[0]]));
  byId("gallery").addEventListener("keydown", moveInGallery);
}
