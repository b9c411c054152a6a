// Cells one after another with tags tab-NAME become tabs; without a script, and in print, they stand below each other.
document.addEventListener("DOMContentLoaded", () => {
  const nameOf = (cell) => [...cell.classList].find((each) => each.startsWith("tag_tab-"));
  const groups = [];
  document.querySelectorAll('article .cell[class*="tag_tab-"]').forEach((cell) => {
    const last = groups.at(-1);
    if (last && last.at(-1).nextElementSibling === cell) last.push(cell); else groups.push([cell]);
  });
  groups.filter((cells) => cells.length > 1).forEach((cells, number) => {
    const bar = document.createElement("div");
    bar.className = "cell-tabs";
    bar.setAttribute("role", "tablist");
    const buttons = cells.map((cell, index) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = nameOf(cell).slice("tag_tab-".length).replaceAll("-", " ");
      button.setAttribute("role", "tab");
      cell.id ||= `tab-${number}-${index}`;
      button.setAttribute("aria-controls", cell.id);
      cell.setAttribute("role", "tabpanel");
      cell.setAttribute("aria-label", button.textContent);
      return button;
    });
    const show = (chosen) => cells.forEach((cell, index) => {
      cell.classList.toggle("other-tab", index !== chosen);
      buttons[index].setAttribute("aria-selected", String(index === chosen));
      buttons[index].tabIndex = index === chosen ? 0 : -1;
    });
    buttons.forEach((button, index) => {
      button.addEventListener("click", () => show(index));
      button.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!step) return;
        event.stopPropagation();
        const next = (index + step + cells.length) % cells.length;
        show(next);
        buttons[next].focus();
      });
    });
    bar.append(...buttons);
    cells[0].before(bar);
    show(0);
    // a link to a figure that another tab hides shows it
    const follow = () => {
      const target = location.hash && document.getElementById(location.hash.slice(1));
      const index = target ? cells.findIndex((cell) => cell.contains(target)) : -1;
      if (index >= 0) { show(index); target.scrollIntoView(); }
    };
    addEventListener("hashchange", follow);
    follow();
  });
});
