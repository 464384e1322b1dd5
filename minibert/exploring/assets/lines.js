// One head as lines between two columns of tokens: the stronger, the darker. Pointing at a token shows its own alone.

const LINE_HEIGHT = 20; // of a token, as in the style
let pointed = null; // ["looks" or "seen", position] while the pointer or the focus is on a token

function drawLines() {
  const { layer, head } = choice;
  pointed = null;
  const column = (side) => make("div", {}, ...record.tokens.map((entry, at) => {
    const button = make("button", { type: "button", className: `token ${side}`, "data-side": side, "data-at": at }, make("bdi", {}, shortened(entry.piece, 16)));
    button.setAttribute("aria-label", `${entry.piece}, position ${at}, ${side === "looks" ? "as the one that looks" : "as the one looked at"}`);
    button.tabIndex = at === choice.token ? 0 : -1;
    button.setAttribute("aria-pressed", String(at === (side === "looks" ? choice.token : choice.key)));
    return button;
  }));
  const canvas = make("canvas", { role: "img", "aria-label": `Attention of block ${layer}, head ${head} as lines` });
  const view = make("div", { className: "line-view" }, column("looks"), canvas, column("seen"));
  byId("lines").replaceChildren(view);
  const width = Math.max(80, canvas.clientWidth || 160);
  const height = LINE_HEIGHT * record.tokens.length;
  const sharp = window.devicePixelRatio || 1;
  Object.assign(canvas, { width: width * sharp, height: height * sharp });
  canvas.style.height = `${height}px`;
  canvas.getContext("2d").scale(sharp, sharp);
  strokeLines(canvas, width, height);

  const point = (event) => {
    const button = event.target.closest("button");
    pointed = button ? [button.dataset.side, Number(button.dataset.at)] : null;
    strokeLines(canvas, width, height);
    writeShares(view);
  };
  const leave = () => { pointed = null; strokeLines(canvas, width, height); writeShares(view); };
  view.addEventListener("pointerover", point);
  view.addEventListener("focusin", point);
  view.addEventListener("pointerleave", leave);
  view.addEventListener("focusout", leave);
  view.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) choose(button.dataset.side === "looks" ? { token: Number(button.dataset.at) } : { key: Number(button.dataset.at) });
  });
  view.addEventListener("keydown", (event) => {
    const button = event.target.closest("button");
    const step = ARROWS[event.key];
    if (!button || !step) return;
    event.preventDefault();
    const side = step[1] < 0 ? "looks" : step[1] > 0 ? "seen" : button.dataset.side;
    view.querySelector(`[data-side="${side}"][data-at="${Number(button.dataset.at) + step[0]}"]`)?.focus();
  });
}
panel(["layer", "head", "token", "key", "pairs"], drawLines);

function strokeLines(canvas, width, height) {
  const context = canvas.getContext("2d");
  const { layer, head } = choice;
  context.clearRect(0, 0, width, height);
  for (let from = 0; from < record.tokens.length; from++) {
    if (pointed && pointed[0] === "looks" && pointed[1] !== from) continue;
    for (let to = 0; to < record.tokens.length; to++) {
      if ((pointed && pointed[0] === "seen" && pointed[1] !== to) || !passes(from, to)) continue;
      const share = record.attention.probabilities.at(layer, head, from, to);
      if (share < 0.001) continue; // nothing that a screen could show
      const isChosen = from === choice.token && to === choice.key;
      context.strokeStyle = css(isChosen ? palette.minus : palette.plus);
      context.globalAlpha = isChosen ? 1 : Math.min(1, pointed ? 0.15 + share : share);
      context.lineWidth = 0.5 + 2.5 * share;
      context.beginPath();
      context.moveTo(2, (from + 0.5) * LINE_HEIGHT);
      context.lineTo(width - 2, (to + 0.5) * LINE_HEIGHT);
      context.stroke();
    }
  }
  context.globalAlpha = 1;
}

/** Beside the tokens of the other column: the numbers of the one pointed at. */
function writeShares(view) {
  const { layer, head } = choice;
  for (const button of view.querySelectorAll("button")) {
    const at = Number(button.dataset.at);
    const [side, mine] = pointed || [];
    button.querySelector("small")?.remove();
    button.classList.toggle("chosen", pointed !== null && button.dataset.side === side && at === mine);
    if (pointed === null || button.dataset.side === side) continue;
    const [from, to] = side === "looks" ? [mine, at] : [at, mine];
    if (!passes(from, to)) continue;
    const share = make("small", { className: "number" }, fourDecimals(record.attention.probabilities.at(layer, head, from, to)));
    if (button.dataset.side === "seen") button.append(" ", share);
    else button.prepend(share, " ");
  }
}
