// What is chosen: a block, a head, a token and an answer. Panels that use one of them draw themselves anew.

let record; // what Python computed
const choice = { layer: 0, head: 0, token: 0, key: 0, question: 0, off: [0, 0] };
const panels = [];

/** Registers a panel: `draw` is called at the start, and when one of what it `uses` is chosen anew; or the "filters". */
function panel(uses, draw) {
  panels.push({ uses, draw });
}

function choose(changes) {
  const changed = Object.keys(changes).filter((name) => choice[name] !== changes[name]);
  Object.assign(choice, changes);
  for (const name of ["layer", "head", "token", "question"]) {
    const select = byId(`choose-${name}`);
    if (name in changes && select.options.length) select.value = changes[name];
  }
  drawThose(({ uses }) => uses.some((name) => changed.includes(name)));
}

function drawAll() {
  drawThose(() => true);
}

/** Draws some panels anew. Where that takes away what has the focus, what then stands in its place gets it. */
function drawThose(wanted) {
  const focused = document.activeElement;
  const place = focused.closest("[id]");
  const reachable = () => [...(place?.querySelectorAll("button, canvas") ?? [])];
  const at = reachable().indexOf(focused);
  for (const entry of panels) if (wanted(entry)) entry.draw();
  if (!focused.isConnected) reachable()[at]?.focus({ preventScroll: true });
}

/**
 * One of a column of buttons, the chosen one or not: Tab reaches the chosen one alone, and the arrow keys go on from there.
 * choose(step)    chooses this one (0), the one above (-1) or below (1), where it is there
 */
function choiceButton(text, isChosen, choose) {
  const button = make("button", { type: "button", "aria-pressed": String(isChosen), tabIndex: isChosen ? 0 : -1 }, token(text));
  button.addEventListener("click", () => choose(0));
  button.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key]?.[0];
    if (!step) return;
    event.preventDefault();
    const column = button.closest("[id]"); // it is drawn anew, with other buttons
    choose(step);
    column.querySelector('[aria-pressed="true"]').focus();
  });
  return button;
}

/** Fills a select: [value, name] each. */
function fill(select, options) {
  select.replaceChildren(...options.map(([value, name]) => make("option", { value }, name)));
}

const counted = (count) => Array.from({ length: count }, (_, index) => index);
const pieceAt = (position) => `${position} ${shortened(record.tokens[position].piece)}`;
const shortened = (text, most = 24) => (text.length > most ? `${text.slice(0, most)}…` : text);
const pieces = () => record.tokens.map((entry) => shortened(entry.piece, 16));
const blocks = () => counted(record.model.layers).map((layer) => `block ${layer}`);
const heads = () => counted(record.model.heads).map(String);
const question = () => record.predictions[choice.question];

function setUpChoice() {
  fill(byId("choose-layer"), counted(record.model.layers).map((layer) => [layer, layer]));
  fill(byId("choose-head"), counted(record.model.heads).map((head) => [head, head]));
  fill(byId("choose-token"), record.tokens.map((entry) => [entry.position, pieceAt(entry.position)]));
  fill(byId("choose-question"), record.predictions.map((entry, place) => [place, entry.name]));
  byId("choose-question").parentElement.hidden = record.predictions.length === 0;
  for (const name of ["layer", "head", "token", "question"]) {
    byId(`choose-${name}`).addEventListener("change", (event) => choose({ [name]: Number(event.target.value) }));
  }
  const asked = record.predictions[0]?.position;
  const first = Math.min(1, record.tokens.length - 1);
  Object.assign(choice, { token: asked ?? first, key: first }); // nothing is drawn yet
  byId("choose-token").value = choice.token;
}
