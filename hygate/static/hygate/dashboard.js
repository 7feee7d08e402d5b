/* The dashboard's own script: theme, countdowns on the server's clock, one dialog, and polling that rests with the tab. */
(function () {
  "use strict";
  const root = document.documentElement;
  const theme = localStorage.getItem("hygate-theme");
  if (theme) root.dataset.theme = theme;

  let ahead = 0; // the server's clock minus ours, in ms
  const pad = (n) => String(n).padStart(2, "0");
  const all = (query, act) => document.querySelectorAll(query).forEach(act);

  function clock(s) {
    s = Math.max(0, Math.ceil(s));
    const h = Math.floor(s / 3600), m = Math.floor((s % 3600) / 60);
    return h ? h + ":" + pad(m) + ":" + pad(s % 60) : m + ":" + pad(s % 60);
  }
  function age(s) {
    s = Math.max(0, Math.floor(s));
    return (s < 120 ? s + " s" : s < 7200 ? Math.floor(s / 60) + " min" : s < 172800 ? Math.floor(s / 3600) + " h" : Math.floor(s / 86400) + " days") + " ago";
  }
  function put(element, text) {
    if (element.textContent === text) return;
    if (element.firstChild && !element.firstElementChild) element.firstChild.data = text; // no new node each second
    else element.textContent = text;
  }
  // Only what can be seen counts on, for hundreds of tiles may lie below. A tile that is not drawn yet is asked itself:
  // asked for what is in it, the browser would draw it after all. Clocks turn at different moments, so they are looked
  // at four times a second: few at once, and none late.
  const COUNTING = "[data-ends], [data-since], progress[data-until]", TICK_MS = 250, LOOK_TICKS = 4;
  let seen = [], ticks = 0, scrolled = 0;
  function isSeen(element) {
    const box = (element.closest(".tile") || element).getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  }
  function look() {
    seen = [...document.querySelectorAll(COUNTING)].filter(isSeen);
    draw();
  }
  function draw() {
    const now = Date.now() + ahead;
    for (const e of seen) {
      if (e.dataset.ends) put(e, clock((+e.dataset.ends - now) / 1000));
      else if (e.dataset.since) put(e, age((now - +e.dataset.since) / 1000));
      else e.value = Math.max(0, Math.min(e.max, (+e.dataset.until - now) / 1000));
    }
  }
  function tick() {
    if (ticks++ % LOOK_TICKS) draw();
    else look();
  }
  addEventListener("scroll", () => {
    if (!scrolled) scrolled = requestAnimationFrame(() => { scrolled = 0; look(); });
  }, { passive: true });
  function setAhead() {
    const live = document.querySelector("#live [data-now]") || document.body;
    if (live.dataset.now) ahead = +live.dataset.now - Date.now();
  }
  function synchronise() {
    setAhead();
    look();
  }
  function marks() {
    all("[data-theme-choice]", (e) => e.setAttribute("aria-pressed", e.dataset.themeChoice === (root.dataset.theme || "auto")));
  }

  document.addEventListener("DOMContentLoaded", () => {
    synchronise();
    marks();
    picked();
    setInterval(tick, TICK_MS);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-choice], [data-close]");
    if (!button) return;
    if ("close" in button.dataset && button.closest("dialog")) {
      event.preventDefault();
      button.closest("dialog").close();
    } else if (button.dataset.themeChoice) {
      root.dataset.theme = button.dataset.themeChoice;
      localStorage.setItem("hygate-theme", button.dataset.themeChoice);
      marks();
    }
  });
  function allOf(box) { return document.querySelectorAll("#" + box.dataset.all + " input[type=checkbox]:not(:disabled)"); }
  function picked() {
    all("[data-all]", (box) => {
      const own = [...allOf(box)], count = own.filter((one) => one.checked).length;
      box.checked = own.length > 0 && count === own.length;
      box.indeterminate = count > 0 && count < own.length;
      box.closest("[data-js-only]").hidden = own.length < 2;
    });
  }
  document.addEventListener("change", (event) => {
    if ("all" in event.target.dataset) allOf(event.target).forEach((one) => { one.checked = event.target.checked; });
    picked();
  });
  document.addEventListener("keydown", (event) => {
    const opener = document.querySelector("[data-find]");
    if (!opener || event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey) return;
    event.preventDefault();
    if (!document.querySelector("dialog[open]")) opener.click();
  });
  // A form that is shown while it is typed: its second button sends it to a frame. A new frame each time, so that
  // the pictures of a minute's typing do not fill the Back button.
  let typing = 0;
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-preview]");
    if (!form) return;
    clearTimeout(typing);
    typing = setTimeout(() => {
      const old = document.querySelector("iframe[name=" + form.dataset.preview + "]"), fresh = old.cloneNode();
      fresh.removeAttribute("src");
      old.replaceWith(fresh);
      form.requestSubmit(form.querySelector("[formtarget]"));
    }, 400);
  });
  // A file that takes its time: says that it is being made, and how much of it is here. A page instead of it says why,
  // and is gone to. What is too long to be kept here, and what fails, is left to the browser.
  const MOST_ROWS = 200000;
  const told = document.createElement("p");
  told.className = "vh";
  told.setAttribute("role", "status");
  document.addEventListener("DOMContentLoaded", () => document.body.append(told));
  async function save(url, show) {
    const answer = await fetch(url, { redirect: "manual" });
    if (answer.type === "opaqueredirect") return location.assign(location.pathname);
    if (!answer.ok) throw new Error(answer.status);
    const parts = [], reader = answer.body.getReader();
    let lines = -1, bytes = 0; // the first line names the columns
    for (let one = await reader.read(); !one.done; one = await reader.read()) {
      parts.push(one.value);
      for (const byte of one.value) if (byte === 10) lines++;
      show(lines, bytes += one.value.length);
    }
    const link = document.createElement("a"), name = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") || "");
    link.href = URL.createObjectURL(new Blob(parts, { type: answer.headers.get("Content-Type") }));
    link.download = name ? name[1] : "";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }
  async function making(act, otherwise) {
    told.textContent = "The file is being made.";
    try {
      await act();
      told.textContent = "The file is here.";
    } catch (error) {
      told.textContent = "";
      otherwise();
    }
  }
  async function saveForm(form) {
    const busy = document.getElementById(form.dataset.file), button = form.querySelector("button:not([type=button])");
    const url = form.action + "?" + new URLSearchParams(new FormData(form));
    busy.hidden = false;
    button.disabled = true;
    await making(() => save(url, () => {}), () => form.submit());
    busy.hidden = true;
    button.disabled = false;
  }
  async function saveLink(link) {
    const words = link.lastChild, plain = words.textContent, rows = +link.dataset.rows;
    const size = (bytes) => bytes < 1e6 ? Math.ceil(bytes / 1000) + " kB" : (bytes / 1e6).toFixed(1) + " MB";
    const show = (lines, bytes) => put(words, plain + " " + (rows ? Math.min(99, Math.floor(100 * lines / rows)) + " %" : size(bytes)));
    link.setAttribute("aria-busy", "true");
    put(words, plain + " …");
    await making(() => save(link.href, show), () => location.assign(link.href));
    put(words, plain);
    link.removeAttribute("aria-busy");
  }
  document.addEventListener("submit", (event) => {
    if (!("file" in event.target.dataset)) return;
    event.preventDefault();
    saveForm(event.target);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-file]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || +link.dataset.rows > MOST_ROWS) return;
    event.preventDefault();
    if (!link.hasAttribute("aria-busy")) saveLink(link);
  });
  const asksAgain = (part) => /^every\b/.test((part && part.getAttribute("hx-trigger")) || "");
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && asksAgain(event.detail.elt)) event.preventDefault();
  });
  // what was asked for on purpose and failed is said; live parts ask again by themselves
  function tellFailed(event) {
    const asked = event.detail.requestConfig, answer = event.detail.xhr;
    if (!asked || asksAgain(event.detail.elt)) return;
    const said = document.getElementById("mishap"), reference = answer && answer.getResponseHeader("X-Reference");
    said.lastElementChild.textContent = said.dataset.words + (reference ? ` (${reference})` : "");
    said.hidden = false;
    document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
    said.scrollIntoView({block: "nearest"});
  }
  // A live part comes whole, and most of its hundreds of tiles are what they were. Lines that hold one element with an
  // id are compared with what stands there: where nothing but a moment is new, it is set, and the rest takes the place
  // of what stood there, each by itself. Everything else (another order, other lines between them) is left to htmx.
  const MOMENT = /( data-(?:now|since|ends|until)=")(\d+)"(?: value="\d+")?(?:>[^<]*)?/g; // and what a clock made of it
  const MOMENTS = "[data-now], [data-since], [data-ends], [data-until]";
  const SIGNS = { "&nbsp;": "\u00a0", "&#x27;": "'", "&quot;": '"' }; // escaped by the server or the browser, not by both
  function linesOf(html) {
    const lines = html.replace(/&(?:nbsp|#x27|quot);/g, (sign) => SIGNS[sign]).split("\n").map((one) => one.trim());
    return lines.filter(Boolean).map((text) => {
      const [, name, id] = /^<(\w+) (?:[^>]* )?id="([\w-]+)"/.exec(text) || [];
      const whole = name && (name === "input" || text.endsWith(`</${name}>`));
      return { text, id: whole ? id : "", told: text.replace(MOMENT, "$1$2") };
    });
  }
  const still = (line) => line.text.replace(MOMENT, "$1");
  function setMoments(element, text) {
    const own = [element, ...element.querySelectorAll(MOMENTS)].filter((one) => one.matches(MOMENTS));
    [...text.matchAll(MOMENT)].forEach(([, name, moment], at) => own[at].setAttribute(name.slice(1, -2), moment));
  }
  function putIn(element, fresh) {
    // whoever stands on it or is about to press it still does: a click needs its beginning and its end on one element
    if (element.contains(document.activeElement) || element.matches(":hover, :active")) {
      Idiomorph.morph(element, fresh, { morphStyle: "outerHTML" });
      return htmx.process(document.getElementById(fresh.id));
    }
    const counted = seen.some((one) => element.contains(one));
    element.replaceWith(fresh);
    if (counted) seen.push(...fresh.querySelectorAll(COUNTING));
    htmx.process(fresh);
  }
  let stands = null; // the lines of the last answer, while nothing but they made what stands there
  function patched(live, html) {
    const before = stands || linesOf(live.innerHTML), after = linesOf(html);
    const fits = (one, at) => one.id ? one.id === before[at].id : one.told === before[at].told;
    if (after.length !== before.length || !after.every(fits)) return false;
    const others = after.filter((one, at) => {
      if (one.told === before[at].told) return false;
      if (still(one) !== still(before[at])) return true;
      setMoments(document.getElementById(one.id), one.text);
      return false;
    });
    const fresh = document.createElement("template");
    fresh.innerHTML = others.map((one) => one.text).join("");
    [...fresh.content.children].forEach((one) => putIn(document.getElementById(one.id), one));
    seen = seen.filter((one) => one.isConnected);
    stands = after;
    return true;
  }
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { target, xhr, serverResponse } = event.detail;
    if (target.id !== "live" || xhr.status !== 200 || !patched(target, serverResponse)) return;
    event.detail.shouldSwap = false;
    setAhead(); // the next tick draws the clocks
  });
  document.addEventListener("htmx:responseError", tellFailed);
  document.addEventListener("htmx:sendError", tellFailed);
  document.addEventListener("htmx:afterSwap", (event) => {
    const target = event.detail.target;
    if (target.id === "live") {
      stands = null;
      synchronise();
    }
    picked();
    if (target.id !== "dialog") return;
    if (!target.open) target.showModal();
    const first = target.querySelector("[aria-invalid=true], [autofocus]");
    if (first) first.focus();
  });
})();
