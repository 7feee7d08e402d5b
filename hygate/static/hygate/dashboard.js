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
  function put(element, text) { if (element.textContent !== text) element.textContent = text; }
  function tick() {
    const now = Date.now() + ahead;
    all("[data-ends]", (e) => put(e, clock((+e.dataset.ends - now) / 1000)));
    all("[data-since]", (e) => put(e, age((now - +e.dataset.since) / 1000)));
    all("progress[data-until]", (e) => { e.value = Math.max(0, Math.min(e.max, (+e.dataset.until - now) / 1000)); });
  }
  function synchronise() {
    const live = document.querySelector("#live [data-now]") || document.body;
    if (live.dataset.now) ahead = +live.dataset.now - Date.now();
    tick();
  }
  function marks() {
    all("[data-theme-choice]", (e) => e.setAttribute("aria-pressed", e.dataset.themeChoice === (root.dataset.theme || "auto")));
  }

  document.addEventListener("DOMContentLoaded", () => {
    synchronise();
    marks();
    setInterval(tick, 1000);
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
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.id === "live") event.preventDefault();
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const target = event.detail.target;
    if (target.id === "live") synchronise();
    if (target.id !== "dialog") return;
    if (!target.open) target.showModal();
    const first = target.querySelector("[aria-invalid=true], [autofocus]");
    if (first) first.focus();
  });
})();
