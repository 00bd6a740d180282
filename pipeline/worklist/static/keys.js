// The keyboard: one table from key to command.

const typing = (target) => target.closest?.("input, select, textarea, [contenteditable]");

/** `commands`: key -> function. Keys typed into a field, with a modifier, or under a dialog are left alone. */
export function listenToKeys(commands) {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
    if (typing(event.target) && event.key !== "Escape") return;
    const arrows = event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End";
    if (arrows && !event.target.closest?.("#rows")) return;
    const command = commands[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!command) return;
    event.preventDefault();
    command(event);
  });
}
