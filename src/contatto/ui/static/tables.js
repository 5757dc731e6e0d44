// Says at which edge a table goes on, so that its frame can show it.
function look(frame) {
  const more = frame.scrollWidth - frame.clientWidth;
  const at = Math.abs(frame.scrollLeft); // negative where one reads from right to left
  frame.toggleAttribute("data-more-start", more > 1 && at > 1);
  frame.toggleAttribute("data-more-end", more > 1 && at < more - 1);
}

const sizes = new ResizeObserver((entries) => { for (const { target } of entries) look(target.closest(".table-wrap") ?? target); });

function watch() {
  for (const frame of document.querySelectorAll(".table-wrap")) {
    look(frame);
    if (frame.dataset.watched) continue;
    frame.dataset.watched = "1";
    sizes.observe(frame);
    frame.addEventListener("scroll", () => look(frame), { passive: true });
  }
}

watch();
document.addEventListener("htmx:after:swap", watch);
