// Where measurements and strokes stay: in the result folder where the page is served, else in the browser.

/** Write into the result folder, in place of the version the page knows: the answer, and the version there is now. */
export async function put(name, content, version) {
  const answer = await fetch(name, { method: "PUT", body: JSON.stringify(content), headers: { "Content-Type": "application/json", "If-Match": version } });
  return { answer, version: answer.headers.get("ETag") ?? version, isOutdated: answer.status === 412 };
}

export function keepInBrowser(place, content) {
  try {
    localStorage.setItem(place, JSON.stringify(content));
  } catch {
    // A page opened from disk may have no storage: what it keeps then lasts as long as the page.
  }
}

export function fromBrowser(place) {
  try {
    return JSON.parse(localStorage.getItem(place));
  } catch {
    return null;
  }
}

/** Entries of two lists that began as one: what either added is there, what either removed is not. */
export function merged(base, mine, theirs) {
  const keys = (list) => new Set(list.map((entry) => JSON.stringify(entry))), [before, here, there] = [base, mine, theirs].map(keys);
  const key = (entry) => JSON.stringify(entry);
  const kept = theirs.filter((entry) => here.has(key(entry)) || !before.has(key(entry)));
  return [...kept, ...mine.filter((entry) => !before.has(key(entry)) && !there.has(key(entry)))];
}
