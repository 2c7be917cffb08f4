// Waiting in tests.

/** Asks again and again until `condition()` holds; returns what it gave. */
export async function until(condition, text = 'condition', ms = 60_000) {
  const deadline = Date.now() + ms;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms in vain: ${typeof text === 'function' ? text() : text}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
