// Attacks on accounts: by who has lost a session, by who made an account with somebody else's address, by who has the mail
// but not the second factor, by who wants to know who has an account, and by who wants to administer.
import { Box, cleanUp, skip } from './support/access.mjs'; // first
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { accountCalls, ADMIN, NEXT, outcome, PASSWORD, STOLEN, TOOLKIT } from './support/account_calls.mjs';
import { accountServices, claimsOf, closeVerified, totp } from './support/accounts.mjs';
import { json } from './support/http.mjs';
import { cpuSeconds } from './support/process.mjs';
import { Rpc } from './support/rpc.mjs';
import { startServer } from './support/server.mjs';
import { until } from './support/wait.mjs';

const options = { skip };

let server, users, people = 0;
before(async () => {
  if (skip) return;
  server = await startServer();
  users = new Rpc(server.address, accountServices().Accounts, { authorization: null });
});
after(async () => {
  users?.close();
  if (server) await closeVerified(server);
  cleanUp();
});

const { newEmail, post, owner, signUp, signIn, apply, codesFor, mail, verify, verified } = accountCalls(() => server);
const changeCode = (idToken, newEmail) => mail('VERIFY_AND_CHANGE_EMAIL', undefined, { idToken, newEmail });

describe('codes do not outlive what they were asked with', options, () => {
  test('a change of address, when the password was changed', async () => {
    const email = newEmail('victim');
    const { idToken } = await verified(email); // the thief has this token
    const code = await changeCode(idToken, newEmail('thief'));
    const { idToken: own } = await signIn(email);
    assert.equal(outcome(await post(`${TOOLKIT}:update`, { idToken: own, password: NEXT })), 'OK');
    assert.equal(outcome(await apply(code)), 'INVALID_OOB_CODE');
    assert.equal((await signIn(email, NEXT)).email, email);
  });

  test('a change of address, when all sessions were ended', async () => {
    for (const end of [(user) => users.call('RevokeSessions', { id_token: user.idToken, all: true }), (user) => owner(':update', { localId: user.localId, validSince: String(Math.floor(Date.now() / 1000) + 1) }),
      (user) => owner(':update', { localId: user.localId, password: NEXT })]) {
      const user = await verified(newEmail('victim'));
      const code = await changeCode(user.idToken, newEmail('thief'));
      assert.equal(outcome(await end(user)), 'OK', String(end));
      assert.equal(outcome(await apply(code)), 'INVALID_OOB_CODE', String(end));
    }
  });

  test('a change of address, when the owner of the address took the account over', async () => {
    const email = newEmail('victim');
    const { idToken } = await signUp(email); // by somebody else
    const code = await changeCode(idToken, newEmail('squatter'));
    const link = await mail('EMAIL_SIGNIN', email, { canHandleCodeInApp: true });
    const { localId } = await post(`${TOOLKIT}:signInWithEmailLink`, { email, oobCode: link });
    assert.equal(outcome(await apply(code)), 'INVALID_OOB_CODE');
    assert.deepEqual((await owner(':lookup', { localId: [localId] })).users[0].email, email);
  });
});

describe('who lost the address gets it back', options, () => {
  const steal = async () => {
    const email = newEmail('victim'), thief = newEmail('thief');
    const { localId, idToken } = await verified(email);
    assert.equal(outcome(await apply(await changeCode(idToken, thief))), 'OK');
    return { email, thief, localId, recovery: (await codesFor(email, 'RECOVER_EMAIL')).at(-1).oobCode };
  };
  const recovers = async ({ email, localId, recovery }) => {
    assert.equal(outcome(await apply(recovery)), 'OK');
    assert.equal((await owner(':lookup', { localId: [localId] })).users[0].email, email);
  };

  test('after a second change', async () => {
    const stolen = await steal(), second = newEmail('thief');
    assert.equal(outcome(await apply(await changeCode((await signIn(stolen.thief)).idToken, second))), 'OK');
    const later = (await codesFor(stolen.thief, 'RECOVER_EMAIL')).at(-1).oobCode;
    await recovers(stolen);
    assert.equal(outcome(await apply(later)), 'INVALID_OOB_CODE'); // the thief's does not
  });
  test('after the password was reset or changed', async () => {
    const stolen = await steal();
    assert.equal(outcome(await post(`${TOOLKIT}:resetPassword`, { oobCode: await mail('PASSWORD_RESET', stolen.thief), newPassword: STOLEN })), 'OK');
    assert.equal(outcome(await post(`${TOOLKIT}:update`, { idToken: (await signIn(stolen.thief, STOLEN)).idToken, password: NEXT })), 'OK');
    await recovers(stolen);
  });
  test('after many other mails', async () => {
    const stolen = await steal();
    const { idToken } = await signIn(stolen.thief);
    for (let i = 0; i < 9; i++) await changeCode(idToken, newEmail('other'));
    await recovers(stolen);
  });
  test('after somebody made an account with it, unless he showed that it is his', async () => {
    const stolen = await steal();
    const { localId, idToken } = await signUp(stolen.email, STOLEN);
    await recovers(stolen);
    assert.equal(outcome(await post(`${TOOLKIT}:lookup`, { idToken })), 'TOKEN_EXPIRED');
    const [blocker] = (await owner(':lookup', { localId: [localId] })).users;
    assert.deepEqual([blocker.email, blocker.providerUserInfo], [undefined, undefined]);
    assert.equal(outcome(await signIn(stolen.email, STOLEN)), 'INVALID_LOGIN_CREDENTIALS');
    assert.equal((await signIn(stolen.email)).localId, stolen.localId);
    assert.equal(outcome(await owner(':delete', { localId })), 'OK'); // and does not take the address with it
    assert.equal((await signIn(stolen.email)).localId, stolen.localId);
    const other = await steal();
    await verified(other.email);
    assert.equal(outcome(await apply(other.recovery)), 'EMAIL_EXISTS');
  });
  test('but not from an administrator', async () => {
    const email = newEmail('victim');
    const { localId } = await verified(email);
    assert.equal(outcome(await owner(':update', { localId, email: newEmail() })), 'OK');
    assert.deepEqual(await codesFor(email, 'RECOVER_EMAIL'), []);
  });
  test('but not what never was shown to be his', async () => {
    const email = newEmail('victim'), own = newEmail('squatter');
    const { idToken } = await signUp(email);
    assert.equal(outcome(await apply(await changeCode(idToken, own))), 'OK');
    assert.deepEqual(await codesFor(email, 'RECOVER_EMAIL'), []); // a click would give the squatter's account the address
  });
  test('and then an account that was taken over is not given back to who had it', async () => {
    const first = newEmail('squatter'), email = newEmail('victim');
    const { idToken, localId } = await verified(first);
    const second = newEmail('squatter');
    assert.equal(outcome(await apply(await changeCode(idToken, second))), 'OK');
    const recovery = (await codesFor(first, 'RECOVER_EMAIL')).at(-1).oobCode;
    assert.equal(outcome(await post(`${TOOLKIT}:update`, { idToken: (await signIn(second)).idToken, email })), 'OPERATION_NOT_ALLOWED');
    assert.equal(outcome(await owner(':update', { localId, email })), 'OK'); // somebody is persuaded to
    await post(`${TOOLKIT}:signInWithEmailLink`, { email, oobCode: await mail('EMAIL_SIGNIN', email, { canHandleCodeInApp: true }) });
    assert.equal(outcome(await apply(recovery)), 'INVALID_OOB_CODE');
  });
});

describe('a change that waits for its hash while the session ends is not made', options, () => {
  // Passwords are hashed one after another, so these keep what comes next waiting.
  const crowd = () => Array.from({ length: 30 }, () => signIn(newEmail('crowd'), 'whatever'));
  for (const [name, end] of [
    ['by the user', (user) => users.call('RevokeSessions', { id_token: user.idToken, all: true })],
    ['by an administrator', (user) => owner(':update', { localId: user.localId, validSince: String(Math.floor(Date.now() / 1000) + 1) })],
    ['with the account', (user) => owner(':update', { localId: user.localId, disableUser: true })],
  ])
    test(name, async () => {
      const guest = await post(`${TOOLKIT}:signUp`, {}), user = await signUp(newEmail('victim'));
      const waiting = crowd();
      let done = 0;
      const changes = [
        post(`${TOOLKIT}:signUp`, { idToken: guest.idToken, email: newEmail('thief'), password: STOLEN }),
        post(`${TOOLKIT}:update`, { idToken: user.idToken, password: STOLEN }),
      ].map((one) => one.finally(() => done++));
      await new Promise((resolve) => setTimeout(resolve, 300)); // they are in the queue
      for (const one of [guest, user]) assert.equal(outcome(await end(one)), 'OK');
      assert.equal(done, 0, 'the queue was too short for this test');
      for (const one of await Promise.all(changes)) assert.match(outcome(one), /^(TOKEN_EXPIRED|USER_DISABLED)$/);
      await Promise.all(waiting);
    });
});

test('a password that is added ends the other sessions', options, async () => {
  const uid = `linked-${++people}`;
  const token = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify({ uid })).toString('base64url')}.`;
  const [stolen, own] = [await post(`${TOOLKIT}:signInWithCustomToken`, { token }), await post(`${TOOLKIT}:signInWithCustomToken`, { token })];
  const linked = await post(`${TOOLKIT}:signUp`, { idToken: own.idToken, email: newEmail(), password: PASSWORD });
  assert.equal(outcome(await post(`${TOOLKIT}:lookup`, { idToken: stolen.idToken })), 'TOKEN_EXPIRED');
  assert.equal(outcome(await post(`${TOOLKIT}:lookup`, { idToken: linked.idToken })), 'OK');
});

describe('the second factor', options, () => {
  const start = (idToken) => post('/identitytoolkit.googleapis.com/v2/accounts/mfaEnrollment:start', { idToken, totpEnrollmentInfo: {} });
  const enrol = async (idToken) => {
    const { totpSessionInfo: info } = await start(idToken);
    return post('/identitytoolkit.googleapis.com/v2/accounts/mfaEnrollment:finalize', { idToken, totpVerificationInfo: { sessionInfo: info.sessionInfo, verificationCode: totp(info.sharedSecretKey) } });
  };
  test('is not for an address that anybody may have: who has it would take the account, and the factor with it', async () => {
    const email = newEmail();
    const { idToken } = await signUp(email);
    assert.equal(outcome(await start(idToken)), 'UNVERIFIED_EMAIL');
    await verify(idToken, email);
    assert.equal(outcome(await enrol(idToken)), 'OK');
  });
  test('holds against who has the mail', async () => {
    const email = newEmail();
    const { idToken } = await verified(email);
    const withFactor = await enrol(idToken);
    const { mfaPendingCredential, idToken: none } = await post(`${TOOLKIT}:signInWithEmailLink`, { email, oobCode: await mail('EMAIL_SIGNIN', email, { canHandleCodeInApp: true }) });
    assert.ok(mfaPendingCredential && !none);
    for (const path of ['lookup', 'update', 'delete']) assert.equal(outcome(await post(`${TOOLKIT}:${path}`, { idToken: mfaPendingCredential })), 'INVALID_ID_TOKEN');
    assert.equal(outcome(await post('/securetoken.googleapis.com/v1/token', { grant_type: 'refresh_token', refresh_token: mfaPendingCredential })), 'INVALID_REFRESH_TOKEN');
    assert.equal(outcome(await post(`${TOOLKIT}:resetPassword`, { oobCode: await mail('PASSWORD_RESET', email), newPassword: STOLEN })), 'OK');
    const half = await signIn(email, STOLEN);
    assert.ok(half.mfaPendingCredential && !half.idToken && !half.refreshToken);
    assert.equal(outcome(await post(`${TOOLKIT}:lookup`, { idToken: withFactor.idToken })), 'TOKEN_EXPIRED');
  });
  test('is not finished by who began before all sessions ended', async () => {
    const email = newEmail();
    const { totpSessionInfo: info } = await start((await verified(email)).idToken);
    const enrolled = await post('/identitytoolkit.googleapis.com/v2/accounts/mfaEnrollment:finalize', {
      idToken: (await signIn(email)).idToken, totpVerificationInfo: { sessionInfo: info.sessionInfo, verificationCode: totp(info.sharedSecretKey, -1) } });
    const finish = (half, recoveryCode) =>
      post('/identitytoolkit.googleapis.com/v2/accounts/mfaSignIn:finalize', { mfaPendingCredential: half.mfaPendingCredential, recoveryCode });
    const codes = [...enrolled.recoveryCodes];
    const ends = [
      (idToken) => post('/identitytoolkit.googleapis.com/v1/accounts/sessions:revoke', { idToken, all: true }),
      (idToken) => post(`${TOOLKIT}:update`, { idToken, password: PASSWORD }), // the same one again
      async () => post(`${TOOLKIT}:resetPassword`, { oobCode: await mail('PASSWORD_RESET', email), newPassword: PASSWORD }),
    ];
    for (const end of ends) {
      const [stolen, own] = [await signIn(email), await signIn(email)];
      const { idToken } = await finish(own, codes.pop());
      assert.equal(outcome(await end(idToken)), 'OK');
      assert.equal(outcome(await finish(stolen, codes.pop())), 'INVALID_MFA_PENDING_CREDENTIAL');
    }
    assert.equal(outcome(await finish(await signIn(email), codes.pop())), 'OK');
  });
  test('and the address of an account with one changes only by a mail to the new one', async () => {
    const email = newEmail();
    const { idToken } = await enrol((await verified(email)).idToken);
    assert.equal(outcome(await post(`${TOOLKIT}:update`, { idToken, email: newEmail() })), 'OPERATION_NOT_ALLOWED');
    assert.equal(outcome(await apply(await changeCode(idToken, newEmail()))), 'OK');
  });
});

describe('who has an account is not told', options, () => {
  test('by mails to addresses that no mail goes to', async () => {
    const ask = (email) => post(`${TOOLKIT}:sendOobCode`, { requestType: 'PASSWORD_RESET', email });
    for (const domain of ['bücher.example', 'nodot', 'under_score.example']) {
      const known = `known${++people}@${domain}`;
      assert.equal(outcome(await signUp(known)), 'OK');
      assert.equal(outcome(await ask(known)), outcome(await ask(`unknown${++people}@${domain}`)), domain);
    }
  });
  test('by answers', async () => {
    const people = { nobody: newEmail(), known: newEmail(), 'without a password': newEmail(), disabled: newEmail(), imported: newEmail('imported') };
    await signUp(people.known);
    await owner('', { email: people['without a password'] });
    await owner('', { email: people.disabled, password: PASSWORD, disabled: true });
    await owner(':batchCreate', { hashAlgorithm: 'BCRYPT', users: [{ localId: 'answers', email: people.imported, passwordHash: Buffer.from('$2b$04$abcdefghijklmnopqrstuuWmXmXmXmXmXmXmXmXmXmXmXmXmXmXmX').toString('base64') }] });
    const ask = async (path, value) => {
      const { status, value: answer } = await json(server.port, 'POST', `${TOOLKIT}:${path}`, value);
      return JSON.stringify([status, answer]).replaceAll(value.email ?? value.identifier, 'THE ADDRESS');
    };
    for (const [path, request] of Object.entries({
      signInWithPassword: (email) => ({ email, password: STOLEN }),
      createAuthUri: (identifier) => ({ identifier, continueUri: 'http://localhost' }),
      sendOobCode: (email) => ({ requestType: 'PASSWORD_RESET', email, continueUrl: 'https://app.example/' }),
      signInWithEmailLink: (email) => ({ email, oobCode: crypto.randomBytes(32).toString('base64url') }),
    })) {
      const wanted = await ask(path, request(people.nobody));
      for (const [who, email] of Object.entries(people)) assert.equal(await ask(path, request(email)), wanted, `${path}, ${who}`);
    }
    const link = (email) => ask('sendOobCode', { requestType: 'EMAIL_SIGNIN', email, continueUrl: 'https://app.example/' });
    for (const email of Object.values(people)) assert.equal(await link(email), await link(people.nobody));
  });
  test('by the work that a password of an import makes', async () => {
    const key = Buffer.from('signer key'), email = newEmail('imported');
    await owner(':batchCreate', { hashAlgorithm: 'HMAC_SHA256', signerKey: key.toString('base64'),
      users: [{ localId: `imported-${++people}`, email, passwordHash: crypto.createHmac('sha256', key).update(PASSWORD).digest('base64') }] });
    let known = Infinity, unknown = Infinity; // the least of some, of processor time: other work of the server only adds
    for (let i = 0; i < 5; i++) {
      const measure = async (who) => {
        const before = cpuSeconds(server.pid);
        assert.equal(outcome(await signIn(who, 'wrong password')), 'INVALID_LOGIN_CREDENTIALS');
        return cpuSeconds(server.pid) - before;
      };
      known = Math.min(known, await measure(email));
      unknown = Math.min(unknown, await measure(newEmail('nobody')));
    }
    assert.ok(known > unknown / 4, `${known} s and ${unknown} s`);
    assert.equal(outcome(await signIn(email)), 'OK');
  });
});

describe('at once', options, () => {
  const many = (count, what) => Promise.all(Array.from({ length: count }, (_, i) => what(i)));
  const good = (answers) => answers.filter((one) => outcome(one) === 'OK');

  test('sign-ups with one address make one account', async () => {
    const email = newEmail('twin');
    const answers = await many(20, () => signUp(email));
    assert.equal(good(answers).length, 1);
    for (const one of answers) assert.match(outcome(one), /^(OK|EMAIL_EXISTS)$/);
    assert.equal((await signIn(email)).localId, good(answers)[0].localId);
  });
  test('links of one address by several guests', async () => {
    const email = newEmail('twin');
    const guests = await many(10, () => post(`${TOOLKIT}:signUp`, {}));
    const answers = await many(10, (i) => post(`${TOOLKIT}:signUp`, { idToken: guests[i].idToken, email, password: PASSWORD }));
    assert.equal(good(answers).length, 1);
  });
  test('a code is good once', async () => {
    const email = newEmail();
    await signUp(email);
    const oobCode = await mail('EMAIL_SIGNIN', email, { canHandleCodeInApp: true });
    assert.equal(good(await many(20, () => post(`${TOOLKIT}:signInWithEmailLink`, { email, oobCode }))).length, 1);
    const reset = await mail('PASSWORD_RESET', email);
    assert.equal(good(await many(20, (i) => post(`${TOOLKIT}:resetPassword`, { oobCode: reset, newPassword: `${NEXT}${i}` }))).length, 1);
  });
  test('a link and a deletion leave an account or none', async () => {
    for (let i = 0; i < 10; i++) {
      const email = newEmail('half');
      const guest = await post(`${TOOLKIT}:signUp`, {});
      await Promise.all([post(`${TOOLKIT}:signUp`, { idToken: guest.idToken, email, password: PASSWORD }), post(`${TOOLKIT}:delete`, { idToken: guest.idToken })]);
      const { users: left } = await owner(':lookup', { localId: [guest.localId] });
      const entered = await signIn(email);
      assert.equal(outcome(entered), left ? 'OK' : 'INVALID_LOGIN_CREDENTIALS');
      if (!left) assert.equal(outcome(await signUp(email)), 'OK'); // the address is free
    }
  });
  test('a code and a deletion leave no code of nobody', async () => { // `skerry verify` would find it, in the end
    for (let i = 0; i < 20; i++) {
      const email = newEmail('gone');
      const { localId } = await owner('', { email });
      await many(4, (n) => (n === 2 ? owner(':delete', { localId }) : post(`${TOOLKIT}:sendOobCode`, { requestType: 'PASSWORD_RESET', email, continueUrl: 'https://app.example/' })));
    }
  });
  test('a refresh and an end of all sessions: nothing lives on', async () => {
    for (let i = 0; i < 10; i++) {
      const user = await post(`${TOOLKIT}:signUp`, {});
      const refresh = (token) => post('/securetoken.googleapis.com/v1/token', { grant_type: 'refresh_token', refresh_token: token });
      const [, ...answers] = await Promise.all([users.call('RevokeSessions', { id_token: user.idToken, all: true }), ...Array.from({ length: 5 }, () => refresh(user.refreshToken))]);
      for (const one of good(answers)) {
        assert.equal(outcome(await refresh(one.refresh_token)), 'TOKEN_EXPIRED');
        assert.equal(outcome(await post(`${TOOLKIT}:lookup`, { idToken: one.id_token })), 'TOKEN_EXPIRED');
      }
    }
  });
  test('a thousand long passwords are checked or refused, in bounded memory', async () => {
    const other = await startServer();
    try {
      const seen = { 400: 0, 429: 0 }, enough = new AbortController(); // not until all that wait are checked
      await many(1000, async (i) => {
        const { status } = await json(other.port, 'POST', `${TOOLKIT}:signInWithPassword`, { email: `crowd${i}@example.com`, password: 'x'.repeat(4096) }, { signal: enough.signal })
          .catch((error) => ({ status: error.code }));
        assert.ok([400, 429, 503, 'ECONNRESET', 'ABORT_ERR'].includes(status), `${status}`);
        seen[status]++;
        if (seen[400] > 2 && seen[429] > 2) enough.abort();
      });
      assert.ok(seen[400] > 2 && seen[429] > 2);
      if (!other.isInstrumented) assert.ok(other.residentBytes() < 200 << 20);
      assert.equal((await json(other.port, 'POST', `${TOOLKIT}:signUp`, {})).status, 200);
    } finally {
      await other.close();
    }
  });
});

test('what users say of themselves that is not theirs to say', options, async () => {
  const email = newEmail();
  const claim = { emailVerified: true, customAttributes: '{"role":"owner"}', disabled: false, validSince: '1', localId: 'root', customAuth: true, targetProjectId: 'skerry', mfaInfo: [{}] };
  const made = await post(`${TOOLKIT}:signUp`, { email, password: PASSWORD, ...claim });
  assert.notEqual(made.localId, 'root');
  const updated = await post(`${TOOLKIT}:update`, { idToken: made.idToken, displayName: 'x', ...claim });
  assert.equal(updated.localId, made.localId);
  const again = claimsOf((await signIn(email)).idToken);
  assert.deepEqual([again.email_verified, again.role, again.sub], [false, undefined, made.localId]);
  await owner(':update', { localId: made.localId, customAttributes: JSON.stringify({ role: 'owner', owner: true, admin: true, kind: 'service_account' }) });
  const { idToken } = await signIn(email);
  for (const [method, path] of [['GET', ':batchGet'], ['POST', ''], ['POST', ':lookup'], ['POST', ':update'], ['POST', ':delete'], ['POST', ':batchCreate'], ['POST', ':batchDelete'], ['POST', ':sendOobCode']]) {
    const { status } = await json(server.port, method, ADMIN + path, method === 'GET' ? undefined : {}, { headers: { authorization: `Bearer ${idToken}` } });
    assert.equal(status, 403, path);
  }
});

test('texts that break things elsewhere', options, async () => {
  const { idToken, localId } = await signUp(newEmail());
  for (const displayName of ['a\r\nBcc: x@example.com', 'a\0b', 'x'.repeat(257)]) assert.notEqual(outcome(await post(`${TOOLKIT}:update`, { idToken, displayName })), 'OK', displayName);
  for (const email of ['"a b"@example.com', 'a@example.com\r\nRCPT TO:<b@example.com>', 'a\0@example.com', 'a@example.com,b@example.com', '<a@example.com>', `${'a'.repeat(65536)}@example.com`])
    for (const [path, more] of [['signUp', { password: PASSWORD }], ['signInWithPassword', { password: PASSWORD }], ['sendOobCode', { requestType: 'PASSWORD_RESET' }], ['update', { idToken }]])
      assert.match(outcome(await post(`${TOOLKIT}:${path}`, { email, ...more })), /^(INVALID_EMAIL|.*U\+0000.*|.*NUL.*|.*UTF-8.*|.*too long.*|.*Invalid JSON.*|.*valid.*)$/i, `${path} ${email.slice(0, 30)}`);
  for (const [claims, wanted] of [['{"__proto__":{"role":"owner"},"constructor":1}', 'OK'], ['{"a":1,"a":2}', 'INVALID_CLAIMS'], ['{"a":"\\u0000"}', 'INVALID_CLAIMS'], [`${'{"a":'.repeat(100)}1${'}'.repeat(100)}`, 'INVALID_CLAIMS'],
    ['{"s\\u0075b":"root"}', 'FORBIDDEN_CLAIM'], ['[]', 'INVALID_CLAIMS'], ['{"a":1e999}', 'INVALID_CLAIMS'], ['{"firebase":{}}', 'FORBIDDEN_CLAIM']])
    assert.equal(outcome(await owner(':update', { localId, customAttributes: claims })), wanted, claims);
  for (const password of ['x'.repeat(4097), 'x'.repeat(1 << 20)]) assert.notEqual(outcome(await post(`${TOOLKIT}:update`, { idToken, password })), 'OK');
  assert.equal(outcome(await post(`${TOOLKIT}:update`, { idToken, password: 'ä'.repeat(2048) })), 'OK');
});

test('imports that would take gigabytes or minutes', options, async () => {
  const users = [{ localId: `bomb-${++people}`, email: newEmail('bomb'), passwordHash: Buffer.alloc(32, 1).toString('base64'), salt: 'c2FsdA==' }];
  const key = Buffer.alloc(32, 2).toString('base64');
  for (const bomb of [
    { hashAlgorithm: 'STANDARD_SCRYPT', cpuMemCost: '1099511627776', blockSize: 8, parallelization: 1, dkLen: 32 },
    { hashAlgorithm: 'STANDARD_SCRYPT', cpuMemCost: '16384', blockSize: 1 << 30, parallelization: 1, dkLen: 32 },
    { hashAlgorithm: 'STANDARD_SCRYPT', cpuMemCost: '16384', blockSize: 8, parallelization: (2 ** 31) - 1, dkLen: 32 },
    { hashAlgorithm: 'STANDARD_SCRYPT', cpuMemCost: '16384', blockSize: 8, parallelization: 1, dkLen: (2 ** 31) - 1 },
    { hashAlgorithm: 'SCRYPT', signerKey: key, rounds: 64, memoryCost: 24 },
    { hashAlgorithm: 'SCRYPT', signerKey: key, rounds: 8, memoryCost: 255 },
    { hashAlgorithm: 'PBKDF2_SHA256', rounds: (2 ** 31) - 1 },
    { hashAlgorithm: 'SHA512', rounds: (2 ** 31) - 1 },
    { hashAlgorithm: 'HMAC_SHA256', signerKey: Buffer.alloc(5000).toString('base64') },
  ]) {
    const answer = await owner(':batchCreate', { ...bomb, users });
    assert.ok(answer.error ?? (answer.error?.length || answer.errors?.length), JSON.stringify([bomb, answer]));
  }
  const bcrypt = await owner(':batchCreate', { hashAlgorithm: 'BCRYPT', users: [{ ...users[0], passwordHash: Buffer.from(`$2b$31$${'a'.repeat(53)}`).toString('base64') }] });
  assert.equal(bcrypt.error?.length, 1, JSON.stringify(bcrypt));
});

describe('in production', options, () => {
  let box;
  const at = (path, value, headers = {}, method = 'POST') => json(box.server.port, method, path, value, { ca: box.authority.cert, headers });
  before(async () => {
    if (skip) return;
    box = await Box.open("rules_version = '2'; service cloud.firestore { match /databases/{d}/documents { match /{all=**} { allow read: if request.auth != null; } } }",
      { args: ['--accounts', 'on', '--smtp', 'smtp://127.0.0.1:9', '--mail-from', 'box@example.com', '--action-url', 'https://shop.example/auth'], provider: 'oidc.works' });
  });
  after(() => box?.close());

  test('there are no doors of development', async () => {
    for (const [method, path] of [['GET', '/emulator/v1/projects/shop/oobCodes'], ['DELETE', '/emulator/v1/projects/shop/accounts'], ['PUT', '/emulator/v1/projects/shop:securityRules'], ['DELETE', '/emulator/v1/projects/shop/databases/(default)/documents']])
      assert.equal((await at(path, undefined, { authorization: 'Bearer owner' }, method)).status, 404, path);
    assert.equal((await at('/identitytoolkit.googleapis.com/v1/projects/shop/accounts:batchGet', undefined, { authorization: 'Bearer owner' }, 'GET')).status, 401);
  });

  test('tokens that are not what they are used as', async () => {
    const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const now = Math.floor(Date.now() / 1000);
    const key = box.key('owner', 'attacked');
    const signed = (claims, header = {}) => {
      const input = `${encode({ alg: 'RS256', typ: 'JWT', kid: key.private_key_id, ...header })}.${encode({ iss: key.client_email, sub: key.client_email, iat: now, exp: now + 3600, ...claims })}`;
      return `${input}.${crypto.sign('sha256', Buffer.from(input), key.private_key).toString('base64url')}`;
    };
    // A custom token is in the hands of users: it administers nothing.
    const custom = signed({ aud: 'https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit', uid: 'till' });
    assert.equal((await at('/identitytoolkit.googleapis.com/v1/projects/shop/accounts:batchGet', undefined, { authorization: `Bearer ${custom}` }, 'GET')).status, 401);
    const { value: user } = await at(`${TOOLKIT}:signInWithCustomToken`, { token: custom });
    assert.ok(user.idToken);
    // The service account's own token makes no user.
    assert.equal(outcome((await at(`${TOOLKIT}:signInWithCustomToken`, { token: signed({ aud: 'https://localhost/skerry.identity.v1.AccountAdmin', uid: 'x' }) })).value), 'INVALID_CUSTOM_TOKEN');
    // The published key as the secret of an HMAC, no algorithm, keys that the token brings, ids of keys that are paths.
    const { value: set } = await at('/.well-known/jwks.json', undefined, {}, 'GET');
    const pem = crypto.createPublicKey({ key: set.keys[0], format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    const claims = { ...claimsOf(user.idToken), sub: 'root' };
    const mine = crypto.generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const es256 = (header) => {
      const input = `${encode(header)}.${encode(claims)}`;
      return `${input}.${crypto.sign('sha256', Buffer.from(input), { key: mine.privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
    };
    const hmac = `${encode({ alg: 'HS256', kid: set.keys[0].kid })}.${encode(claims)}`;
    for (const bad of [
      ...[pem, pem.trim(), JSON.stringify(set.keys[0])].map((secret) => `${hmac}.${crypto.createHmac('sha256', secret).update(hmac).digest('base64url')}`),
      `${encode({ alg: 'none', kid: set.keys[0].kid })}.${encode(claims)}.`,
      `${encode({ alg: 'NONE' })}.${encode(claims)}.AAAA`,
      es256({ alg: 'ES256', kid: set.keys[0].kid }),
      es256({ alg: 'ES256', kid: set.keys[0].kid, jwk: mine.publicKey.export({ format: 'jwk' }) }),
      es256({ alg: 'ES256', kid: '../../identity.key' }),
      es256({ alg: 'ES256', kid: `${set.keys[0].kid}\0` }),
      es256({ alg: 'ES256' }),
      `${user.idToken.split('.').slice(0, 2).join('.')}.${'A'.repeat(86)}`, // r = s = 0
      `${user.idToken}=`, `${user.idToken}.`, `${user.idToken}A`,
    ]) {
      assert.equal(outcome((await at(`${TOOLKIT}:lookup`, { idToken: bad })).value), 'INVALID_ID_TOKEN', bad.slice(0, 60));
      assert.equal((await at('/v1/projects/shop/databases/(default)/documents/a/b', undefined, { authorization: `Bearer ${bad}` }, 'GET')).status, 401);
    }
  });

  test('a session that gives way to a newer one ends for documents too', async () => {
    const admin = await import('firebase-admin/app');
    const app = admin.initializeApp({ credential: admin.cert(box.key('owner', 'minter')), projectId: 'shop' }, 'many');
    const token = await (await import('firebase-admin/auth')).getAuth(app).createCustomToken('many-phones');
    await admin.deleteApp(app);
    const enter = async () => (await at(`${TOOLKIT}:signInWithCustomToken`, { token })).value.idToken;
    const first = await enter();
    const read = async () => (await at('/v1/projects/shop/databases/(default)/documents/a/b', undefined, { authorization: `Bearer ${first}` }, 'GET')).status;
    assert.equal(await read(), 404);
    for (let i = 0; i < 63; i++) await enter();
    assert.equal(await read(), 404);
    await enter();
    assert.equal(await read(), 401);
  });

  test('links lead nowhere else', async () => {
    const ask = async (continueUrl) => outcome((await at(`${TOOLKIT}:sendOobCode`, { requestType: 'EMAIL_SIGNIN', email: newEmail(), continueUrl, canHandleCodeInApp: true })).value);
    for (const url of ['https://evil.example/', 'http://shop.example/', 'https://shop.example:8443/', 'https://shop.example@evil.example/', 'https://evil.example\\@shop.example/', 'https://shop.example.evil.example/', '//evil.example', 'javascript:alert(1)',
      'https://shop.example\t.evil.example/', 'https://evil.example/#https://shop.example', 'https://shop.example%2eevil.example', ' https://shop.example/', 'https://shop.example\r\n.evil.example/'])
      assert.equal(await ask(url), 'UNAUTHORIZED_DOMAIN', url);
    assert.equal(await ask('https://SHOP.example/finish?a=1'), 'OK');
  });

  test('providers: names that end early, addresses that are not verified, who is named twice', async () => {
    await until(() => box.status().includes(`${box.provider.url}: 1 keys`), 'the keys of the provider');
    const enter = async (claims, more = '') => (await at(`${TOOLKIT}:signInWithIdp`, { postBody: `id_token=${box.provider.token(claims)}&providerId=oidc.works${more}`, requestUri: 'http://localhost', returnSecureToken: true })).value;
    const { localId } = await enter({ sub: 'p1' });
    for (const sub of ['p1\0x', 'P1', 'p1 ']) assert.notEqual((await enter({ sub })).localId, localId, JSON.stringify(sub));
    const email = newEmail('victim');
    const { value: victim } = await at(`${TOOLKIT}:signUp`, { email, password: PASSWORD });
    for (const said of [{ email_verified: false }, {}, { email_verified: 'yes' }, { email_verified: 1 }]) assert.notEqual((await enter({ sub: `q${++people}`, email, ...said })).localId, victim.localId);
    assert.equal(outcome(await enter({ sub: 'p1' }, '&providerId=other')), 'OPERATION_NOT_ALLOWED');
  });
});
