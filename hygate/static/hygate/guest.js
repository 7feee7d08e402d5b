// Keeps a guest's page true: counts down by the server's clock, asks for news, swaps the page's middle when there is
// some. Without it the page works too (noscript reloads it). Offline it counts on.
(() => {
  "use strict";

  const FAST = 2000, SLOW = 15000, CALM = 30000, SOON = 10000, ASK_FOR = 8000;
  const banner = document.getElementById("offline");
  const spoken = document.getElementById("status");
  let main, ring, clock, arc, ends, total, sayings, lastMinute;
  let ahead = 0, bestTrip = Infinity, timer = 0, ticker = 0, asking = false, lastNews = Date.now();
  let known = "";

  const now = () => Date.now() + ahead;
  const left = () => (ends ? Math.max(0, ends - now()) : Infinity);

  // Meet the page's middle: at the start, and whenever it was swapped.
  function meet() {
    main = document.querySelector("main");
    ring = main.querySelector("[data-ends]");
    clock = ring && ring.querySelector(".clock");
    arc = ring && ring.querySelector(".ring-arc");
    ends = ring && Number(ring.dataset.ends);
    total = ring && Number(ring.dataset.total);
    sayings = ring ? JSON.parse(ring.dataset.say) : {};
    lastMinute = Math.ceil(left() / 60000);
    document.body.dataset.state = main.dataset.state;
    if (main.dataset.title) document.title = main.dataset.title;
  }

  // The server's clock, from the answer that took the least time.
  function setClock(server, trip) {
    if (!server || trip > bestTrip) return;
    bestTrip = trip;
    ahead = Number(server) + trip / 2 - Date.now();
  }

  function show() {
    if (!ring) return;
    const seconds = Math.ceil(left() / 1000);
    const two = (number) => String(number).padStart(2, "0");
    const m = Math.floor(seconds / 60), h = Math.floor(m / 60), s = two(seconds % 60);
    clock.textContent = seconds > 3600 ? `${h}:${two(m % 60)}:${s}` : `${m}:${s}`;
    clock.classList.toggle("clock-huge", h > 9);
    clock.classList.toggle("clock-long", seconds > 3600 && h < 10);
    arc.setAttribute("stroke-dashoffset", (100 - Math.min(100, (100 * left()) / total)).toFixed(2));
    arc.toggleAttribute("hidden", seconds === 0);
    const minute = Math.ceil(left() / 60000);
    if (minute !== lastMinute && sayings[minute]) say(sayings[minute]);
    lastMinute = minute;
  }

  function tick() {
    clearTimeout(ticker); // one for the page, however often its middle was swapped
    show();
    // Right after each whole second, so that the digits never skip one.
    if (left() > 0) ticker = setTimeout(tick, (left() % 1000) + 15 || 1000);
  }

  function say(text) {
    if (spoken && text && spoken.textContent !== text) spoken.textContent = text;
  }

  // ---- news

  function plan(soon) {
    clearTimeout(timer);
    if (main.dataset.pace === "never" || document.hidden) return;
    const fast = main.dataset.pace === "fast" || left() <= SOON;
    const usual = main.dataset.pace === "calm" ? CALM : SLOW;
    timer = setTimeout(ask, soon ?? Math.min(fast ? FAST : usual, left() > SOON ? Math.max(FAST, left() - SOON) : FAST));
  }

  // What the server is told that we have: our version, with what it has marked it with, if that is still this page's.
  function shown() {
    const version = `W/"${main.dataset.version}`;
    return known.startsWith(`${version}.`) ? known : `${version}"`;
  }

  async function ask() {
    if (asking) return;
    asking = true;
    const sent = performance.now(), giveUp = new AbortController();
    const tooLong = setTimeout(() => giveUp.abort(), ASK_FOR);
    try {
      const answer = await fetch(location.pathname, {
        headers: { "X-Requested-With": "hygate", "If-None-Match": shown() },
        cache: "no-store", credentials: "same-origin", redirect: "manual", signal: giveUp.signal,
      });
      const trip = performance.now() - sent;
      const body = answer.status === 200 ? await answer.text() : "";
      setClock(answer.headers.get("X-Hygate-Now"), trip);
      known = answer.headers.get("ETag") || "";
      online();
      if (answer.type === "opaqueredirect" || answer.status === 404) location.reload();
      else if (body) swap(body);
      showLive(answer.headers.get("X-Hygate-Live"));
    } catch {
      offline();
    } finally {
      clearTimeout(tooLong);
      asking = false;
      plan();
    }
  }

  // Watts and energy move all the time: they come beside the page, and are no news.
  function showLive(figures) {
    for (const [name, said] of Object.entries(JSON.parse(figures || "{}"))) {
      const place = main.querySelector(`[data-live="${name}"]`);
      if (place) place.textContent = said;
    }
  }

  function swap(body) {
    const fresh = new DOMParser().parseFromString(body, "text/html").querySelector("main");
    if (!fresh || fresh.dataset.version === main.dataset.version) return;
    if (main.dataset.swap === "reload") return location.reload();
    if (main.querySelector(":active")) return; // a finger is on a button: next time
    const focused = main.contains(document.activeElement) ? document.activeElement : null;
    keepTyped(fresh);
    main.replaceWith(fresh);
    meet();
    show();
    say(main.dataset.status);
    if (focused) (main.contains(focused) ? focused : main).focus({ preventScroll: true });
    tick();
  }

  // A field that the guest is in, or has typed in, goes over to the new middle as it is.
  function keepTyped(fresh) {
    for (const field of main.querySelectorAll("input[id], textarea[id]")) {
      if (field.value === field.defaultValue && field !== document.activeElement) continue;
      fresh.querySelector(`#${field.id}`)?.replaceWith(field);
    }
  }

  // ---- the phone's own connection

  function online() {
    lastNews = Date.now();
    banner.hidden = true;
    document.documentElement.classList.remove("is-offline");
  }

  function offline() {
    const zone = main.dataset.zone;
    const time = new Intl.DateTimeFormat(document.documentElement.lang, {
      hour: "2-digit", minute: "2-digit", hourCycle: "h23", ...(zone && { timeZone: zone }),
    });
    banner.querySelector("time").textContent = time.format(lastNews + ahead);
    banner.hidden = false;
    document.documentElement.classList.add("is-offline");
  }

  addEventListener("offline", offline);
  addEventListener("online", () => plan(0));
  document.addEventListener("visibilitychange", () => plan(0));
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  // One tap is one order; and nothing is sent into the void.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent || document.documentElement.classList.contains("is-offline")) return event.preventDefault();
    form.dataset.sent = "1";
    setTimeout(() => delete form.dataset.sent, ASK_FOR);
  });

  meet();
  setClock(main.dataset.now, 0);
  bestTrip = Infinity; // the page itself may have been on its way for long: the first answer is better
  tick();
  plan(main.dataset.pace === "fast" ? 700 : undefined);
})();
