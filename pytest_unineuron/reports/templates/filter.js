"use strict";
// Hides what the boxes and the search text of the filter leave out; everything is shown without it.
const filter = document.querySelector(".filter");
if (filter) {
  filter.hidden = false;
  filter.addEventListener("input", () => {
    const search = filter.querySelector("[type=search]").value.toLowerCase();
    const shown = new Set([...filter.querySelectorAll(":checked")].map((box) => box.value));
    for (const one of document.querySelectorAll("[data-outcome]")) {
      one.hidden = !shown.has(one.dataset.outcome) || !one.dataset.name.toLowerCase().includes(search);
    }
    for (const trial of document.querySelectorAll("section.trial")) {
      trial.hidden = trial.querySelector("[data-outcome]") !== null && trial.querySelector("[data-outcome]:not([hidden])") === null;
    }
  });
}
