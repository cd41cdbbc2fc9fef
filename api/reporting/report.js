"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // light, dark: the system decides until somebody does
  const root = document.documentElement;
  const stored = (() => { try { return localStorage.getItem("nightshift-theme"); } catch { return null; } })();
  if (stored) root.dataset.theme = stored;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("nightshift-theme", root.dataset.theme); } catch { /* a private window keeps nothing */ }
  });

  // jobs: chips and words narrow the list together
  const jobs = all(".job").map((element) => ({
    element,
    status: element.dataset.status,
    text: element.querySelector("summary").textContent.toLowerCase(),
  }));
  const chips = all("[data-filter]");
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const narrow = () => {
    const wanted = new Set(chips.filter((c) => c.getAttribute("aria-pressed") === "true").map((c) => c.dataset.filter));
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const job of jobs) {
      const fits = (!wanted.size || wanted.has(job.status)) && words.every((word) => job.text.includes(word));
      job.element.hidden = !fits;
      count += fits;
    }
    shown.textContent = wanted.size || words.length ? `${count} of ${jobs.length} shown` : "";
    document.getElementById("none").hidden = count > 0 || jobs.length === 0;
  };
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      narrow();
    });
  }
  search.addEventListener("input", narrow);

  // pictures: slider, wheel and arrow keys turn the slices of a sprite
  for (const viewer of all(".viewer")) {
    const slider = viewer.querySelector("input");
    if (!slider) continue;
    const columns = Number(viewer.dataset.columns);
    const rows = Number(viewer.dataset.rows);
    const slices = JSON.parse(viewer.dataset.tiles);
    const image = viewer.querySelector("img");
    const place = viewer.querySelector(".place");
    const show = (index) => {
      const at = Math.max(0, Math.min(slices.length - 1, index));
      slider.value = at;
      image.style.transform = `translate(${(-100 * (at % columns)) / columns}%, ${(-100 * Math.floor(at / columns)) / rows}%)`;
      place.textContent = `${slices[at]} / ${viewer.dataset.count}`;
      slider.setAttribute("aria-valuetext", `slice ${slices[at]} of ${viewer.dataset.count}`);
    };
    slider.addEventListener("input", () => show(Number(slider.value)));
    let turned = 0;
    viewer.querySelector(".stage").addEventListener("wheel", (event) => {
      if (event.ctrlKey) return; // that is zooming
      event.preventDefault();
      turned += event.deltaMode ? event.deltaY * 40 : event.deltaY;
      const steps = Math.trunc(turned / 40);
      if (steps) { turned -= steps * 40; show(Number(slider.value) + Math.sign(steps)); }
    }, { passive: false });
    viewer.addEventListener("keydown", (event) => {
      const step = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -5, PageDown: 5 }[event.key];
      if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      show(Number(slider.value) + step);
    });
  }

  // several steps: one picture at a time
  for (const pictures of all(".pictures")) {
    const viewers = all(".viewer", pictures);
    if (viewers.length < 2) continue;
    const tabs = document.createElement("div");
    tabs.className = "tabs";
    tabs.setAttribute("role", "group");
    tabs.setAttribute("aria-label", "Step to show");
    const choose = (chosen) => viewers.forEach((viewer, at) => {
      viewer.hidden = at !== chosen;
      tabs.children[at].setAttribute("aria-pressed", String(at === chosen));
    });
    viewers.forEach((viewer, at) => {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.textContent = viewer.dataset.title;
      tab.addEventListener("click", () => choose(at));
      tabs.append(tab);
    });
    pictures.prepend(tabs);
    choose(0);
  }

  // a link to a job opens it; without one, something to look at is open
  const open = () => {
    const job = location.hash.startsWith("#job-") && document.getElementById(location.hash.slice(1));
    if (job) job.open = true;
  };
  addEventListener("hashchange", open);
  open();
  if (!document.querySelector(".job[open]")) {
    const first = document.querySelector(".viewer");
    if (first) first.closest(".job").open = true;
  }
})();
