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
  let inView = [], ticks = 0, scrolled = 0;
  function isSeen(element) {
    const box = (element.closest(".tile") || element).getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  }
  function look() {
    inView = [...document.querySelectorAll(COUNTING)].filter(isSeen);
    draw();
  }
  function draw() {
    const now = Date.now() + ahead;
    for (const e of inView) {
      if (e.dataset.ends) put(e, clock((+e.dataset.ends - now) / 1000));
      else if (e.dataset.since) put(e, age((now - +e.dataset.since) / 1000));
      else e.value = Math.max(0, Math.min(e.max, (+e.dataset.until - now) / 1000));
    }
  }
  function tick() {
    let isNew = false;
    for (const one of liveParts) isNew = one.turn() || isNew;
    if (isNew) ticks = 0; // looked at with the next tick: what was just put in is not laid out yet
    if (isNew || ticks++ % LOOK_TICKS) draw();
    else look();
  }
  addEventListener("scroll", () => {
    if (!scrolled) scrolled = requestAnimationFrame(() => { scrolled = 0; look(); });
  }, { passive: true });
  function marks() {
    all("[data-theme-choice]", (e) => e.setAttribute("aria-pressed", e.dataset.themeChoice === (root.dataset.theme || "auto")));
  }

  document.addEventListener("DOMContentLoaded", () => {
    ahead = +(document.querySelector("#live [data-now]") || document.body).dataset.now - Date.now();
    look();
    marks();
    picked();
    liveParts = [...document.querySelectorAll("[data-live]")].map((part) => new Live(part));
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
  // A channel that was found gets the plans and the watts of its kind, unless it has others than its last kind's.
  function takeKind(kind) {
    const { kind: index, was } = kind.dataset, wattsOf = (value) => kind.querySelector(`[value=${value}]`).dataset.watts;
    const plans = document.getElementById("plans-" + index), watts = document.getElementById("watts-" + index);
    if (plans.value === was) plans.value = kind.value;
    if (watts.value === wattsOf(was)) watts.value = wattsOf(kind.value);
    kind.dataset.was = kind.value;
  }
  document.addEventListener("change", (event) => {
    if ("kind" in event.target.dataset) takeKind(event.target);
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
  // what was asked for on purpose and failed is said; what asks again by itself does so
  function tellFailed(event) {
    const asked = event.detail.requestConfig, answer = event.detail.xhr;
    if (!asked || asksAgain(event.detail.elt)) return;
    const said = document.getElementById("mishap"), reference = answer && answer.getResponseHeader("X-Reference");
    said.lastElementChild.textContent = said.dataset.words + (reference ? ` (${reference})` : "");
    said.hidden = false;
    document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
    said.scrollIntoView({block: "nearest"});
  }
  // Live parts are asked for again, by this clock and not by htmx: what came is put in with the next tick, so that the
  // browser draws once for both. It is what is new (JSON: see sessions_app/dashboard/live.py) or the whole part.
  // What did not change stays where it is: whoever stands on a tile, or is about to press it, still does.
  const PATIENCE_MS = 10000, MOMENTS = ["data-now", "data-since", "data-ends", "data-until"];
  const ANY_MOMENT = MOMENTS.map((name) => `[${name}]`).join();
  let liveParts = [];
  class Live {
    constructor(part) {
      this.part = part;
      this.every_ms = 1000 * part.dataset.every;
      this.due = part.firstElementChild ? performance.now() + this.every_ms : 0;
      this.come = null; // takes the answer that waits for the tick
    }
    get mark() { return this.part.querySelector(":scope > [name=seen]"); }
    turn() {
      const come = this.come;
      this.come = null;
      if (!come && performance.now() >= this.due && !document.hidden) this.ask();
      return Boolean(come && come());
    }
    async ask() {
      this.due = Infinity;
      let elsewhere = null;
      try {
        elsewhere = await this.asked();
      } catch (error) {
        // no connection, no answer in time, or half of one: what stands there grows old visibly, and is asked for again
        console.debug(error);
      }
      if (elsewhere) location.assign(elsewhere);
      else this.due = performance.now() + this.every_ms;
    }
    async asked() {
      const url = new URL(this.part.dataset.live, location), mark = this.mark, shown = mark ? mark.value : "";
      this.part.querySelectorAll(":scope > input:not([name=seen])").forEach((one) => url.searchParams.set(one.name, one.value));
      const headers = { "X-Seen": shown, "HX-Request": "true", "HX-Current-URL": location.href };
      const answer = await fetch(url, { headers, signal: AbortSignal.timeout(PATIENCE_MS) });
      if (answer.status === 200) {
        const isNews = answer.headers.get("Content-Type").startsWith("application/json");
        const told = await (isNews ? answer.json() : answer.text()), at = Date.now();
        this.come = () => {
          if (mark !== this.mark || (mark && mark.value !== shown)) return false; // something else was put in meanwhile
          const fits = isNews ? this.takeNews(told) : this.takeWhole(told), now = this.part.querySelector("[data-now]");
          if (fits && now) ahead = now.dataset.now - at;
          if (!fits) this.due = 0;
          return true;
        };
      }
      return answer.headers.get("HX-Redirect");
    }
    takeWhole(html) {
      Idiomorph.morph(this.part, html, { morphStyle: "innerHTML" });
      htmx.process(this.part);
      return true;
    }
    takeNews({ seen, parts, moments }) { // what does not fit is asked for whole
      const fresh = document.createElement("template");
      const pairs = parts.map((html) => {
        fresh.innerHTML = html; // each by itself: a row of a table is dropped behind anything else
        return [document.getElementById(fresh.content.firstElementChild.id), fresh.content.firstElementChild];
      });
      const areHere = pairs.every(([old]) => this.part.contains(old));
      if (areHere) pairs.forEach(([old, one]) => putIn(old, one));
      const own = [...this.part.querySelectorAll(ANY_MOMENT)], fits = areHere && own.length === moments.length;
      if (fits) own.forEach((one, at) => putMoment(one, String(moments[at])));
      this.mark.value = fits ? seen : "";
      return fits;
    }
  }
  function putMoment(element, moment) {
    const name = MOMENTS.find((one) => element.hasAttribute(one));
    if (element.getAttribute(name) !== moment) element.setAttribute(name, moment);
  }
  function putIn(old, fresh) {
    for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    const before = [...old.childNodes], after = [...fresh.childNodes];
    after.forEach((one, at) => {
      const stands = before[at];
      if (!stands) old.append(one);
      else if (stands.isEqualNode(one)) return;
      else if (stands.nodeName !== one.nodeName) stands.replaceWith(one);
      else if (one.nodeType === Node.TEXT_NODE) stands.data = one.data;
      else putIn(stands, one);
    });
    before.slice(after.length).forEach((one) => one.remove());
  }
  document.addEventListener("htmx:responseError", tellFailed);
  document.addEventListener("htmx:sendError", tellFailed);
  document.addEventListener("htmx:afterSwap", (event) => {
    const target = event.detail.target;
    picked();
    if (target.id !== "dialog") return;
    if (!target.open) target.showModal();
    const first = target.querySelector("[aria-invalid=true], [autofocus]");
    if (first) first.focus();
  });
})();
