// Waiting in tests.

/** Whether skerry runs on an emulated processor (scripts/test-arm): its memory and processor time are then qemu's. */
export const isUnderQemu = process.env.SKERRY_UNDER_QEMU === '1';

/** A bound that only a server that hangs is to reach, longer under emulation (as ctest's is: SKERRY_TIMEOUT_FACTOR). */
export const patient = (ms) => ms * (isUnderQemu ? 5 : 1);

/** Asks again and again until `condition()` holds; returns what it gave. `ms` is for a processor that is not emulated. */
export async function until(condition, text = 'condition', ms = 60_000) {
  const deadline = Date.now() + patient(ms);
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`waited ${patient(ms)} ms in vain: ${typeof text === 'function' ? text() : text}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
