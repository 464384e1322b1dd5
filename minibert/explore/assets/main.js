// The start: reads the data, fills the head of the page, draws every panel.

function drawHeader() {
  const { name, architecture, parameters, layers, heads: headCount, hidden, head_size: size, intermediate, activation } = record.model;
  byId("model-name").textContent = name;
  byId("model-facts").textContent =
    `${architecture}: ${layers} blocks of ${headCount} heads, H = ${hidden}, D = ${size}, feed-forward ${intermediate} wide (${activation}), ` +
    `${parameters.toLocaleString("en")} parameters; ${record.tokens.length} tokens`;
  byId("texts").replaceChildren(...record.texts.map((text) => make("div", { className: "text", dir: "auto" }, text)));
  byId("left-out").replaceChildren(...record.left_out.map((sentence) => make("li", {}, sentence)));
  byId("left-out").hidden = record.left_out.length === 0;
  const there = [...document.querySelectorAll("main > section")].filter((section) => !section.hidden);
  const title = (section) => section.querySelector("h2").textContent;
  byId("contents").replaceChildren(...there.map((section) => make("a", { href: `#${section.id}` }, title(section))));
  for (const section of there) section.setAttribute("aria-label", title(section));
}

function drawRounding() {
  const rows = record.rounding.map(({ name, step, largest_error: error }) => [name, number(step ? digits(step) : ""), number(digits(error))]);
  byId("rounding").replaceChildren(table(["values", "largest step", "largest error"], rows));
}

async function start() {
  record = await readData();
  readPalette();
  for (const setUp of [setUpWay, setUpAttention, setUpPredictions, setUpWhatIf, setUpSaliency, setUpCompare]) setUp();
  drawHeader();
  drawRounding();
  setUpChoice();
  drawAll();
  // Canvases know no style sheets: what is drawn follows the light, and the width of the window.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readPalette(); drawAll(); });
  let width = window.innerWidth;
  let waiting;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return; // on a phone the height changes while one scrolls
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 150);
  });
  document.documentElement.dataset.ready = "true";
}

start();
