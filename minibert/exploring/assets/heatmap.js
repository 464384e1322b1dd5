// A table of colours: attention of tokens on tokens, or a figure of every head. Mouse and arrow keys say each value.

/**
 * Draws into `place`, anew at each call.
 *   rows, columns   names, one each
 *   colour(r, c)    red, green, blue
 *   text(r, c)      the value in its forms, the longest first; all cells are written in the first form that fits into all
 *   says(r, c)      what the note at the pointer says
 *   chosen          [r, c], marked; [r, null] marks a row, [null, c] a column
 *   choose(r, c)    called at a click, and at Enter
 *   most            pixels that a cell may be wide
 *   heads           whether cells are heads: on a phone they are large enough for a finger, and the table scrolls
 */
function heatmap(place, { rows, columns, label, colour, text, says, chosen, choose, most = 28, heads = false }) {
  const kept = place.querySelector("canvas") === document.activeElement ? place.cursor : null;
  const room = Math.max(160, place.clientWidth);
  const font = (size) => `${size}px ui-monospace, "DejaVu Sans Mono", Consolas, monospace`;
  const measure = document.createElement("canvas").getContext("2d");
  measure.font = font(12);
  const widest = (names, limit) => Math.min(limit, Math.max(...names.map((name) => measure.measureText(name).width)) + 8);
  const forNames = Math.max(48, room - 2 - 2 * columns.length); // what the narrowest cells leave
  const left = Math.ceil(widest(rows, Math.min(room * 0.3, forNames)));
  const texts = text && columns.length <= MOST_NUMBERS && rows.map((_, row) => columns.map((_, column) => text(row, column)));
  const forms = texts ? lettersOfForms(texts.flat()) : [];
  const widthOf = (letters, [size, apart]) => Math.ceil((letters * size * measure.measureText("0").width) / 12 + apart);
  const finger = heads && matchMedia("(max-width: 34rem)").matches ? FINGER : 0;
  const least = forms.length ? widthOf(forms.at(-1), LETTERS.at(-1)) : 2;
  const width = Math.max(least, finger, Math.min(most, Math.floor((room - left - 2) / columns.length)));
  const height = width < 12 && rows.length > 24 ? width : Math.max(12, finger, Math.min(width, 24)); // many small cells are squares
  const upright = widest(columns, 1000) <= width + 4;
  const top = upright ? 18 : Math.ceil(widest(columns, 96));

  const wide = left + width * columns.length + 2;
  const high = top + height * rows.length + 2;
  const sharp = window.devicePixelRatio || 1;
  const canvas = make("canvas", { width: wide * sharp, height: high * sharp, tabIndex: 0, role: "img", "aria-label": label });
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${high}px`;
  Object.assign(canvas.dataset, { left, top, cellWidth: width, cellHeight: height });
  const cursor = make("div", { className: "cursor" });
  place.replaceChildren(canvas, cursor);
  place.classList.add("heatmap");

  const context = canvas.getContext("2d");
  context.scale(sharp, sharp);
  context.textBaseline = "middle";
  const gap = width > 6 && height > 6 ? 1 : 0;
  const fitting = forms.flatMap((letters, form) => LETTERS.map((kind) => [form, kind, widthOf(letters, kind)])).find(([, , wide]) => wide <= width);
  if (fitting) context.font = font(fitting[1][0]);
  rows.forEach((_, row) => columns.forEach((_, column) => {
    const rgb = colour(row, column);
    context.fillStyle = css(rgb);
    context.fillRect(left + column * width, top + row * height, width - gap, height - gap);
    const written = fitting && texts[row][column][fitting[0]];
    if (written) {
      context.fillStyle = inkOn(rgb);
      context.textAlign = "center";
      context.fillText(written, left + (column + 0.5) * width, top + (row + 0.5) * height);
    }
  }));
  context.font = font(12);
  context.textAlign = "right";
  for (const row of labelled(rows.length, height, chosen?.[0])) {
    context.fillStyle = css(row === chosen?.[0] ? palette.ink : palette.soft);
    context.fillText(fitted(measure, rows[row], left - 6), left - 4, top + (row + 0.5) * height);
    if (height < LEAST) context.fillRect(left - 3, top + (row + 0.5) * height, 3, 1); // which of the small rows it is
  }
  for (const column of labelled(columns.length, width, chosen?.[1])) {
    const name = columns[column];
    context.fillStyle = css(column === chosen?.[1] ? palette.ink : palette.soft);
    if (width < LEAST) context.fillRect(left + (column + 0.5) * width, top - 3, 1, 3);
    context.save();
    context.translate(left + (column + 0.5) * width, top - 4);
    if (upright) context.textAlign = "center";
    else context.rotate(-Math.PI / 2);
    if (!upright) context.textAlign = "left";
    context.fillText(upright ? name : fitted(measure, name, top - 6), 0, upright ? -4 : 0);
    context.restore();
  }
  if (chosen) {
    const [[firstRow, rowCount], [first, columnCount]] = [rows, columns].map((names, axis) => (chosen[axis] === null ? [0, names.length] : [chosen[axis], 1]));
    const mark = (colour, thick, inset) => {
      context.strokeStyle = css(colour);
      context.lineWidth = thick;
      const [x, y] = [left + first * width + inset, top + firstRow * height + inset];
      context.strokeRect(x, y, columnCount * width - gap - 2 * inset, rowCount * height - gap - 2 * inset);
    };
    if (gap) mark(palette.paper, 1, 1.5); // or the mark would not be seen on a cell of its own colour
    mark(palette.minus, 2, 0);
  }

  place.cursor = kept || [Math.max(0, chosen?.[0] ?? 0), Math.max(0, chosen?.[1] ?? 0)];
  const say = (event, found) => showTip(event.clientX, event.clientY, says(...found));
  const frame = () => {
    const [row, column] = place.cursor;
    const sizes = { left: left + column * width, top: top + row * height, width, height };
    for (const [name, pixels] of Object.entries(sizes)) cursor.style[name] = `${pixels}px`;
  };
  frame();
  const cellAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - left) / width);
    const row = Math.floor((event.clientY - box.top - top) / height);
    return row >= 0 && row < rows.length && column >= 0 && column < columns.length ? [row, column] : null;
  };
  canvas.addEventListener("pointermove", (event) => {
    const found = cellAt(event);
    if (found) say(event, found);
    else hideTip();
  });
  canvas.addEventListener("pointerleave", hideTip);
  canvas.addEventListener("blur", hideTip);
  canvas.addEventListener("click", (event) => {
    const found = cellAt(event);
    if (!found) return;
    place.cursor = found;
    frame();
    if (choose) choose(...found);
    say(event, found); // a finger points at nothing until it taps
  });
  canvas.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key];
    if (!step && event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    if (!step) {
      if (choose) choose(...place.cursor);
      return;
    }
    place.cursor = [
      Math.min(rows.length - 1, Math.max(0, place.cursor[0] + step[0])),
      Math.min(columns.length - 1, Math.max(0, place.cursor[1] + step[1])),
    ];
    frame();
    cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
    const box = canvas.getBoundingClientRect();
    const [row, column] = place.cursor;
    showTip(box.left + left + (column + 0.5) * width, box.top + top + (row + 0.5) * height, says(row, column));
  });
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

const LETTERS = [[12, 4], [11, 4], [10, 4], [9, 4], [9, 1]]; // in cells: their size in pixels, and what parts two numbers
const MOST_NUMBERS = 32; // columns of a table that rather scrolls than has no numbers

/** The letters that the longest number has in each of its forms. */
function lettersOfForms(cells) {
  return counted(Math.max(...cells.map((forms) => forms.length)))
    .map((form) => Math.max(...cells.map((forms) => forms[form]?.length ?? 0)));
}

const FINGER = 32; // pixels to tap on
const LEAST = 10; // pixels of a row or column that has its name

/** Which of `count` places are named, where each has `size` pixels: all, or the chosen one and as many others as fit. */
function labelled(count, size, chosen) {
  const first = (chosen ?? -1) < 0 ? [] : [chosen];
  const apart = size < LEAST ? 12 : LEAST;
  const taken = [];
  for (const at of [...first, ...counted(count)]) {
    if (taken.every((other) => Math.abs(other - at) * size >= apart)) taken.push(at);
  }
  return taken.sort((one, other) => one - other);
}

function fitted(context, name, room) {
  if (context.measureText(name).width <= room) return name;
  let end = Math.min(name.length, 40);
  while (end > 1 && context.measureText(`${name.slice(0, end)}…`).width > room) end--;
  return `${name.slice(0, end)}…`;
}
