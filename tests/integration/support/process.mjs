// What a process has used, from /proc.
import fs from 'node:fs';

const TICKS_A_SECOND = 100;

export function cpuSeconds(pid) {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_A_SECOND;
}

export function residentBytes(pid) {
  return Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/^VmRSS:\s+(\d+) kB$/m)[1]) * 1024;
}

export function descriptors(pid) {
  return fs.readdirSync(`/proc/${pid}/fd`).length;
}

/** Until the process rests, or for so long. What an attacker has begun may go on after it has left. */
export async function settle(pid, ms = 5000) {
  for (const until = Date.now() + ms; Date.now() < until; ) {
    const before = cpuSeconds(pid);
    await new Promise((resolve) => setTimeout(resolve, 100));
    if (cpuSeconds(pid) - before <= 0.03) return;
  }
}

/** Watches while `work` runs: {cpu (seconds), grew (bytes, the most at once), ms}. */
export async function measure(pid, work) {
  const cpu = cpuSeconds(pid), before = residentBytes(pid), started = Date.now();
  let most = before;
  const timer = setInterval(() => (most = Math.max(most, residentBytes(pid))), 10);
  try {
    const result = await work();
    most = Math.max(most, residentBytes(pid));
    return { result, cpu: cpuSeconds(pid) - cpu, grew: most - before, ms: Date.now() - started };
  } finally {
    clearInterval(timer);
  }
}

export const mib = (bytes) => `${(bytes / (1 << 20)).toFixed(1)} MiB`;
