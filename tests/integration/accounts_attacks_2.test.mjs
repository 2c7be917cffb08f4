// A second look at accounts as an attacker: ways around the mail to the old address, what a thief leaves behind, whose
// provider it is, who has an account, queues that one user can fill, and pages that send what they cannot read.
import { Box, cleanUp, skip } from './support/access.mjs'; // first
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { accountCalls, ADMIN, NEXT, outcome, PASSWORD, STOLEN, TOOLKIT } from './support/account_calls.mjs';
import { accountServices, claimsOf, totp } from './support/accounts.mjs';
import { Authority, tlsFlags } from './support/certificates.mjs';
import { json } from './support/http.mjs';
import { Issuer, signToken } from './support/issuer.mjs';
import { directory } from './support/roots.mjs';
import { Rpc } from './support/rpc.mjs';
import { startServer } from './support/server.mjs';
import { until } from './support/wait.mjs';

const options = { skip };
const MFA = '/identitytoolkit.googleapis.com/v2/accounts/mfaEnrollment';

let server, users, provider, people = 0;
before(async () => {
  if (skip) return;
  const authority = new Authority(directory);
  provider = await new Issuer(authority.server('provider')).start();
  server = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--issuer', `${provider.url} audience=app provider=oidc.works`, '--issuer-ca', authority.certFile] });
  users = new Rpc(server.address, accountServices().Accounts, { authorization: null });
});
after(async () => {
  users?.close();
  await provider?.stop();
  await server?.close();
  cleanUp();
});

const { newEmail, post, owner, signUp, signIn, apply, codesFor, mail, verified } = accountCalls(() => server);
const update = (idToken, change) => post(`${TOOLKIT}:update`, { idToken, ...change });
const link = async (email, more) => post(`${TOOLKIT}:signInWithEmailLink`, { email, oobCode: await mail('EMAIL_SIGNIN', email, { canHandleCodeInApp: true }), ...more });
const changeAddress = async (idToken, address) => assert.equal(outcome(await apply(await mail('VERIFY_AND_CHANGE_EMAIL', undefined, { idToken, newEmail: address }))), 'OK');
async function enrol(idToken) {
  const { totpSessionInfo: info } = await post(`${MFA}:start`, { idToken, totpEnrollmentInfo: {} });
  const done = await post(`${MFA}:finalize`, { idToken, totpVerificationInfo: { sessionInfo: info.sessionInfo, verificationCode: totp(info.sharedSecretKey) } });
  assert.equal(outcome(done), 'OK');
  return done;
}
const many = (count, what) => Promise.all(Array.from({ length: count }, (_, i) => what(i)));
/** What keeps the one thread that hashes passwords busy for a while. */
const crowd = () => many(40, () => signIn(newEmail('crowd'), 'whatever'));

describe('an address that was shown to be the user\'s goes by a mail to the new one alone', options, () => {
  // Without, a thief is rid of the mail to the old address, which says how to take it back.
  test('not by an update, nor by a password or a link that is added', async () => {
    const email = newEmail('victim'), thief = newEmail('thief');
    const { idToken } = await verified(email);
    assert.equal(outcome(await update(idToken, { email: thief })), 'OPERATION_NOT_ALLOWED');
    const linked = await link(newEmail('victim')); // an account without a password
    assert.equal(outcome(await post(`${TOOLKIT}:signUp`, { idToken: linked.idToken, email: thief, password: STOLEN })), 'OPERATION_NOT_ALLOWED');
    assert.equal(outcome(await link(thief, { idToken: linked.idToken })), 'OPERATION_NOT_ALLOWED');
    for (const user of [{ idToken, email }, linked]) assert.equal((await post(`${TOOLKIT}:lookup`, { idToken: user.idToken })).users[0].email, user.email);
    assert.equal(outcome(await signIn(thief, STOLEN)), 'INVALID_LOGIN_CREDENTIALS');
  });
  test('what is the user\'s stays his to add, and an address of nobody\'s may be mended', async () => {
    const { idToken, email } = await link(newEmail());
    const withPassword = await post(`${TOOLKIT}:signUp`, { idToken, email, password: PASSWORD });
    assert.equal(outcome(withPassword), 'OK');
    assert.equal(outcome(await link(email, { idToken: withPassword.idToken })), 'OK');
    assert.equal(outcome(await update((await signIn(email)).idToken, { email: email.toUpperCase() })), 'OK');
    const typo = await signUp(newEmail('tpyo'));
    assert.equal(outcome(await update(typo.idToken, { email: newEmail('typo') })), 'OK');
  });
});

describe('who takes his address back has the account as it was before', options, () => {
  const steal = async () => {
    const email = newEmail('victim'), thief = newEmail('thief');
    const { idToken, localId } = await verified(email);
    await changeAddress(idToken, thief);
    return { email, thief, localId };
  };
  const recover = async ({ email }) => assert.equal(outcome(await apply((await codesFor(email, 'RECOVER_EMAIL')).at(-1).oobCode)), 'OK');

  test('not the thief\'s second factor', async () => {
    const stolen = await steal();
    await enrol((await signIn(stolen.thief)).idToken);
    await recover(stolen);
    assert.equal(outcome(await post(`${TOOLKIT}:resetPassword`, { oobCode: await mail('PASSWORD_RESET', stolen.email), newPassword: NEXT })), 'OK');
    const entered = await signIn(stolen.email, NEXT);
    assert.deepEqual([entered.localId, entered.mfaPendingCredential], [stolen.localId, undefined]);
  });
  test('nor his password', async () => {
    const stolen = await steal();
    assert.equal(outcome(await update((await signIn(stolen.thief)).idToken, { password: STOLEN })), 'OK');
    await recover(stolen);
    assert.equal(outcome(await signIn(stolen.email, STOLEN)), 'INVALID_LOGIN_CREDENTIALS');
  });
  test('nor his provider', async () => {
    const enter = (claims, more) => post(`${TOOLKIT}:signInWithIdp`, { postBody: `id_token=${provider.token(claims)}&providerId=oidc.works`, requestUri: 'http://localhost', ...more });
    await until(async () => outcome(await enter({ sub: 'first' })) === 'OK', 'the keys of the provider');
    const own = await verified(newEmail('owner')), sub = `own${++people}`;
    assert.equal(outcome(await enter({ sub }, { idToken: own.idToken })), 'OK'); // one that was there before stays
    await changeAddress((await signIn(own.email)).idToken, newEmail('moved'));
    await recover({ email: own.email });
    assert.equal((await enter({ sub })).localId, own.localId);

    const stolen = await steal(), theirs = `theirs${++people}`;
    assert.equal(outcome(await enter({ sub: theirs }, { idToken: (await signIn(stolen.thief)).idToken })), 'OK');
    await recover(stolen);
    assert.notEqual((await enter({ sub: theirs })).localId, stolen.localId);
  });
  test('and keeps what he had', async () => {
    const email = newEmail('victim');
    const { idToken } = await verified(email);
    await changeAddress((await enrol(idToken)).idToken, newEmail('thief'));
    await recover({ email });
    assert.ok((await signIn(email)).mfaPendingCredential);
  });
});

test('a session that links something stays one with a second factor', options, async () => {
  const { idToken, email } = await link(newEmail());
  const strong = await enrol(idToken);
  const linked = await post(`${TOOLKIT}:signUp`, { idToken: strong.idToken, email, password: PASSWORD });
  assert.equal(claimsOf(linked.idToken).firebase.sign_in_second_factor, 'totp');
  const again = await link(email, { idToken: linked.idToken });
  assert.equal(claimsOf(again.idToken).firebase.sign_in_second_factor, 'totp');
  const half = await signIn(email);
  assert.ok(half.mfaPendingCredential && !half.idToken);
});

test('a code that is asked for while the session ends is of no use', options, async () => {
  for (let i = 0; i < 20; i++) {
    const { idToken, localId } = await verified(newEmail('victim')), thief = newEmail('thief');
    const [, asked] = await Promise.all([
      i % 2 ? owner(':update', { localId, validSince: String(Math.floor(Date.now() / 1000) + 1) }) : users.call('RevokeSessions', { id_token: idToken, all: true }),
      post(`${TOOLKIT}:sendOobCode`, { requestType: 'VERIFY_AND_CHANGE_EMAIL', idToken, newEmail: thief, continueUrl: 'https://app.example/' }),
    ]);
    assert.match(outcome(asked), /^(OK|TOKEN_EXPIRED)$/);
    for (const { oobCode } of await codesFor(thief, 'VERIFY_AND_CHANGE_EMAIL')) assert.equal(outcome(await apply(oobCode)), 'INVALID_OOB_CODE');
  }
});

describe('what one user may ask for', options, () => {
  test('guests do not find out without end which addresses have accounts', async () => {
    const { idToken } = await post(`${TOOLKIT}:signUp`, {});
    const taken = newEmail('taken');
    await signUp(taken);
    const seen = new Set();
    for (let i = 0; i < 16; i++) seen.add(outcome(await update(idToken, { email: taken })));
    assert.deepEqual([...seen], ['EMAIL_EXISTS', 'TOO_MANY_ATTEMPTS_TRY_LATER']);
    // Those that are free tell as much.
    let token = (await post(`${TOOLKIT}:signUp`, {})).idToken, refused = 'OK';
    for (let i = 0; i < 16 && refused === 'OK'; i++) {
      const answer = await update(token, { email: newEmail('free') });
      refused = outcome(answer);
      token = answer.idToken ?? token;
    }
    assert.equal(refused, 'TOO_MANY_ATTEMPTS_TRY_LATER');
  });
  test('one user\'s new passwords do not fill the queue of all', async () => {
    const { idToken } = await signUp(newEmail()), email = newEmail();
    await signUp(email);
    const busy = crowd();
    const answers = many(60, (i) => update(idToken, { password: `${NEXT}${i}` }));
    const seen = (await answers).map(outcome);
    await busy;
    assert.ok(seen.filter((one) => one === 'TOO_MANY_ATTEMPTS_TRY_LATER').length >= 40, seen.join(' '));
    assert.equal(seen.filter((one) => one === 'OK').length, 1);
    const reset = await mail('PASSWORD_RESET', email), busy2 = crowd();
    const resets = (await many(60, (i) => post(`${TOOLKIT}:resetPassword`, { oobCode: reset, newPassword: `${NEXT}${i}` }))).map(outcome);
    await busy2;
    assert.ok(resets.filter((one) => one === 'TOO_MANY_ATTEMPTS_TRY_LATER').length >= 40, resets.join(' '));
    assert.equal(resets.filter((one) => one === 'OK').length, 1);
  });
  test('wrong guesses at one address are not counted as mails to another', async () => {
    const victim = newEmail('victim');
    await signUp(victim);
    for (let i = 0; i < 16; i++) await signIn(`mail/${victim}`, 'wrong password');
    assert.equal(outcome(await post(`${TOOLKIT}:sendOobCode`, { requestType: 'PASSWORD_RESET', email: victim })), 'OK');
  });
});

test('answers are kept by nobody on the way, but for public keys', options, async () => {
  const made = await json(server.port, 'POST', `${TOOLKIT}:signUp`, {});
  const read = (method, where, value, headers) => json(server.port, method, where, value, { headers });
  for (const answer of [
    made,
    await read('POST', '/securetoken.googleapis.com/v1/token', { grant_type: 'refresh_token', refresh_token: made.value.refreshToken }),
    await read('GET', `${ADMIN}:batchGet`, undefined, { authorization: 'Bearer owner' }),
    await read('GET', '/v1/projects/skerry/databases/(default)/documents/a/b', undefined, { authorization: `Bearer ${made.value.idToken}` }),
    await read('POST', `${TOOLKIT}:lookup`, {}),
  ]) assert.equal(answer.headers['cache-control'], 'no-store', JSON.stringify(answer.value));
  assert.equal((await read('GET', '/.well-known/jwks.json')).headers['cache-control'], 'public, max-age=3600');
});

describe('in production', options, () => {
  let box;
  const rules = "rules_version = '2'; service cloud.firestore { match /databases/{d}/documents { match /kitchen/{id} { allow read: if request.auth.token.role == 'cook'; } match /inbox/{id} { allow read: if request.auth.token.email_verified; } } }";
  const at = async (where, value, headers = {}, method = 'POST') => (await json(box.server.port, method, where, value, { ca: box.authority.cert, headers })).value;
  before(async () => {
    if (!skip) box = await Box.open(rules, { args: ['--accounts', 'on'], provider: 'oidc.works project=other' });
  });
  after(() => box?.close());

  test('what an administrator gives or takes counts at once, whatever tokens say that were made before', async () => {
    const email = newEmail(), { idToken, localId } = await at(`${TOOLKIT}:signUp`, { email, password: PASSWORD });
    const key = box.key('owner', 'chef'), now = Math.floor(Date.now() / 1000);
    const admin = signToken({ alg: 'RS256', kid: key.private_key_id, privateKey: key.private_key }, { iss: key.client_email, sub: key.client_email, aud: 'https://localhost/skerry.identity.v1.AccountAdmin', iat: now, exp: now + 3600 });
    const change = async (value) => assert.equal(outcome(await at('/identitytoolkit.googleapis.com/v1/projects/shop/accounts:update', { localId, ...value }, { authorization: `Bearer ${admin}` })), 'OK');
    const read = async (where) => (await json(box.server.port, 'GET', `/v1/projects/shop/databases/(default)/documents/${where}`, undefined, { ca: box.authority.cert, headers: { authorization: `Bearer ${idToken}` } })).status;
    const both = async () => [await read('kitchen/a'), await read('inbox/a')];
    assert.deepEqual(await both(), [403, 403]);
    await change({ customAttributes: '{"role":"cook"}', emailVerified: true });
    assert.deepEqual(await both(), [404, 404]);
    await change({ customAttributes: '{}', emailVerified: false });
    assert.deepEqual(await both(), [403, 403]);
  });

  test('the provider of one project links nothing to an account of another', async () => {
    await until(() => box.status().includes(`${box.provider.url}: 1 keys`), 'the keys of the provider');
    const guest = await at(`${TOOLKIT}:signUp`, {}), email = newEmail('victim');
    const enter = (more) => at(`${TOOLKIT}:signInWithIdp`, { postBody: `id_token=${box.provider.token({ sub: `p${++people}`, email, email_verified: true })}&providerId=oidc.works`, requestUri: 'http://localhost', ...more });
    assert.equal(outcome(await enter({ targetProjectId: 'other' })), 'OK');
    assert.equal(outcome(await enter({ idToken: guest.idToken })), 'OPERATION_NOT_ALLOWED');
    assert.equal(outcome(await enter({ idToken: guest.idToken, targetProjectId: 'other' })), 'OPERATION_NOT_ALLOWED');
    assert.equal((await at(`${TOOLKIT}:lookup`, { idToken: guest.idToken })).users[0].email, undefined);
  });
});

test('a page that the settings do not name does not use the certificate of a browser', options, async () => {
  const authority = new Authority(directory), phone = authority.client('till');
  const other = await startServer({
    args: ['--listen', '127.0.0.1:0', ...tlsFlags(authority.server()), '--tls-client-ca', authority.certFile, '--tls-client-certificates', 'optional', '--access', 'mtls', '--clock', 'trusted', '--cors-origins', 'https://app.example'],
  });
  try {
    const write = async (headers) => (await json(other.port, 'PATCH', '/v1/projects/skerry/databases/(default)/documents/a/b', { fields: { a: { integerValue: '1' } } },
      { ca: authority.cert, cert: phone.cert, key: phone.key, headers })).status;
    assert.equal(await write({}), 200);
    assert.equal(await write({ origin: 'https://app.example' }), 200);
    for (const origin of ['https://evil.example', 'null', 'https://app.example.evil.example']) assert.equal(await write({ origin }), 401, origin);
  } finally {
    await other.close();
  }
});
