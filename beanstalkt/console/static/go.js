// Goes to another address of the console, as a link would.

export function go(address, options = {}) {
  document.dispatchEvent(new CustomEvent("navigate-to", { detail: { address, ...options } }));
}
