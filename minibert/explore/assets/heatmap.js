// A table of colours: attention of tokens on tokens, or a figure of every head. Mouse and arrow keys say each value.

/**
 * Draws into `place`, anew at each call.
 *   rows, columns   names, one each
 *   colour(r, c)    red, green, blue
 *   text(r, c)      the value, written into the cell where there is room
 *   says(r, c)      what the note at the pointer says
 *   chosen          [r, c], marked; [r, null] marks a row
 *   choose(r, c)    called at a click, and at Enter
 *   most            pixels that a cell may be wide
 */
function heatmap(place, { rows, columns, label, colour, text, says, chosen, choose, most = 28 }) {
  const kept = place.querySelector("canvas") === document.activeElement ? place.cursor : null;
  const room = Math.max(160, place.clientWidth);
  const font = '12px ui-monospace, "DejaVu Sans Mono", Consolas, monospace';
  const measure = document.createElement("canvas").getContext("2d");
  measure.font = font;
  const widest = (names, limit) => Math.min(limit, Math.max(...names.map((name) => measure.measureText(name).width)) + 8);
  const left = Math.ceil(widest(rows, room * 0.3));
  const width = Math.max(2, Math.min(most, Math.floor((room - left - 2) / columns.length)));
  const height = Math.max(width < 12 ? width : 12, Math.min(width, 24));
  const upright = widest(columns, 1000) <= width + 4;
  const top = upright ? 18 : Math.ceil(widest(columns, 96));

  const wide = left + width * columns.length + 2;
  const high = top + height * rows.length + 2;
  const sharp = window.devicePixelRatio || 1;
  const canvas = make("canvas", { width: wide * sharp, height: high * sharp, tabIndex: 0, role: "img", "aria-label": label });
  canvas.style.width = `${wide}px`;
  canvas.style.height = `${high}px`;
  Object.assign(canvas.dataset, { left, top, cellWidth: width, cellHeight: height });
  place.replaceChildren(canvas);
  place.classList.add("heatmap");

  const context = canvas.getContext("2d");
  context.scale(sharp, sharp);
  context.font = font;
  context.textBaseline = "middle";
  const gap = width > 6 && height > 6 ? 1 : 0;
  rows.forEach((_, row) => columns.forEach((_, column) => {
    const rgb = colour(row, column);
    context.fillStyle = css(rgb);
    context.fillRect(left + column * width, top + row * height, width - gap, height - gap);
    const written = text && text(row, column);
    if (written && measure.measureText(written).width <= width - 4) {
      context.fillStyle = inkOn(rgb);
      context.textAlign = "center";
      context.fillText(written, left + (column + 0.5) * width, top + (row + 0.5) * height);
    }
  }));
  context.fillStyle = css(palette.soft);
  context.textAlign = "right";
  if (height >= 10) rows.forEach((name, row) => context.fillText(fitted(measure, name, left - 6), left - 4, top + (row + 0.5) * height));
  if (width >= 10) columns.forEach((name, column) => {
    context.save();
    context.translate(left + (column + 0.5) * width, top - 4);
    if (upright) context.textAlign = "center";
    else context.rotate(-Math.PI / 2);
    if (!upright) context.textAlign = "left";
    context.fillText(upright ? name : fitted(measure, name, top - 6), 0, upright ? -4 : 0);
    context.restore();
  });
  if (chosen && chosen[0] !== null && chosen[0] >= 0) {
    const [first, count] = chosen[1] === null ? [0, columns.length] : [chosen[1], 1];
    const mark = (colour, thick, inset) => {
      context.strokeStyle = css(colour);
      context.lineWidth = thick;
      const [x, y] = [left + first * width + inset, top + chosen[0] * height + inset];
      context.strokeRect(x, y, count * width - gap - 2 * inset, height - gap - 2 * inset);
    };
    if (gap) mark(palette.paper, 1, 1.5); // or the mark would not be seen on a cell of its own colour
    mark(palette.minus, 2, 0);
  }

  place.cursor = kept || [Math.max(0, chosen?.[0] ?? 0), Math.max(0, chosen?.[1] ?? 0)];
  const cellAt = (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - box.left - left) / width);
    const row = Math.floor((event.clientY - box.top - top) / height);
    return row >= 0 && row < rows.length && column >= 0 && column < columns.length ? [row, column] : null;
  };
  canvas.addEventListener("pointermove", (event) => {
    const found = cellAt(event);
    if (found) showTip(event.clientX, event.clientY, says(...found));
    else hideTip();
  });
  canvas.addEventListener("pointerleave", hideTip);
  canvas.addEventListener("blur", hideTip);
  canvas.addEventListener("click", (event) => {
    const found = cellAt(event);
    if (found) place.cursor = found;
    if (found && choose) choose(...found);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = ARROWS[event.key];
    if (event.key === "Enter" && choose) choose(...place.cursor);
    if (!step) return;
    event.preventDefault();
    place.cursor = [
      Math.min(rows.length - 1, Math.max(0, place.cursor[0] + step[0])),
      Math.min(columns.length - 1, Math.max(0, place.cursor[1] + step[1])),
    ];
    const box = canvas.getBoundingClientRect();
    const [row, column] = place.cursor;
    showTip(box.left + left + (column + 0.5) * width, box.top + top + (row + 0.5) * height, says(row, column));
  });
}

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function fitted(context, name, room) {
  if (context.measureText(name).width <= room) return name;
  let end = Math.min(name.length, 40);
  while (end > 1 && context.measureText(`${name.slice(0, end)}…`).width > room) end--;
  return `${name.slice(0, end)}…`;
}
