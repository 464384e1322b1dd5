// Elements, numbers as text, colours, strips of values, and the note that follows the pointer.

const byId = (id) => document.getElementById(id);

/** make("td", {className: "number"}, "0.12"): children are elements, or text that is never read as HTML. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("aria-") || name === "role" || name.startsWith("data-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** A table of rows, each an element or a list of cells, which are elements or text. */
function table(heads, rows, properties = {}) {
  const body = rows.map((cells) => (cells instanceof Element ? cells : make("tr", {}, ...cells.map(cell))));
  const head = make("thead", {}, make("tr", {}, ...heads.map((name) => make("th", { scope: "col" }, name))));
  return make("table", properties, ...(heads.length ? [head] : []), make("tbody", {}, ...body));
}

const cell = (content) => (content instanceof HTMLTableCellElement ? content : make("td", {}, content));

const number = (value) => make("td", { className: "number" }, value);
const token = (text) => make("bdi", { className: "token" }, text);

/** Attention has four decimals here, and no more. */
const fourDecimals = (value) => value.toFixed(4);
const percent = (value) => `${(100 * value).toFixed(2)} %`;
/** Four digits, however large. */
function digits(value) {
  const size = Math.abs(value);
  return size === 0 ? "0" : size >= 1000 || size < 0.001 ? value.toExponential(2) : value.toPrecision(4);
}
/** How many decimals a number has that may be wrong by so much. */
const decimalsFor = (error) => Math.max(0, Math.ceil(-Math.log10(error)));
/** An error as it is said: one digit, rounded up. */
function atMost(error) {
  const unit = 10 ** Math.floor(Math.log10(error));
  return (Math.ceil(error / unit) * unit).toPrecision(1);
}
/** A number in ever fewer letters: with so many decimals, without the 0 before its point, with a decimal less, … */
function shorter(value, most, { least = 0, write = (decimals) => value.toFixed(decimals) } = {}) {
  return counted(most - least + 1).flatMap((fewer) => {
    const written = write(most - fewer);
    return [written, written.replace(/^([+−-]?)0\./, "$1.")];
  });
}
const signed = (value, text) => (value > 0 ? "+" : "") + text(value).replaceAll("-", "−");

/** A bar as wide as a share of its cell. */
function barOf(share) {
  const bar = make("span", { className: "bar" });
  bar.style.width = `${100 * share}%`;
  bar.hidden = share === 0;
  return bar;
}

// --- Colours ---------------------------------------------------------------------------------------------------------

let palette;

/** The colours that the style has now, as red, green and blue; to be read again when light and dark change. */
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  palette = {};
  for (const name of ["none", "much", "plus", "minus", "ink", "soft", "paper", "accent"]) {
    const hex = style.getPropertyValue(`--${name}`).trim();
    palette[name] = [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
  }
}

function mixed(from, to, share) {
  const part = Math.min(1, Math.max(0, share));
  return from.map((value, channel) => Math.round(value + (to[channel] - value) * part));
}

/** 0 to 1, from paper to ink; the square root shows small shares as well. */
const shareColour = (share) => mixed(palette.none, palette.much, Math.sqrt(share));
/** Blue above zero, orange below. */
const signColour = (share) => mixed(palette.none, share < 0 ? palette.minus : palette.plus, Math.abs(share));
const css = (rgb) => `rgb(${rgb.join(" ")})`;
/** Black or white, whichever is read better on a colour: of luminance 0.18 on, it is black (WCAG 2, contrast ratio). */
function inkOn(rgb) {
  const [red, green, blue] = rgb.map((value) => (value > 10 ? ((value / 255 + 0.055) / 1.055) ** 2.4 : value / 3295));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

/** A canvas of one pixel a value, scaled by the style. */
function pixels(rows, columns, colourOf, properties = {}) {
  const canvas = make("canvas", { width: columns, height: rows, ...properties });
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const [red, green, blue] = colourOf(row, column);
      const place = 4 * (row * columns + column);
      image.data[place] = red;
      image.data[place + 1] = green;
      image.data[place + 2] = blue;
      image.data[place + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Where colours end: at three root mean squares, so that one large value doesn't hide the others. */
function scaleOf(values) {
  return 3 * Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length) || 1;
}

/**
 * One vector as colours, on a scale of its own or on one that strips share, so that they can be compared.
 * error: by how much a value may differ from the one that Python had; it decides how many digits are shown.
 * Mouse and arrow keys say each value; up and down go to the table's other strips, of which Tab reaches one.
 */
function strip(values, name, error, scale = scaleOf(values)) {
  const decimals = decimalsFor(error);
  const label = `${name}, ${values.length} values`;
  const canvas = pixels(1, values.length, (_, column) => signColour(values[column] / scale), {
    className: "strip", role: "img", "aria-label": label,
  });
  const within = (dimension) => Math.min(values.length - 1, Math.max(0, dimension));
  const say = (dimension, x, y) => showTip(x, y, `${name}, dimension ${dimension}: ${values[dimension].toFixed(decimals)} ± ${atMost(error)}`);
  for (const kind of ["pointermove", "click"]) { // a finger taps
    canvas.addEventListener(kind, (event) => {
      const box = canvas.getBoundingClientRect();
      say(within(Math.floor(((event.clientX - box.left) / box.width) * values.length)), event.clientX, event.clientY);
    });
  }
  canvas.addEventListener("pointerleave", hideTip);
  canvas.addEventListener("blur", hideTip);
  canvas.tabIndex = -1;
  canvas.cursor = 0;
  canvas.tell = () => {
    const box = canvas.getBoundingClientRect();
    say(canvas.cursor, box.left + ((canvas.cursor + 0.5) / values.length) * box.width, box.top + box.height / 2);
  };
  canvas.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key];
    if (!step) return;
    event.preventDefault();
    const strips = [...canvas.closest("table").querySelectorAll(".strip")];
    const next = strips[strips.indexOf(canvas) + step[0]];
    if (!next) return;
    next.cursor = Math.min(within(canvas.cursor + step[1]), next.width - 1);
    canvas.tabIndex = -1;
    next.tabIndex = 0;
    next.focus({ preventScroll: next === canvas });
    next.tell();
  });
  return canvas;
}

/** Tab reaches the first strip of a table. */
function openStrips(table) {
  const first = table.querySelector(".strip");
  if (first) first.tabIndex = 0;
}

// --- The note at the pointer -----------------------------------------------------------------------------------------

function showTip(x, y, text) {
  const tip = byId("tip");
  tip.textContent = text;
  tip.hidden = false;
  const right = Math.min(x + 14, window.innerWidth - tip.offsetWidth - 4);
  const below = y + 18 + tip.offsetHeight > window.innerHeight ? y - tip.offsetHeight - 10 : y + 18;
  tip.style.left = `${Math.max(4, right)}px`;
  tip.style.top = `${Math.max(4, below)}px`;
}

function hideTip() {
  byId("tip").hidden = true;
}
