// Keeps an open page up to date: when the server says that something changed, the page is asked for again, and
// only what differs is exchanged, so that focus, scrolling and opened parts stay. Without this the page works too.
"use strict";

(() => {
  const main = document.querySelector("main[data-live]");
  const shown = document.getElementById("live");
  const SOONEST = 1000;
  let fetching = false, again = false, notBefore = 0;

  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.sure;
    if (question && !window.confirm(question)) event.preventDefault();
  });

  if (!main || !window.EventSource) return;

  const say = (text) => {
    if (shown.textContent === text) return;
    shown.hidden = false;
    shown.textContent = text;
  };

  const keyOf = (node) => (node.nodeType === Node.ELEMENT_NODE && node.id) || null;

  const same = (old, fresh) =>
    old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName && keyOf(old) === keyOf(fresh);

  const takeAttributes = (old, fresh) => {
    for (const { name } of [...old.attributes])
      if (!fresh.hasAttribute(name) && !(old.nodeName === "DETAILS" && name === "open")) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes)
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  };

  const take = (old, fresh) => {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.isEqualNode(fresh)) return;
    takeAttributes(old, fresh);
    takeChildren(old, fresh);
  };

  const takeChildren = (old, fresh) => {
    const named = new Map([...old.children].filter(keyOf).map((child) => [child.id, child]));
    let here = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const known = keyOf(wanted) && named.get(keyOf(wanted));
      if (known && known !== here && same(known, wanted)) old.insertBefore(known, here);
      const candidate = known && same(known, wanted) ? known : here;
      if (candidate && same(candidate, wanted)) {
        take(candidate, wanted);
        here = candidate.nextSibling;
      } else {
        old.insertBefore(document.importNode(wanted, true), here);
      }
    }
    while (here) {
      const next = here.nextSibling;
      here.remove();
      here = next;
    }
  };

  // A picture that was not there yet may be there when its sample has moved on.
  const askForTiles = () => {
    for (const picture of main.querySelectorAll("img[src^='/pictures/']"))
      if (picture.complete && picture.naturalWidth === 64 && picture.naturalHeight === 64)
        fetch(picture.src, { cache: "default" }).then((answer) => {
          if (answer.headers.get("content-type") === "image/jpeg") picture.src = `${picture.src.split("?")[0]}?made`;
        }).catch(() => {});
  };

  const refresh = async () => {
    if (fetching) { again = true; return; }
    fetching = true;
    const began = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, cache: "no-store" });
      if (answer.redirected && new URL(answer.url).pathname === "/login") { location.reload(); return; }
      if (answer.ok) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const fresh = page.querySelector("main[data-live]");
        if (fresh) {
          document.title = page.title;
          take(main, fresh);
          askForTiles();
          say("Up to date");
        }
      }
    } catch {
      say("Not connected: what you see may be old");
    }
    // A page that takes long to make is asked for the more rarely.
    notBefore = performance.now() + Math.max(SOONEST, 5 * (performance.now() - began));
    fetching = false;
    if (again) { again = false; soon(); }
  };

  let waiting = null;
  const soon = () => {
    if (waiting !== null || document.hidden) { again = again || document.hidden; return; }
    waiting = setTimeout(() => { waiting = null; refresh(); }, Math.max(0, notBefore - performance.now()));
  };

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && again) { again = false; soon(); }
  });

  const events = new EventSource("/live");
  events.addEventListener("change", soon);
  events.addEventListener("open", () => { say("Up to date"); soon(); });
  events.addEventListener("error", () => say("Not connected: what you see may be old"));
})();
