// A panel as a picture: what the browser has laid out is painted once more, onto a canvas, and saved as a PNG.

const PICTURE_SCALE = 2; // pixels of the picture for each of the page's, so that its letters stay sharp in print
const MARGIN = 16;

/** Paints an element and all in it that is seen. */
function paint(context, element) {
  const style = getComputedStyle(element);
  const box = element.getBoundingClientRect();
  if (style.display === "none" || element.matches("details:not([open]) > :not(summary)")) return;
  context.save();
  if (box.width && box.height) paintBox(context, style, box);
  if (style.overflowX !== "visible" && style.display !== "inline") {
    context.beginPath();
    context.rect(box.left, box.top, box.width, box.height);
    context.clip();
  }
  if (element instanceof HTMLCanvasElement) {
    context.imageSmoothingEnabled = style.imageRendering !== "pixelated";
    context.drawImage(element, box.left, box.top, box.width, box.height);
  } else if (element instanceof HTMLSelectElement) {
    letters(context, style);
    context.textBaseline = "middle";
    context.fillText(element.selectedOptions[0]?.textContent ?? "", box.left + 6, box.top + box.height / 2);
  } else {
    for (const child of element.childNodes) {
      if (child instanceof Element) paint(context, child);
      else if (child instanceof Text) paintText(context, style, child);
    }
  }
  context.restore();
}

function paintBox(context, style, { left, top, width, height }) {
  context.fillStyle = style.backgroundColor;
  context.fillRect(left, top, width, height);
  const sides = [["Top", 0, 0, width, 0], ["Bottom", 0, height, width, 0], ["Left", 0, 0, 0, height], ["Right", width, 0, 0, height]];
  for (const [side, x, y, along, down] of sides) {
    const thick = parseFloat(style[`border${side}Width`]);
    if (!thick) continue;
    context.fillStyle = style[`border${side}Color`];
    context.fillRect(left + x - (x && thick), top + y - (y && thick), along || thick, down || thick);
  }
}

function letters(context, style) {
  context.fillStyle = style.color;
  context.font = `${style.fontStyle} ${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  context.direction = style.direction;
  context.textAlign = "left";
}

/** Word by word, where the browser has put it; a word that is broken over lines, letter by letter. */
function paintText(context, style, node) {
  letters(context, style);
  context.textBaseline = "alphabetic";
  const range = document.createRange();
  const put = (start, end) => {
    range.setStart(node, start);
    range.setEnd(node, end);
    const boxes = [...range.getClientRects()].filter(({ width }) => width);
    const text = node.data.slice(start, end);
    if (boxes.length === 1) {
      const { fontBoundingBoxAscent: above, fontBoundingBoxDescent: below } = context.measureText(text);
      context.fillText(text, boxes[0].left, boxes[0].top + (boxes[0].height - above - below) / 2 + above);
    } else if (boxes.length > 1) {
      let at = start;
      for (const letter of text) put(at, (at += letter.length));
    }
  };
  for (const word of node.data.matchAll(/\S+/g)) put(word.index, word.index + word[0].length);
}

/** The picture of a panel, with the model and the text over it. */
function pictureOf(section) {
  const title = make("div", { className: "picture-title" }, make("strong", {}, record.model.name),
    ...record.texts.map((text) => make("div", { className: "text", dir: "auto" }, shortened(text, 200))));
  section.prepend(title);
  section.classList.add("whole"); // without explanations, and boxes that scroll as large as what they hold
  const box = section.getBoundingClientRect();
  const width = Math.max(box.width, section.scrollWidth);
  const height = Math.max(box.height, section.scrollHeight);
  const canvas = make("canvas", { width: (width + 2 * MARGIN) * PICTURE_SCALE, height: (height + 2 * MARGIN) * PICTURE_SCALE });
  const context = canvas.getContext("2d");
  context.scale(PICTURE_SCALE, PICTURE_SCALE);
  context.fillStyle = css(palette.paper);
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.translate(MARGIN - box.left, MARGIN - box.top);
  paint(context, section);
  section.classList.remove("whole");
  title.remove();
  return canvas;
}

/** "minilm attention block 3 head 1.png": the model, the panel, and what is chosen of what it shows. */
function pictureName(section) {
  const { layer, head, token: from, key: to, off } = choice;
  const chosen = {
    block: `block ${layer}`, head: `head ${head}`, from: `from ${pieceAt(from)}`, to: `to ${pieceAt(to)}`,
    question: question()?.name ?? "", off: `without block ${off[0]}${off[1] < record.model.heads ? ` head ${off[1]}` : ""}`,
  };
  const words = [record.model.name, section.id, ...section.dataset.names.split(" ").map((name) => chosen[name])];
  return `${words.join(" ").replace(/[^\p{L}\p{M}\p{N}_-]+/gu, "-").replace(/^-|-$/g, "").slice(0, 120)}.png`;
}

function setUpPictures() {
  for (const section of document.querySelectorAll("main > section")) {
    const button = make("button", { type: "button", className: "save" }, "Save as a picture");
    button.addEventListener("click", () => {
      const name = pictureName(section);
      pictureOf(section).toBlob((blob) => {
        const link = make("a", { href: URL.createObjectURL(blob), download: name });
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 1000);
      });
    });
    section.querySelector("h2").after(button);
  }
}
