"use strict";
(() => {
  const root = document.documentElement;
  const steps = [...document.querySelectorAll("section.step")];
  const slider = document.getElementById("slider");
  const back = document.getElementById("back");
  const next = document.getElementById("next");
  const phases = [...document.querySelectorAll(".phases button")];
  const figures = [...document.querySelectorAll("figure")];
  const parts = [...document.querySelectorAll("svg.net [data-at]")];
  const units = [...document.querySelectorAll("svg.net [data-of]")];
  const trace = JSON.parse(document.getElementById("trace").textContent);
  let current = -1;

  /** The number of one element of a quantity, in full; undefined where the page only describes the array. */
  function exact(key, index) {
    const path = index === "" ? [] : index.split(",").map(Number);
    const found = trace[key];
    if (found === undefined || typeof found.value === "string" && found.shape.length > 0) return undefined;
    return path.reduce((array, i) => array === undefined ? undefined : array[i], found.value);
  }

  function show(k, remember = true) {
    k = Math.max(0, Math.min(steps.length - 1, k));
    if (k === current) return;
    current = k;
    const step = steps[k];
    steps.forEach((s, i) => s.classList.toggle("open", i === k));
    const phase = step.dataset.phase;
    document.body.dataset.phase = phase;
    for (const figure of figures) {  // where there is room for one only, it is the one that the step is about
      const back = phase === "backward" || phase === "gradient";
      figure.classList.toggle("shown", figure.classList.contains("backward") === back);
    }
    for (const part of parts) {
      const at = Number(part.dataset.at);
      part.classList.toggle("later", at > k);
      part.classList.toggle("now", at === k);
    }
    const uses = new Set((step.dataset.uses || "").split(" "));
    for (const unit of units) unit.classList.toggle("used", uses.has(unit.dataset.of));
    for (const button of phases) button.setAttribute("aria-current", String(button.dataset.phase === phase));
    slider.value = String(k);
    slider.setAttribute("aria-valuetext", step.querySelector("h2").textContent);
    back.disabled = k === 0;
    next.disabled = k === steps.length - 1;
    follow();
    if (remember && location.protocol !== "about:") history.replaceState(null, "", `#step-${k}`);
  }

  /** Where a picture is wider than its place, what is new is moved into sight. */
  function follow() {
    for (const frame of document.querySelectorAll("figure .scroll")) {
      const fresh = [...frame.querySelectorAll(".unit.now")].map((n) => n.getBoundingClientRect());
      if (fresh.length === 0 || frame.scrollWidth <= frame.clientWidth) continue;
      const left = Math.min(...fresh.map((r) => r.left));
      const right = Math.max(...fresh.map((r) => r.right));
      const place = frame.getBoundingClientRect();
      frame.scrollLeft += (left + right) / 2 - (place.left + place.right) / 2;
    }
  }

  for (const shown of document.querySelectorAll("svg.net [data-key]")) {
    const value = exact(shown.dataset.key, shown.dataset.index);
    if (value === undefined) continue;
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = `${shown.dataset.key} = ${value}`;
    shown.append(title);
  }
  slider.addEventListener("input", () => show(Number(slider.value)));
  back.addEventListener("click", () => show(current - 1));
  next.addEventListener("click", () => show(current + 1));
  for (const phase of phases) phase.addEventListener("click", () => show(Number(phase.dataset.step)));
  addEventListener("keydown", (event) => {
    if (event.target === slider || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowRight") show(current + 1);
    if (event.key === "ArrowLeft") show(current - 1);
  });
  addEventListener("hashchange", () => show(fromHash(), false));

  function fromHash() {
    const found = /^#step-(\d+)$/.exec(location.hash);
    return found ? Number(found[1]) : 0;
  }

  /** What every step shows, as a reader would find it by moving the slider; and where the buttons lead. */
  function selftest() {
    const seen = steps.map((step, k) => {
      slider.value = String(k);
      slider.dispatchEvent(new Event("input"));
      const open = steps.filter((s) => getComputedStyle(s).display !== "none");
      const numbers = [...open.flatMap((s) => [...s.querySelectorAll("[data-key][data-index]")])];
      return {
        step: k,
        open: open.map((s) => Number(s.dataset.step)),
        phase: document.body.dataset.phase,
        later: parts.filter((p) => p.classList.contains("later")).length,
        figures: figures.filter((f) => getComputedStyle(f).display !== "none").map((f) => f.className.split(" ")[0]),
        tooWide: root.scrollWidth - root.clientWidth,
        numbers: numbers.map((n) => [n.dataset.key, n.dataset.index, n.textContent]),
      };
    });
    const pictured = [...document.querySelectorAll("svg.net [data-key]")].map((n) => {
      const title = n.querySelector("title");
      const text = [...n.childNodes].filter((c) => c !== title).map((c) => c.textContent).join("");
      return [n.dataset.key, n.dataset.index, text];
    });
    const last = current;
    back.click();
    const before = current;
    next.click();
    const out = document.createElement("pre");
    out.id = "selftest";
    const fetched = performance.getEntriesByType("resource").map((r) => r.name);
    out.textContent = JSON.stringify({ steps: seen, pictured, fetched, buttons: [last, before, current] });
    document.body.append(out);
  }

  root.classList.add("js");
  document.querySelector("nav").hidden = false;
  if (location.hash === "#selftest") { show(0, false); selftest(); } else show(fromHash(), false);
})();
