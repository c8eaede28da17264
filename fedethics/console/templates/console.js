// Follows what happens: every few seconds the same page is read, and the content is put in its
// place where it has changed. Nothing else is loaded, and nothing is sent.
"use strict";
const EVERY_MS = 3000;

async function look() {
  if (document.hidden || !document.querySelector("main section")) return;
  const answer = await fetch(location.pathname, { credentials: "same-origin" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const now = page.querySelector("main");
  const shown = document.querySelector("main");
  if (now === null || now.innerHTML === shown.innerHTML) return;
  // A reader who is inside keeps the place: links and regions are found again by their order.
  const inside = [...shown.querySelectorAll("a, [tabindex]")].indexOf(document.activeElement);
  const scrolled = [...shown.querySelectorAll(".scroll")].map((each) => each.scrollLeft);
  shown.replaceChildren(...now.childNodes);
  shown.querySelectorAll(".scroll").forEach((each, at) => { each.scrollLeft = scrolled[at] ?? 0; });
  if (inside >= 0) shown.querySelectorAll("a, [tabindex]")[inside]?.focus({ preventScroll: true });
}

setInterval(() => { look().catch(() => {}); }, EVERY_MS);
