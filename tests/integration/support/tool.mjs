// Programs of this machine that tests drive.
import { spawn, spawnSync } from 'node:child_process';
import { patient } from './wait.mjs';

const TOOL_MS = patient(15_000);

/** For the option `skip`: why a test that needs the program cannot run, or false. */
export function toolMissing(name) {
  return spawnSync(name, ['--version']).error ? `${name} is not installed` : false;
}

/**
 * Runs a program to its end: {code, stdout, stderr, all}. `input` is written at once; with `until`, standard input stays
 * open until that is true of all output so far (or a while has gone by), then gets `last` and is closed.
 */
export async function runTool(name, args, { input = '', until, untilMs = 5000, last = '' } = {}) {
  const child = spawn(name, args, { stdio: 'pipe' });
  const result = { code: null, stdout: '', stderr: '', all: '' };
  const started = Date.now();
  const finish = () => {
    clearInterval(asking);
    child.stdin.end(last);
  };
  const asking = setInterval(() => (until(result.all) || Date.now() - started > patient(untilMs)) && finish(), 10);
  const timer = setTimeout(() => child.kill('SIGKILL'), TOOL_MS);
  for (const stream of ['stdout', 'stderr'])
    child[stream].on('data', (chunk) => {
      result[stream] += chunk.toString('latin1');
      result.all += chunk.toString('latin1');
    });
  child.stdin.on('error', () => {}); // it may end before it has read everything
  child.stdin.write(input);
  if (!until) finish();
  try {
    result.code = await new Promise((resolve, reject) => child.on('close', resolve).on('error', reject));
  } finally {
    clearInterval(asking);
    clearTimeout(timer);
  }
  return result;
}
