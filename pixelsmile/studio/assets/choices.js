// Buttons inside markup: says which one was pressed, as "choose" with its data attributes.
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-example], [data-choose], [data-restore]");
  if (!button) return;
  const { example, choose, restore } = button.dataset;
  const chosen = example ?? restore;
  trigger("choose", { chosen: chosen === undefined ? choose : Number(chosen) });
});
