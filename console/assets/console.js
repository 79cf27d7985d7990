// What pages do besides htmx: keys, times, ticks, and the bar that says whether a page is live. Nothing needs it to work.
(() => {
  "use strict";
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const language = document.documentElement.lang;

  // --- Times: how long ago, for eyes; readers of screens get the absolute time ---

  const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  const steps = [[60, "second"], [60, "minute"], [24, "hour"], [30, "day"], [12, "month"], [Infinity, "year"]];
  function ago(then) {
    let value = (then - Date.now()) / 1000;
    for (const [size, unit] of steps) {
      if (Math.abs(value) < size) return relative.format(Math.round(value), unit);
      value /= size;
    }
  }
  function times(within = document) {
    for (const time of $$("time[datetime]", within)) {
      if (time.closest("[data-countdown]")) continue;
      const then = Date.parse(time.dateTime);
      let shown = $("i", time);
      if (!shown) {
        shown = document.createElement("i");
        shown.setAttribute("aria-hidden", "true");
        time.append(shown);
        time.classList.add("ago");
      }
      const text = ago(then);
      if (shown.textContent !== text) shown.textContent = text;
    }
  }

  // --- Live ---

  const bar = $("#live-bar");
  let paused = false;
  function say(state) {
    if (!bar) return;
    bar.hidden = false;
    bar.className = `live is-${state}`;
    const text = bar.dataset[state];
    if ($("#live-state").textContent !== text) $("#live-state").textContent = text;
  }
  document.addEventListener("htmx:sse:before:connection", (event) => {
    if (paused) event.detail.connection.cancelled = true;
    else if (event.detail.connection.attempt > 1) say("lost");
  });
  document.addEventListener("htmx:sse:after:connection", () => say("live"));
  document.addEventListener("htmx:sse:error", () => { if (!paused) say("lost"); });
  function pause() {
    const live = $("#live");
    if (!live) return;
    paused = !paused;
    $("#live-pause").setAttribute("aria-pressed", String(paused));
    // A new element asks again; an old one that is gone lets go of its stream.
    const next = live.cloneNode();
    live._htmx?.sse?.reader?.cancel();
    live.replaceWith(next);
    if (paused) say("paused");
    else htmx.process(next);
  }
  $("#live-pause")?.addEventListener("click", pause);

  // --- Ticks: what a bulk action will hit ---

  for (const form of $$("[data-bulk]")) {
    const boxes = () => $$("input[name=id]", form);
    const all = $("[data-all]", form);
    const told = $("[data-ticked]", form);
    const count = () => {
      const ticked = boxes().filter((box) => box.checked).length;
      if (told) told.textContent = ticked ? `${ticked} ${told.dataset.some}` : told.dataset.none;
      if (all) {
        all.checked = ticked > 0 && ticked === boxes().length;
        all.indeterminate = ticked > 0 && !all.checked;
      }
    };
    if (all) {
      all.hidden = false;
      all.addEventListener("change", () => { boxes().forEach((box) => { box.checked = all.checked; }); count(); });
    }
    form.addEventListener("change", count);
    count();
  }

  // --- A form is sent once ---

  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post") return;
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "yes";
  });
  window.addEventListener("pageshow", () => $$("form[data-sent]").forEach((form) => delete form.dataset.sent));

  // --- Keys ---

  const dialog = $("#keys");
  const off = $("#keys-off");
  let areOff = false;
  try { areOff = localStorage.getItem("recado-keys") === "off"; } catch { /* it may not be kept */ }
  if (off) {
    off.checked = areOff;
    off.addEventListener("change", () => {
      areOff = off.checked;
      try { localStorage.setItem("recado-keys", areOff ? "off" : "on"); } catch { /* nor written */ }
    });
  }
  const opener = $("#keys-open");
  if (opener) {
    opener.hidden = false;
    opener.addEventListener("click", () => dialog.showModal());
  }
  let row = -1;
  let going = 0;
  function move(by) {
    const rows = $$("table.rows tbody tr");
    if (!rows.length) return;
    row = Math.max(0, Math.min(rows.length - 1, row + by));
    $$("tr.at").forEach((one) => one.classList.remove("at"));
    rows[row].classList.add("at");
    ($("a", rows[row]) || rows[row]).focus();
    rows[row].scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    if (areOff || event.ctrlKey || event.metaKey || event.altKey || dialog?.open) return;
    if (event.target.closest("input:not([type=checkbox]), select, textarea")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const current = () => $$("table.rows tbody tr")[row];
    if (going && Date.now() - going < 1500) {
      going = 0;
      const link = $(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    const acts = {
      "/": () => $("#search")?.focus(),
      "g": () => { going = Date.now(); },
      "j": () => move(1),
      "k": () => move(-1),
      "x": () => current() && $("input[type=checkbox]", current())?.click(),
      "r": () => ($("[data-retry]") || $("[data-bulk] button[value=retry]"))?.click(),
      "p": pause,
      "?": () => dialog?.showModal(),
    };
    const act = acts[event.key];
    if (act) { event.preventDefault(); act(); }
  });

  // --- What is counted down ---

  function countDown() {
    for (const time of $$("[data-countdown] time")) {
      const left = Math.max(0, Math.round((Date.parse(time.dateTime) - Date.now()) / 1000));
      let shown = $("i", time);
      if (!shown) {
        shown = document.createElement("i");
        shown.setAttribute("aria-hidden", "true");
        time.append(shown);
        time.classList.add("ago");
      }
      const [hours, minutes, seconds] = [Math.floor(left / 3600), Math.floor(left / 60) % 60, left % 60];
      const parts = hours ? [`${hours} h`, `${minutes} min`] : minutes ? [`${minutes} min`, `${seconds} s`] : [`${seconds} s`];
      shown.textContent = parts.join(" ");
    }
  }
  setInterval(countDown, 1000);
  countDown();

  // --- When parts change ---

  document.addEventListener("htmx:after:swap", () => { times(); countDown(); });
  setInterval(times, 10000);
  times();
})();
