// What is chosen: a block, a head, two tokens, an answer, and what is shown of them. Panels draw themselves anew.

let record; // what Python computed
const choice = {}; // token: the one that looks, From; key: the one looked at, To; off: [block, head or block]
const offered = {}; // what can be chosen: name -> [value, what is written for it] each
const panels = [];
let opening; // what is chosen when the page opens

/** Registers a panel: `draw` is called at the start, and when one of what it `uses` is chosen anew. */
function panel(uses, draw) {
  panels.push({ uses, draw });
}

/** Tells what can be chosen by a name, in the selects that bear it as well; the first is chosen. */
function offer(name, options) {
  offered[name] = options;
  choice[name] = options[0]?.[0];
  for (const select of document.querySelectorAll(`select[data-choice="${name}"]`)) {
    select.replaceChildren(...options.map(([value, written]) => make("option", { value }, written)));
    select.addEventListener("change", () => choose({ [name]: options[select.selectedIndex][0] }));
  }
}

function showChoice() {
  for (const select of document.querySelectorAll("select[data-choice]")) select.value = choice[select.dataset.choice];
}

function choose(changes) {
  const changed = Object.keys(changes).filter((name) => String(choice[name]) !== String(changes[name]));
  Object.assign(choice, changes);
  showChoice();
  drawThose(({ uses }) => uses.some((name) => changed.includes(name)));
  if (changed.length) keepInAddress("assign");
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

const counted = (count) => Array.from({ length: count }, (_, index) => index);
const pieceAt = (position) => `${position} ${shortened(record.tokens[position].piece)}`;
const quoted = (position) => `“${shortened(record.tokens[position].piece)}” at ${position}`;
const shortened = (text, most = 24) => (text.length > most ? `${text.slice(0, most)}…` : text);
const pieces = () => record.tokens.map((entry) => shortened(entry.piece, 16));
const blocks = () => counted(record.model.layers).map((layer) => `block ${layer}`);
const heads = () => counted(record.model.heads).map(String);
const question = () => record.predictions[choice.question];

function setUpChoice() {
  const { layers, heads: headCount } = record.model;
  const tokens = record.tokens.map((entry) => [entry.position, pieceAt(entry.position)]);
  offer("layer", counted(layers).map((layer) => [layer, layer]));
  offer("head", counted(headCount).map((head) => [head, head]));
  offer("token", tokens);
  offer("key", tokens);
  offer("question", record.predictions.map((entry, place) => [place, entry.name]));
  offer("off", counted(layers).flatMap((layer) => counted(headCount + 1).map((column) => [[layer, column]])));
  byId("choose-question").parentElement.hidden = record.predictions.length === 0;
  const { layer, head, from, to } = record.opening;
  const asked = record.predictions.findIndex(({ position }) => position === from);
  Object.assign(choice, { layer, head, token: from, key: to, question: Math.max(0, asked), off: [layer, head] }); // nothing is drawn yet
  showChoice();
}
