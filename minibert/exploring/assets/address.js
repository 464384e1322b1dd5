// The choice in the address: a link and a reload bring it again, and the browser's way back goes from choice to choice.
//
//     page.html#attention&block=3&head=1&from=11&to=2     the panel, then choices; what is left out is as at the opening

const IN_ADDRESS = { // the word in the address -> the choice
  block: "layer", head: "head", from: "token", to: "key", question: "question", off: "off", blocks: "blocks", heads: "heads",
  pairs: "pairs", order: "order", figure: "figure", stream: "stream", effect: "effect",
};
const ALWAYS = ["block", "head", "from", "to"]; // also where they are as at the opening
const QUIET = 200; // milliseconds without another choice: an arrow key that is held down makes one entry, not fifty

const shownPanels = () => [...document.querySelectorAll("main > section:not([hidden])")];

/** The panel that has the focus, if it is in view; else the one that is at the upper edge. */
function panelInView() {
  const edge = byId("choice").getBoundingClientRect().bottom + 16;
  const focused = document.activeElement.closest("main > section");
  const box = focused?.getBoundingClientRect();
  if (box && box.bottom > edge && box.top < window.innerHeight) return focused.id;
  const begun = shownPanels().filter((section) => section.getBoundingClientRect().top <= edge);
  return (begun.at(-1) ?? shownPanels()[0]).id;
}

function address() {
  const words = Object.keys(IN_ADDRESS).filter((word) => {
    const name = IN_ADDRESS[word];
    return ALWAYS.includes(word) || String(choice[name]) !== String(opening[name]);
  });
  return `#${[panelInView(), ...words.map((word) => `${word}=${choice[IN_ADDRESS[word]]}`)].join("&")}`;
}

let waiting;
let manner = "replace";
let followed = null; // the address that the choice was last brought into agreement with

/** how: "assign" for another entry of the history, "replace" for none; where both are asked for, the entry is made. */
function keepInAddress(how) {
  if (window !== window.parent) return; // in a notebook's frame nobody sees the address, and Back belongs to the notebook
  if (how === "assign") manner = how;
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    const now = address();
    if (now !== location.hash) location[manner](location.href.split("#")[0] + now);
    followed = location.hash;
    manner = "replace";
  }, QUIET);
}

/** Chooses what the address names; what it names wrongly is passed over. */
function followAddress() {
  if (location.hash === followed) return; // written by the page itself
  followed = location.hash;
  const [place, ...parts] = location.hash.slice(1).split("&");
  const found = { ...opening };
  for (const part of parts) {
    const [word, text] = part.split("=");
    const name = IN_ADDRESS[word];
    const option = offered[name]?.find(([value]) => String(value) === text);
    if (option) found[name] = option[0];
  }
  choose(found);
  clearTimeout(waiting); // it stands in the address already
  manner = "replace";
  if (place !== panelInView()) goTo(place);
}

function goTo(id) {
  shownPanels().find((section) => section.id === id)?.scrollIntoView();
}

/** In the row of panels the one in view is marked, and the address names it. */
function markPanel() {
  const now = panelInView();
  const links = [...byId("contents").children];
  const link = links.find(({ hash }) => hash === `#${now}`);
  if (link.hasAttribute("aria-current")) return;
  for (const each of links) each.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  const row = byId("contents"); // which scrolls by itself on a narrow screen
  row.scrollLeft = link.offsetLeft - row.offsetLeft - (row.clientWidth - link.offsetWidth) / 2;
  keepInAddress("replace");
}

function setUpAddress() {
  opening = { ...choice };
  const there = shownPanels();
  const title = (section) => section.querySelector("h2").textContent;
  byId("contents").replaceChildren(...there.map((section) => make("a", { href: `#${section.id}` }, title(section))));
  for (const section of there) section.setAttribute("aria-label", title(section));
  byId("contents").addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link) return;
    event.preventDefault(); // the address keeps the other choices
    goTo(link.hash.slice(1));
    keepInAddress("assign");
  });
  window.addEventListener("hashchange", followAddress);
  window.addEventListener("scroll", markPanel, { passive: true });
}
