// What this browser keeps. Storage may be forbidden: a choice then lasts as long as the page.

export function store(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // See above.
  }
}

export function stored(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}
