// What pages do besides htmx: keys, times, ticks, and the bar that says whether a page is live. Nothing needs it to work.
(() => {
  "use strict";
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
  const language = document.documentElement.lang;

  // --- Times: how long ago, for eyes; readers of screens get the absolute time. Kept true: pages come with both ---

  const relative = new Intl.RelativeTimeFormat(language);
  const now = new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(0, "second");
  const steps = [[60, "second"], [60, "minute"], [24, "hour"], [30, "day"], [12, "month"], [Infinity, "year"]];
  function ago(then) {
    let value = (then - Date.now()) / 1000;
    for (const [size, unit] of steps) {
      if (Math.abs(value) < size) return Math.round(value) === 0 ? now : relative.format(Math.round(value), unit);
      value /= size;
    }
  }
  function times(within = document) {
    for (const time of $$("time[datetime]", within)) {
      const shown = $("i", time);
      if (!shown || time.closest("[data-countdown]")) continue;
      const text = ago(Date.parse(time.dateTime));
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

  // --- Texts: variables are marked, put in by a press, and completed after two braces ---

  const chips = $$("[data-insert]").map((chip) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "chip";
    button.textContent = chip.textContent;
    button.title = chip.title;
    chip.replaceWith(button);
    return button;
  });
  const names = chips.map((chip) => chip.textContent.slice(2, -2));
  let lastArea = $("textarea[name=body][data-marked]");
  function put(area, start, text) {
    area.focus();
    area.setRangeText(text, start, area.selectionEnd, "end");
    area.dispatchEvent(new Event("input", { bubbles: true }));
  }
  chips.forEach((chip) => chip.addEventListener("click", () => lastArea && put(lastArea, lastArea.selectionStart, chip.textContent)));
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  for (const area of $$("textarea[data-marked]")) {
    const layer = document.createElement("pre");
    layer.className = "layer";
    layer.setAttribute("aria-hidden", "true");
    area.before(layer);
    const list = document.createElement("ul");
    list.className = "choices";
    list.id = `choices-${area.name}`;
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", area.closest("label").querySelector("span").textContent);
    list.hidden = true;
    area.closest(".field").append(list);
    area.closest(".field").classList.add("holds");
    const attributes = { role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": list.id };
    for (const [name, value] of Object.entries(attributes)) area.setAttribute(name, value);
    let found = [];
    let at = 0;
    const draw = () => {
      layer.replaceChildren();
      let end = 0;
      const add = (text, kind) => {
        const node = kind ? document.createElement("mark") : document.createTextNode("");
        if (kind === "%") node.className = "tag";
        node.textContent = text;
        layer.append(node);
      };
      for (const one of area.value.matchAll(/\{([{%]).*?[}%]\}/gs)) {
        add(area.value.slice(end, one.index));
        add(one[0], one[1]);
        end = one.index + one[0].length;
      }
      add(`${area.value.slice(end)}\n`);
      layer.scrollTop = area.scrollTop;
    };
    const begun = () => area.value.slice(0, area.selectionStart).match(/\{\{\s*([\p{L}_]*)$/u);
    const close = () => {
      list.hidden = true;
      area.setAttribute("aria-expanded", "false");
      area.removeAttribute("aria-activedescendant");
    };
    const select = (next) => {
      at = (next + found.length) % found.length;
      [...list.children].forEach((item, number) => item.setAttribute("aria-selected", String(number === at)));
      area.setAttribute("aria-activedescendant", `${list.id}-${at}`);
      list.children[at].scrollIntoView({ block: "nearest" });
    };
    const take = (number) => {
      const match = begun();
      if (match) put(area, match.index, `{{${found[number]}}}`);
      close();
    };
    const offer = () => {
      const match = begun();
      found = match ? names.filter((name) => plain(name).startsWith(plain(match[1]))).slice(0, 12) : [];
      if (!found.length) return close();
      list.replaceChildren(...found.map((name, number) => {
        const item = document.createElement("li");
        item.id = `${list.id}-${number}`;
        item.setAttribute("role", "option");
        item.textContent = name;
        item.addEventListener("mousedown", (event) => { event.preventDefault(); take(number); });
        return item;
      }));
      list.hidden = false;
      area.setAttribute("aria-expanded", "true");
      select(0);
    };
    area.addEventListener("input", () => { draw(); offer(); });
    area.addEventListener("scroll", () => { layer.scrollTop = area.scrollTop; });
    area.addEventListener("focus", () => { lastArea = area; });
    area.addEventListener("blur", close);
    area.addEventListener("keydown", (event) => {
      if (list.hidden) return;
      const acts = { ArrowDown: () => select(at + 1), ArrowUp: () => select(at - 1), Enter: () => take(at), Tab: () => take(at), Escape: close };
      if (acts[event.key]) { event.preventDefault(); event.stopPropagation(); acts[event.key](); }
    });
    draw();
  }

  // --- The matrix: one cell holds the focus; arrows move it, space switches, Enter opens ---

  for (const grid of $$("[data-grid]")) {
    const rows = $$("tbody tr", grid).map((row) => $$("[data-cell]", row));
    grid.setAttribute("role", "grid");
    grid.setAttribute("aria-label", grid.caption.textContent);
    grid.caption.remove();
    const parts = (cell) => $$("a, button, input, select, summary", cell);
    const hold = (cell) => {
      rows.flat().forEach((one) => { one.tabIndex = one === cell ? 0 : -1; });
      cell.focus();
    };
    rows.flat().forEach((cell, number) => {
      cell.tabIndex = number ? -1 : 0;
      parts(cell).forEach((part) => { part.tabIndex = -1; });
      const details = $("details", cell);
      details.addEventListener("toggle", () => parts(details).forEach((part) => { part.tabIndex = details.open && part.tagName !== "SUMMARY" ? 0 : -1; }));
      cell.addEventListener("click", (event) => { if (event.target === cell) hold(cell); });
    });
    grid.addEventListener("keydown", (event) => {
      const cell = event.target.closest("[data-cell]");
      if (!cell || event.ctrlKey || event.metaKey || event.altKey) return;
      const details = $("details", cell);
      if (event.key === "Escape" && event.target !== cell) {
        details.open = false;
        hold(cell);
        event.preventDefault();
        return;
      }
      if (event.target !== cell) return;
      const row = rows.findIndex((one) => one.includes(cell));
      const column = rows[row].indexOf(cell);
      const go = (down, right) => {
        const next = rows[row + down]?.[column + right];
        if (next) hold(next);
      };
      const acts = {
        ArrowUp: () => go(-1, 0),
        ArrowDown: () => go(1, 0),
        ArrowLeft: () => go(0, -1),
        ArrowRight: () => go(0, 1),
        Home: () => hold(rows[row][0]),
        End: () => hold(rows[row].at(-1)),
        " ": () => $("input[type=checkbox]", cell).click(),
        Enter: () => {
          details.open = true;
          $("select", details).tabIndex = 0;
          $("select", details).focus();
        },
        d: () => $("[data-try]", cell).click(),
      };
      if (acts[event.key]) { event.preventDefault(); event.stopPropagation(); acts[event.key](); }
    });
  }
  for (const form of $$("[data-staged]")) {
    const told = $("[data-changes]", form);
    const fields = [...form.elements].filter((one) => one.name && one.type !== "hidden");
    const value = (one) => (one.type === "checkbox" ? String(one.checked) : one.value);
    const was = new Map(fields.map((one) => [one, value(one)]));
    const cells = () => {
      const changed = fields.filter((one) => value(one) !== was.get(one));
      return new Set(changed.map((one) => one.closest("[data-cell]") || one)).size;
    };
    form.addEventListener("input", () => {
      const count = cells();
      if (told) told.textContent = count ? `${count} ${count === 1 ? told.dataset.one : told.dataset.some}` : told.dataset.none;
    });
  }

  // --- A form is sent once ---

  document.addEventListener("submit", (event) => {
    // What is shown in a frame may be asked for again.
    if (event.target.method !== "post" || event.submitter?.formTarget) return;
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
      const shown = $("i", time);
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
