// GET /metrics: what it says under a known load, and whether Prometheus takes it and the alert rules of docs/.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { Authority, opensslMissing } from './support/certificates.mjs';
import { json, request } from './support/http.mjs';
import { connect, disconnectAll } from './support/sdk.mjs';
import { makeTempDir, removeDir, runSkerry, startServer } from './support/server.mjs';
import { until } from './support/wait.mjs';

const ROOT = 'projects/demo/databases/(default)/documents';
const SERVICE = '/google.firestore.v1.Firestore';
const ALERTS = fileURLToPath(new URL('../../docs/alerts.yml', import.meta.url));

// Debian has it in the package prometheus; scripts/setup --tests unpacks it.
const PROMTOOL = [process.env.SKERRY_PROMTOOL, fileURLToPath(new URL('../../build/tools/promtool', import.meta.url)), '/usr/bin/promtool'].find((path) => path && existsSync(path));
const promtoolMissing = PROMTOOL ? false : 'promtool is not installed (Debian: prometheus)';
const promtool = (args, input) => spawnSync(PROMTOOL, args, { input, encoding: 'utf8' });

/** The text as a Map from "name{labels}" to a number. */
function parse(text) {
  const values = new Map();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const match = line.match(/^([a-z_]+(?:\{[^}]*\})?) (-?[\d.]+)$/);
    assert.ok(match, line);
    assert.ok(!values.has(match[1]), `twice: ${line}`);
    values.set(match[1], Number(match[2]));
  }
  return values;
}

let server;
before(async () => (server = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--metrics', 'local'] })));
after(async () => {
  await disconnectAll();
  await server.close();
});

async function metrics(from = server, options) {
  const answer = await request(from.port, '/metrics', options);
  assert.equal(answer.status, 200);
  assert.match(answer.headers['content-type'], /^text\/plain; version=0\.0\.4/);
  return { text: answer.text, values: parse(answer.text) };
}

/** The buckets of a histogram in their order: [le, count]. */
function buckets(values, name, label = '') {
  const start = `${name}_bucket{${label === '' ? '' : `${label},`}le="`;
  return [...values].filter(([key]) => key.startsWith(start)).map(([key, count]) => [key.slice(start.length, -2), count]);
}

function assertHistogram(values, name, label = '') {
  const all = buckets(values, name, label);
  const braces = label === '' ? '' : `{${label}}`;
  assert.ok(all.length > 5, name);
  assert.equal(all.at(-1)[0], '+Inf');
  assert.equal(all.at(-1)[1], values.get(`${name}_count${braces}`));
  for (let i = 1; i < all.length; i++) {
    assert.ok(all[i][1] >= all[i - 1][1], `${name} ${all[i]}`);
    assert.ok(i === all.length - 1 || Number(all[i][0]) > Number(all[i - 1][0]), `${name} ${all[i]}`);
  }
  assert.ok(values.get(`${name}_sum${braces}`) >= 0, name);
  return values.get(`${name}_count${braces}`);
}

test('off unless the setting says so', async () => {
  const silent = await startServer();
  try {
    assert.equal((await request(silent.port, '/metrics')).status, 404);
  } finally {
    await silent.close();
  }
});

test('a known load moves what it should, and by how much', async () => {
  const call = (method, path, value) => json(server.port, method, `/v1/${path}`, value);
  const { values: before } = await metrics();
  const start = Date.now();
  for (let i = 0; i < 7; i++) assert.equal((await call('POST', `${ROOT}/load?documentId=d${i}`, {})).status, 200);
  for (let i = 0; i < 5; i++) assert.equal((await call('GET', `${ROOT}/load/d0`)).status, 200);
  for (let i = 0; i < 3; i++) assert.equal((await call('GET', `${ROOT}/load/none`)).status, 404);
  const seconds = (Date.now() - start) / 1000;
  const { values: now } = await metrics();
  const moved = (key) => (now.get(key) ?? 0) - (before.get(key) ?? 0);
  assert.equal(moved(`skerry_calls_started_total{method="${SERVICE}/CreateDocument"}`), 7);
  assert.equal(moved(`skerry_calls_finished_total{method="${SERVICE}/CreateDocument",code="OK"}`), 7);
  assert.equal(moved(`skerry_calls_finished_total{method="${SERVICE}/GetDocument",code="OK"}`), 5);
  assert.equal(moved(`skerry_calls_finished_total{method="${SERVICE}/GetDocument",code="NOT_FOUND"}`), 3);
  assert.equal(moved(`skerry_messages_sent_total{method="${SERVICE}/GetDocument"}`), 5);
  assert.equal(moved('skerry_commits_total'), 7);
  assert.equal(moved('skerry_commit_group_size_sum'), 7); // the members of all groups
  assert.equal(moved('skerry_commit_group_size_count'), moved('skerry_commit_groups_total'));
  assert.ok(moved('skerry_commit_write_seconds_count') >= 7);
  assert.ok(moved('skerry_commit_write_seconds_sum') > 0 && moved('skerry_commit_write_seconds_sum') <= seconds);
  assert.equal(moved('skerry_http_requests_total'), 16); // 15 and the one that asks
  const [, requests, refused] = runSkerry(['status', '--data', server.dataDir]).stdout.match(/^http {6}\d+ connections of HTTP\/1\.1; (\d+) requests, (\d+) refused$/m);
  assert.deepEqual([Number(requests), Number(refused)], [now.get('skerry_http_requests_total'), now.get('skerry_http_refused_total')]);
  assert.equal((await request(server.port, '/nothing')).status, 404);
  assert.equal((await metrics()).values.get('skerry_http_refused_total'), Number(refused) + 1);
  assert.equal(moved('skerry_hot_documents_hits_total') + moved('skerry_hot_documents_misses_total'), 15);
  assert.equal(assertHistogram(now, 'skerry_call_duration_seconds', `method="${SERVICE}/GetDocument"`), 8);
  assert.equal(assertHistogram(now, 'skerry_call_duration_seconds', `method="${SERVICE}/CreateDocument"`), 7);
  assertHistogram(now, 'skerry_commit_group_size');
  assertHistogram(now, 'skerry_commit_write_seconds');
  const spent = now.get(`skerry_call_duration_seconds_sum{method="${SERVICE}/CreateDocument"}`);
  assert.ok(spent > 7 * 64e-6 && spent <= seconds, `${spent} s of ${seconds}`);
  assert.ok(moved('process_cpu_seconds_total') > 0 && moved('process_cpu_seconds_total') < 4 * seconds + 1);
  assert.ok(Math.abs(now.get('process_start_time_seconds') - Date.now() / 1000) < 120);
  assert.ok(now.get('process_resident_memory_bytes') > 1e6 && now.get('process_threads') > 4);
});

test('syncs of a relaxed store are told apart from writes', async () => {
  const relaxed = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--metrics', 'local', '--sync', 'relaxed'] });
  try {
    assert.equal((await json(relaxed.port, 'PATCH', `/v1/${ROOT}/relaxed/a`, {})).status, 200);
    const { values } = await until(async () => {
      const now = await metrics(relaxed);
      return now.values.get('skerry_background_sync_seconds_count') > 0 && now;
    });
    assert.ok(assertHistogram(values, 'skerry_background_sync_seconds') >= 1);
    assert.ok(values.get('skerry_background_sync_seconds_sum') > 0);
    if (!promtoolMissing) assert.equal(promtool(['check', 'metrics'], (await metrics(relaxed)).text).status, 0);
  } finally {
    await relaxed.close();
  }
  assert.equal((await metrics()).values.get('skerry_background_sync_seconds_count'), 0); // each write is synced there
});

test('listeners and transactions are counted while they are there', async () => {
  const db = connect(server);
  const unsubscribe = await new Promise((resolve, reject) => {
    const stop = db.collection('watched').onSnapshot(() => resolve(stop), reject);
  });
  const { values: with_ } = await metrics();
  assert.match(runSkerry(['status', '--data', server.dataDir]).stdout, /^live {6}[1-9]\d* calls under way; 1 listen streams with 1 targets$/m);
  assert.equal(with_.get('skerry_listen_streams'), 1);
  assert.equal(with_.get('skerry_listen_targets'), 1);
  assert.ok(with_.get('skerry_memory_bytes{share="listen"}') > 0);
  assert.ok(with_.get('process_open_fds') > 8);
  unsubscribe();
  await until(async () => {
    const { values } = await metrics();
    return values.get('skerry_listen_streams') === 0 && values.get('skerry_listen_targets') === 0;
  });
  const shown = runSkerry(['status', '--data', server.dataDir]).stdout;
  assert.match(shown, /^live {6}\d+ calls under way; 0 listen streams with 0 targets$/m);
  const open = await db.runTransaction(async (transaction) => {
    await transaction.getAll(...Array.from({ length: 400 }, (_, i) => db.doc(`watched/d${i}`)));
    return (await metrics()).values;
  });
  assert.equal(open.get('skerry_transactions_open'), 1);
  assert.ok(open.get('skerry_memory_bytes{share="transactions"}') > 0);
  assert.equal((await metrics()).values.get('skerry_memory_bytes{share="transactions"}'), 0);
});

test('promtool takes the format', { skip: promtoolMissing }, async () => {
  const { text } = await metrics();
  const { status, stdout, stderr } = promtool(['check', 'metrics'], text);
  assert.deepEqual([status, stdout, stderr], [0, '', '']);
});

test('handshakes and certificates, over TLS', { skip: opensslMissing }, async () => {
  const directory = makeTempDir();
  const authority = new Authority(directory);
  const { certFile, keyFile } = authority.server();
  mkdirSync(`${directory}/stranger`);
  const stranger = new Authority(`${directory}/stranger`);
  const secure = await startServer({
    args: ['--listen', '127.0.0.1:0', '--tls-cert', certFile, '--tls-key', keyFile, '--projects', 'demo', '--clock', 'trusted', '--metrics', 'all', '--accounts', 'on'],
  });
  try {
    await metrics(secure, { ca: authority.cert });
    await assert.rejects(request(secure.port, '/metrics', { ca: stranger.cert }));
    // A pump tells its counts at the end of a turn, and what it passed on in that turn may be answered before.
    let values, text;
    await until(async () => {
      ({ values, text } = await metrics(secure, { ca: authority.cert }));
      return values.get('skerry_tls_handshakes_total') >= 2 && values.get('skerry_tls_handshakes_failed_total') === 1;
    }, 'the handshakes to be counted');
    assert.ok(values.get('skerry_certificate_not_after_seconds{index="0"}') > Date.now() / 1000);
    if (!promtoolMissing) assert.equal(promtool(['check', 'metrics'], text).status, 0);
    checkAlertNames(text);
  } finally {
    await secure.close();
    removeDir(directory);
  }
});

/** Every metric that an alert rule names is one that the server has, or Prometheus' own. */
function checkAlertNames(text) {
  const there = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
  there.add('skerry_issuer_failures'); // only where there are issuers
  const rules = readFileSync(ALERTS, 'utf8');
  const named = new Set([...rules.matchAll(/\b(?:skerry|process)_[a-z_]+/g)].map(([name]) => name).filter((name) => name !== 'skerry'));
  assert.ok(named.size > 12);
  for (const name of named) assert.ok(there.has(name.replace(/_(bucket|sum|count)$/, '')) || there.has(name), `${name} is not in /metrics`);
}

test('accounts: who came, by which way, and what became of it', async () => {
  const post = async (path, value) => (await json(server.port, 'POST', path, value)).value;
  const toolkit = (name, value) => post(`/identitytoolkit.googleapis.com/v1/accounts:${name}`, value);
  const refresh = (token) => post('/securetoken.googleapis.com/v1/token', { grant_type: 'refresh_token', refresh_token: token });
  const { values: before } = await until(async () => {
    const now = await metrics();
    return now.values.has('skerry_accounts') && now;
  }, 'accounts to be counted');
  const who = { email: 'metrics@example.com', password: 'correct horse' };
  const anonymous = await toolkit('signUp', {});
  const person = await toolkit('signUp', who);
  await toolkit('signUp', who); // taken: no sign-in
  await toolkit('signInWithPassword', who);
  for (let i = 0; i < 3; i++) await toolkit('signInWithPassword', { ...who, password: 'a guess' });
  const unsigned = (claims) => `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`;
  await toolkit('signInWithCustomToken', { token: unsigned({ uid: 'metrics' }) });
  await toolkit('signInWithCustomToken', { token: unsigned({ uid: 'metrics' }) });
  const one = await refresh(person.refreshToken);
  await refresh(person.refreshToken); // the answer was lost
  await refresh(one.refresh_token);
  await refresh(person.refreshToken); // a copy
  await refresh('nonsense');
  await toolkit('delete', { idToken: anonymous.idToken });
  const { values: now, text } = await metrics();
  const moved = (key) => now.get(key) - before.get(key);
  const expected = {
    'skerry_accounts_made_total{way="anonymous"}': 1,
    'skerry_accounts_made_total{way="password"}': 1,
    'skerry_accounts_made_total{way="custom_token"}': 1,
    'skerry_accounts_made_total{way="administrator"}': 0,
    'skerry_accounts_deleted_total{by="owner"}': 1,
    'skerry_accounts_deleted_total{by="age"}': 0,
    skerry_accounts: 2,
    'skerry_sign_ins_total{way="password",result="ok"}': 1,
    'skerry_sign_ins_total{way="password",result="wrong"}': 3,
    'skerry_sign_ins_total{way="password",result="limited"}': 0,
    'skerry_sign_ins_total{way="custom_token",result="ok"}': 2,
    'skerry_token_refreshes_total{result="ok"}': 2,
    'skerry_token_refreshes_total{result="again"}': 1,
    'skerry_token_refreshes_total{result="reused"}': 1,
    'skerry_token_refreshes_total{result="wrong"}': 1,
    skerry_password_hashes_total: 5, // a sign-up and four sign-ins; the taken address needs none
    skerry_attempts_refused_total: 0,
  };
  for (const [name, value] of Object.entries(expected)) assert.equal(moved(name), value, name);
  assert.ok(moved('skerry_password_hash_seconds_total') > 0);
  assert.ok(!/metrics@example|nonsense/.test(text)); // nothing that a client chose
  const shown = runSkerry(['status', '--data', server.dataDir]).stdout;
  assert.match(shown, /^accounts {2}about \d+; \d+ sign-ins, \d+ with wrong credentials, \d+ refused for too many; \d+ refreshes$/m);
  assert.match(shown, /^ {10}1 sessions ended: their refresh token was used again/m);
});

test('alerts of accounts come when they should', { skip: promtoolMissing }, () => {
  const { status, stdout, stderr } = promtool(['test', 'rules', fileURLToPath(new URL('alerts_test.yml', import.meta.url))]);
  assert.equal(status, 0, stdout + stderr);
});

test('promtool takes the alert rules', { skip: promtoolMissing }, () => {
  const { status, stdout, stderr } = promtool(['check', 'rules', ALERTS]);
  assert.equal(status, 0, stdout + stderr);
  assert.match(stdout, /SUCCESS: \d+ rules found/);
});
