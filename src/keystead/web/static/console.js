// Keeps an open page true: asks every 5 seconds whether it changed, and changes values in place. Nothing moves by itself.
"use strict";
(() => {
  const EVERY = 5000, LIMIT = 12000, WHOLE = 12;
  const fresh = document.getElementById("fresh"), text = document.getElementById("fresh-text");
  if (!fresh) return;
  let tag = "", last = Date.now(), paused = false, waiting = null, asked = 0;

  const button = document.createElement("button");
  button.className = "quiet";
  button.textContent = "Pause";
  button.addEventListener("click", () => {
    paused = !paused;
    button.textContent = paused ? "Go on" : "Pause";
    show();
  });
  fresh.append(" ", button);
  const more = document.createElement("button");
  more.className = "button small";
  more.hidden = true;
  more.addEventListener("click", () => location.reload());
  fresh.append(" ", more);

  function show() {
    const seconds = Math.round((Date.now() - last) / 1000);
    const stale = Date.now() - last > LIMIT;
    fresh.classList.toggle("stale", stale || paused);
    text.textContent = paused ? "Paused" : stale ? `Not updated for ${seconds} s` : "Live";
  }

  const busy = (node) => node.contains(document.activeElement) && document.activeElement !== document.body || node.matches(":hover");

  // The element stays and its content changes: so what is announced, is announced.
  function put(node, now) {
    for (const { name, value } of now.attributes) node.setAttribute(name, value);
    node.replaceChildren(...document.importNode(now, true).childNodes);
  }

  function take(page) {
    let changes = 0;
    for (const node of document.querySelectorAll("[data-live]")) {
      const now = page.getElementById(node.id);
      if (!now || busy(node)) changes += !now || now.textContent !== node.textContent;
      else if (!now.isEqualNode(node)) put(node, now);
    }
    for (const list of document.querySelectorAll("[data-live-list]")) {
      const now = page.getElementById(list.id);
      const ids = (node) => node ? [...node.children].map((each) => each.querySelector("h3, th").textContent).join("\n") : "";
      if (ids(now) === ids(list) && !busy(list)) { if (!now.isEqualNode(list)) put(list, now); }
      else if (ids(now) !== ids(list)) changes += 1;
    }
    more.hidden = !changes;
    more.textContent = changes === 1 ? "1 change: show" : `${changes} changes: show`;
  }

  function ask() {
    if (paused || document.hidden || waiting) return;
    const request = waiting = new XMLHttpRequest();
    request.open("GET", location.href);
    request.responseType = "document";
    request.timeout = EVERY;
    request.setRequestHeader("X-Poll", "1");
    request.setRequestHeader("Accept", "text/html");  // at "/", other programs get the API
    asked += 1;
    // Ages are no news by the tag. So once a minute the page is read all the same, and they go on.
    if (tag && asked % WHOLE) request.setRequestHeader("If-None-Match", tag);
    request.onload = () => {
      if (request.responseURL && new URL(request.responseURL).pathname === "/login") location.reload();
      if (request.status === 200 && request.responseXML) {
        take(request.responseXML);
        tag = request.getResponseHeader("ETag") || "";
      }
      if (request.status === 200 || request.status === 304) last = Date.now();
    };
    request.onloadend = () => { waiting = null; show(); };
    request.send();
  }
  setInterval(ask, EVERY);
  setInterval(show, 1000);
})();
