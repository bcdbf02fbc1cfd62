"use strict";
// The page's own program: draws maps on canvases over their pictures, tells the bits of a place, sorts and filters.
// A map comes as base64 of 16-bit numbers in its canvas (pictures.py); it is decoded and painted when its card is near.
(() => {
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const by = (id) => document.getElementById(id);
  const gallery = by("gallery");
  const cards = [...gallery.children];
  const TABLE = 256; // colours of a map

  // Colours: tables of red, green and blue, mixed between the stops.
  const tables = Object.fromEntries(Object.entries(settings.colours).map(([kind, stops]) => {
    const rgb = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
    const table = Array.from({ length: TABLE }, (_, n) => {
      const at = (n / (TABLE - 1)) * (rgb.length - 1), left = Math.min(Math.floor(at), rgb.length - 2);
      return rgb[left].map((part, c) => part + (at - left) * (rgb[left + 1][c] - part));
    });
    return [kind, table];
  }));

  const round = (bits) => {
    const text = Math.abs(bits) < 0.0005 ? "0" : String(Number(bits.toPrecision(3)));
    return text.replace("-", "\u2212");
  };

  // Maps
  const decoded = new WeakMap(); // canvas -> bits a place
  function values(canvas) {
    if (!decoded.has(canvas)) {
      const bytes = Uint8Array.from(atob(canvas.dataset.map), (letter) => letter.charCodeAt(0));
      const view = new DataView(bytes.buffer), [low, high] = canvas.dataset.range.split(",").map(Number);
      const bits = Float32Array.from({ length: bytes.length / 2 }, (_, n) => low + (view.getUint16(2 * n, true) / 65535) * (high - low));
      decoded.set(canvas, bits);
    }
    return decoded.get(canvas);
  }

  // What the maps of each kind hold at least and at most: past the ends of the colours or not.
  const extremes = {};
  for (const { dataset, parentElement } of document.querySelectorAll("canvas")) {
    const [low, high] = dataset.range.split(",").map(Number), kind = parentElement.parentElement.dataset.kind;
    const [least, most] = (extremes[kind] ??= [low, high]);
    extremes[kind] = [Math.min(least, low), Math.max(most, high)];
  }

  function paint(canvas) {
    const figure = canvas.closest(".map"), kind = figure.dataset.kind;
    const shared = by("scale").value === "sheet", own = (text) => text.split(",").map(Number);
    const [low, high] = shared ? settings.scales[kind] : own(canvas.dataset.scale);
    const [least, most] = shared ? extremes[kind] : own(canvas.dataset.range);
    const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
    values(canvas).forEach((bits, n) => {
      const share = Math.min(1, Math.max(0, (bits - low) / (high - low)));
      image.data.set([...tables[kind][Math.round(share * (TABLE - 1))], 255], 4 * n);
    });
    context.putImageData(image, 0, 0);
    const slack = 1e-6 * (high - low); // of rounding
    figure.querySelector(".low").textContent = round(low) + (least < low - slack ? " or less" : "");
    figure.querySelector(".high").textContent = round(high) + (most > high + slack ? " or more" : "");
  }

  const drawn = new Set(); // cards whose maps were painted
  function draw(card) {
    if (drawn.has(card)) return;
    drawn.add(card);
    const source = card.querySelector(".original img").src;
    for (const canvas of card.querySelectorAll("canvas")) {
      const below = new Image();
      below.alt = "";
      below.src = source;
      canvas.before(below);
      paint(canvas);
    }
  }
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
  }, { rootMargin: "400px" });
  cards.forEach((card) => watcher.observe(card));
  window.addEventListener("beforeprint", () => cards.forEach(draw));

  // The value at a place, in all maps of a strip at once.
  function tell(maps, row, column) {
    const canvases = [...maps.querySelectorAll("canvas")];
    maps.dataset.row = row;
    maps.dataset.column = column;
    const parts = canvases.map((canvas) => {
      const place = canvas.nextElementSibling, { width, height } = canvas;
      place.hidden = false;
      place.style.cssText = `left:${(100 * column) / width}%;top:${(100 * row) / height}%;width:${100 / width}%;height:${100 / height}%`;
      return `${canvas.closest(".map").dataset.kind} ${round(values(canvas)[row * width + column])}`;
    });
    maps.parentElement.querySelector(".value").textContent = `row ${row + 1}, column ${column + 1}: ${parts.join(", ")} bits`;
  }
  function pointed(event) {
    const stack = event.target.closest?.(".stack");
    if (!stack) return;
    const canvas = stack.querySelector("canvas"), box = stack.getBoundingClientRect();
    const at = (position, start, size, count) => Math.min(count - 1, Math.max(0, Math.floor(((position - start) / size) * count)));
    tell(stack.closest(".maps"), at(event.clientY, box.top, box.height, canvas.height), at(event.clientX, box.left, box.width, canvas.width));
  }
  gallery.addEventListener("pointermove", pointed);
  gallery.addEventListener("pointerdown", pointed);
  const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  gallery.addEventListener("keydown", (event) => {
    const maps = event.target, move = MOVES[event.key];
    if (!move || !maps.classList.contains("maps")) return;
    event.preventDefault();
    draw(maps.closest(".card"));
    const { width, height } = maps.querySelector("canvas");
    const wrap = (now, step, count) => (now === undefined ? 0 : (Number(now) + step + count) % count);
    tell(maps, wrap(maps.dataset.row, move[0], height), wrap(maps.dataset.column, move[1], width));
  });

  // Sorting and filtering, by the first run that a card shows.
  const shownStrip = (card) => card.querySelector(".strip:not([hidden])");
  const facts = (card) => JSON.parse(shownStrip(card)?.dataset.facts ?? "{}");
  const WORST_FIRST = { wrong: 0, right: 1, none: 2 };
  const ORDERS = {
    number: (card) => Number(card.dataset.number),
    class: (card) => card.dataset.class,
    right: (card) => WORST_FIRST[shownStrip(card)?.dataset.right ?? "none"],
  };
  function arrange() {
    const key = by("sort").value, order = ORDERS[key] ?? ((card) => -(facts(card)[key] ?? -Infinity));
    const keys = new Map(cards.map((card) => [card, order(card)]));
    const compare = (a, b) => (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : ORDERS.number(a) - ORDERS.number(b));
    gallery.append(...[...cards].sort(compare));
    const wanted = by("class").value, right = by("right").value, quantity = by("quantity").value;
    const [least, most] = [by("least"), by("most")].map((input) => (input.value === "" ? null : Number(input.value)));
    let count = 0;
    for (const card of cards) {
      const value = facts(card)[quantity];
      const fits = (!wanted || card.dataset.class === wanted) && (!right || shownStrip(card)?.dataset.right === right)
        && (least === null || value >= least) && (most === null || value <= most);
      card.hidden = !fits;
      count += fits;
    }
    by("shown").textContent = count === cards.length ? `${count} pictures` : `${count} of ${cards.length} pictures`;
  }
  function look() {
    gallery.style.setProperty("--mix", by("mix").value / 100);
    by("mix-value").textContent = `${by("mix").value} % map`;
    gallery.classList.toggle("squares", by("squares").checked);
    gallery.classList.toggle("thumbs", by("view").value === "thumbs");
  }
  by("mix").addEventListener("input", look);
  for (const id of ["squares", "view"]) by(id).addEventListener("change", look);
  by("scale").addEventListener("change", () => drawn.forEach((card) => card.querySelectorAll("canvas").forEach(paint)));
  for (const id of ["sort", "class", "right", "quantity"]) by(id).addEventListener("change", arrange);
  for (const id of ["least", "most"]) by(id).addEventListener("input", arrange);
  const form = by("mix").form;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    look();
    arrange();
    by("scale").dispatchEvent(new Event("change"));
  }));
  gallery.addEventListener("click", (event) => {
    const button = event.target.closest(".enlarge");
    if (!button) return;
    const open = button.closest(".card").classList.toggle("open");
    button.setAttribute("aria-expanded", open);
    button.firstChild.textContent = open ? "close" : "open";
  });
  look();

  // A sweep's grid: a cell shows its run's maps.
  const cells = [...document.querySelectorAll(".grid button")];
  function choose(cell) {
    cells.forEach((each) => each.setAttribute("aria-pressed", each === cell));
    for (const strip of gallery.querySelectorAll(".strip")) strip.hidden = strip.dataset.run !== cell.dataset.run;
    by("cell").textContent = `The maps below are those of ${cell.dataset.run}.`;
    arrange();
  }
  cells.forEach((cell) => cell.addEventListener("click", () => choose(cell)));
  if (cells.length) choose(cells[0]);

  // Charts: Vega stands behind this program. Each chart is made when there is time, one in a closed part when that opens.
  const made = new Set();
  async function chart(place) {
    if (made.has(place)) return;
    made.add(place);
    const spec = JSON.parse(place.querySelector("script").textContent), width = place.parentElement.clientWidth;
    const one = spec.spec ?? spec, below = { orient: "bottom", columns: width < 480 ? 2 : 3, layout: { bottom: { direction: "vertical", anchor: "start" } } };
    if (spec.columns) spec.columns = Math.max(1, Math.min(spec.columns, Math.floor(width / (one.width + 60))));
    const draw = () => window.vegaEmbed(place, spec, { actions: false, renderer: "svg" });
    const beyond = () => place.querySelector("svg").getBoundingClientRect().width - width;
    await draw();
    if (beyond() > 0) { // the legends below, one under the other; then smaller panels
      Object.assign(spec.config.legend, below);
      await draw();
    }
    if (beyond() > 0) {
      one.width = Math.max(120, one.width - Math.ceil(beyond() / (spec.columns ?? 1)));
      await draw();
    }
    place.dataset.ready = "yes";
  }
  const whenIdle = window.requestIdleCallback ?? ((work) => setTimeout(work, 50));
  window.addEventListener("charts-ready", () => {
    for (const place of document.querySelectorAll(".vega")) if (!place.closest("details:not([open])")) whenIdle(() => chart(place));
    document.addEventListener("toggle", ({ target }) => target.querySelectorAll?.(".vega").forEach((place) => {
      if (!place.closest("details:not([open])")) chart(place);
    }), true);
  });
})();
