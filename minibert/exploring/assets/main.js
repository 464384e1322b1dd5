// The start: reads the data, fills the head of the page, draws every panel.

function drawHeader() {
  const { name, architecture, parameters, layers, heads: headCount, hidden, head_size: size, intermediate, activation } = record.model;
  const some = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
  byId("model-name").textContent = name;
  byId("model-facts").textContent =
    `${architecture}: ${some(layers, "block")} of ${some(headCount, "head")}, hidden size H = ${hidden}, head size D = ${size}, feed-forward size ${intermediate} (${activation}), ` +
    `${parameters.toLocaleString("en")} parameters; ${record.tokens.length} tokens`;
  byId("texts").replaceChildren(...record.texts.map((text) => make("div", { className: "text", dir: "auto" }, text)));
  byId("left-out").replaceChildren(...record.left_out.map((sentence) => make("li", {}, sentence)));
  byId("left-out").hidden = record.left_out.length === 0;
  byId("opening").textContent = record.opening.why;
}

function drawRounding() {
  const rows = record.rounding.map(({ name, step, largest_error: error }) => [name, number(step ? digits(step) : ""), number(digits(error))]);
  byId("rounding").replaceChildren(table(["values", "largest step", "largest error"], rows));
}

/** What the browser scrolls to stands below what stays at the upper edge. */
function makeRoomForChoice() {
  document.documentElement.style.scrollPaddingTop = `${byId("choice").offsetHeight + 8}px`;
}

async function start() {
  record = await readData();
  readPalette();
  const parts = [setUpChoice, setUpAttention, setUpPair, setUpWay, setUpPredictions, setUpWhatIf, setUpSaliency, setUpContributions, setUpCompare, setUpPictures, setUpAddress];
  for (const setUp of parts) setUp();
  drawHeader();
  drawRounding();
  drawAll();
  makeRoomForChoice();
  followAddress();
  markPanel();
  // Canvases know no style sheets: what is drawn follows the light, and the width of the window.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readPalette(); drawAll(); });
  let width = window.innerWidth;
  let resized;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return; // on a phone the height changes during scrolling
    width = window.innerWidth;
    clearTimeout(resized);
    resized = setTimeout(() => { drawAll(); makeRoomForChoice(); }, 150);
  });
  document.documentElement.dataset.ready = "true";
}

start();
