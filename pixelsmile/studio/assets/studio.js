// Runs once per viewer; `element` is its root, `watch` calls back after new markup came in.
// Wipe and scrub change what is on the page already: no request leaves the browser.
const find = (selector) => element.querySelector(selector);
const all = (selector) => element.querySelectorAll(selector);
let wipe = "50"; // kept while the pictures change

const showWipe = () => {
  const stage = find(".ps-stage");
  const range = find(".ps-wipe");
  if (!stage || !range) return;
  range.value = wipe;
  stage.style.setProperty("--wipe", wipe + "%");
  range.setAttribute("aria-valuetext", wipe + " % before");
};

const showFrame = (frame) => {
  all(".ps-frame, .ps-reading").forEach((item) => {
    item.hidden = item.dataset.frame !== String(frame);
  });
  all(".ps-thumb").forEach((thumb) => {
    const chosen = thumb.dataset.frame === String(frame);
    thumb.setAttribute("aria-pressed", String(chosen));
    if (chosen) {
      const film = thumb.parentElement; // by hand: scrollIntoView would move the page as well
      film.scrollLeft = thumb.offsetLeft - film.offsetLeft - (film.clientWidth - thumb.clientWidth) / 2;
    }
  });
  const range = find(".ps-scrub");
  if (!range) return;
  range.value = frame;
  const label = range.dataset.labels.split("|")[frame];
  range.setAttribute("aria-valuetext", label);
  find(".ps-scrubber output").textContent = label;
};

const fresh = () => {
  showWipe();
  const range = find(".ps-scrub");
  if (range) showFrame(range.max);
};

element.addEventListener("input", (event) => {
  event.stopPropagation(); // these sliders are the page's own, not Gradio's
  if (event.target.matches(".ps-wipe")) {
    wipe = event.target.value;
    showWipe();
  } else if (event.target.matches(".ps-scrub")) {
    showFrame(event.target.value);
  }
});

element.addEventListener("click", (event) => {
  const thumb = event.target.closest(".ps-thumb");
  if (thumb) showFrame(thumb.dataset.frame);
});

watch("value", fresh);
fresh();
