// What the pages do in a browser. Everything works from a file, too: nothing is fetched but what lies beside the page.
"use strict";
const onFile = location.protocol === "file:";
const remembered = {
  get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
  set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* a browser that keeps nothing */ } },
};
if (remembered.get("show-code") === "yes") document.documentElement.classList.add("show-code");

// One switch for all code of a page, remembered from page to page.
function addCodeSwitch() {
  const bar = document.querySelector(".article-header-buttons");
  if (!bar || !document.querySelector("article details.hide.above-input")) return;
  const button = document.createElement("button");
  button.className = "btn btn-sm pst-navbar-icon code-switch";
  button.type = "button";
  button.innerHTML = '<i class="fas fa-code" aria-hidden="true"></i>';
  button.title = "Show all code";
  button.setAttribute("aria-label", "Show all code");
  const apply = (on) => {
    document.documentElement.classList.toggle("show-code", on);
    button.setAttribute("aria-pressed", String(on));
    document.querySelectorAll("article details.hide.above-input").forEach((each) => { each.open = on; });
  };
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    remembered.set("show-code", on ? "yes" : "no");
    apply(on);
  });
  bar.prepend(button);
  apply(document.documentElement.classList.contains("show-code"));
}

// Tables: their rows as CSV, formulas as their TeX.
const cellText = (cell) => {
  const copy = cell.cloneNode(true);
  copy.querySelectorAll("[data-tex]").forEach((each) => { each.textContent = each.dataset.tex; });
  return copy.textContent.trim().replace(/\s+/g, " ");
};
const csvOf = (table) => [...table.rows]
  .map((row) => [...row.cells].map((cell) => `"${cellText(cell).replaceAll('"', '""')}"`).join(","))
  .join("\n") + "\n";

function addCsvButtons() {
  document.querySelectorAll("article table.table").forEach((table) => {
    const box = table.closest(".pst-scrollable-table-container");
    if (!box || table.rows.length < 2) return;
    const button = document.createElement("button");
    button.className = "copy-csv";
    button.type = "button";
    button.textContent = "copy as CSV";
    button.addEventListener("click", async () => {
      let done = "copied";
      try { await navigator.clipboard.writeText(csvOf(table)); } catch { save("table.csv", csvOf(table), "text/csv"); done = "saved"; }
      button.textContent = done;
      setTimeout(() => { button.textContent = "copy as CSV"; }, 2000);
    });
    box.after(button);
  });
}

// What scrolls sideways can be focused and says by a fade that there is more.
function watchBoxes() {
  const boxes = document.querySelectorAll(
    "article .pst-scrollable-table-container, article figure, article div.math, article .highlight pre, article .cell_output");
  boxes.forEach((box) => {
    const look = () => {
      const more = box.scrollWidth > box.clientWidth + 2;
      box.classList.toggle("more-to-see", more && box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
      if (more && !box.hasAttribute("tabindex")) box.tabIndex = 0;
    };
    box.addEventListener("scroll", look, { passive: true });
    box.addEventListener("keydown", (event) => {  // arrows scroll here, and turn no page
      if (event.key.startsWith("Arrow") && box.scrollWidth > box.clientWidth + 2) event.stopPropagation();
    });
    new ResizeObserver(look).observe(box);
  });
}

// From a file `download` is ignored, and the browser shows the source instead: save what a script brings.
function save(name, text, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
function load(source) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = source;
    script.onload = resolve;
    script.onerror = reject;
    document.head.append(script);
  });
}
const root = () => document.documentElement.dataset.content_root || "./";

function mendDownloads() {
  document.querySelectorAll("a.btn-download-source-button, a.btn-download-text-button").forEach((link) => {
    link.setAttribute("download", "");
    link.removeAttribute("target");
    if (!onFile) return;
    link.addEventListener("click", async (event) => {
      event.preventDefault();
      const name = link.getAttribute("href").split("/").pop();
      await load(`${root()}_static/offline/${name}.js`);
      save(name, window.PAGE_SOURCE, "application/octet-stream");
    });
  });
}

// Sphinx's search fetches pages for its excerpts, which a browser refuses for files: answer from texts in a script.
if (onFile && /search\.html$/.test(location.pathname)) {
  const texts = new Promise((resolve) => {
    document.addEventListener("DOMContentLoaded", () => load("_static/offline/texts.js").then(resolve, resolve));
  });
  window.fetch = async (address) => {
    await texts;
    const name = String(address).split("#")[0].replace(/^.*?(book\/[^/]*)\.html$/, "$1");
    return new Response((window.PAGE_TEXTS || {})[name] || '<div role="main"></div>');
  };
}

// A link to what is folded opens it.
function unfold() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = target && target.closest("details");
  if (!folded) return;
  folded.open = true;
  target.scrollIntoView();
}

// The reference of the library is printed whole.
addEventListener("beforeprint", () => {
  document.querySelectorAll("details.library").forEach((each) => { each.open = true; });
});

document.addEventListener("DOMContentLoaded", () => {
  addCodeSwitch();
  unfold();
  addEventListener("hashchange", unfold);
  addCsvButtons();
  watchBoxes();
  mendDownloads();
});
