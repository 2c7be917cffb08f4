// What users prove themselves with stays with them: every flow of accounts, those that fail too, against a server that logs all it
// can (debug, every call), and then a search for each secret in its log, in the answers that refused it, in metrics, `skerry status`
// and what `skerry backup` and `skerry verify` print.
import { Box, cleanUp, skip } from './support/access.mjs'; // first
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { accountServices, claimsOf, totp } from './support/accounts.mjs';
import { rawHttp, request } from './support/http.mjs';
import { MailServer, parseMail } from './support/mail.mjs';
import { grpc } from './support/packages.mjs';
import { directory } from './support/roots.mjs';
import { Rpc } from './support/rpc.mjs';
import { makeTempDir, removeDir } from './support/server.mjs';
import { until } from './support/wait.mjs';

const V1 = '/identitytoolkit.googleapis.com/v1/accounts', V2 = '/identitytoolkit.googleapis.com/v2/accounts';
const ADMIN = '/identitytoolkit.googleapis.com/v1/projects/shop/accounts', TOKEN = '/securetoken.googleapis.com/v1/token';
const options = { skip };

// Secrets, by what they are. Of tokens the signature, since what comes before it is no secret; six digits are in any log.
const secrets = new Map();
const secret = (what, text) => (secrets.set(String(text), what), text);
const signature = (what, token) => (secret(what, token.split('.')[2]), token);
let people = 0;
const password = (what = 'a password') => secret(what, `horse-${crypto.randomBytes(9).toString('hex')}`);
const newEmail = () => `secret${++people}@example.com`;
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const outcome = (value) => value?.error?.message?.split(' : ')[0] ?? 'OK';
const refusals = []; // the texts of answers that said no

let box, mails, admin, backups;
before(async () => {
  if (skip) return;
  mails = await new MailServer({ auth: { user: 'box', password: password('the password of the mail server') } }).start();
  const file = path.join(directory, 'smtp-password');
  fs.writeFileSync(file, mails.auth.password);
  backups = makeTempDir();
  box = await Box.open("rules_version = '2'; service cloud.firestore { match /databases/{d}/documents { match /{all=**} { allow read: if request.auth != null; } } }",
    { args: ['--accounts', 'on', '--log-level', 'debug', '--access-log', '--slow-call-log', '1ms', '--metrics', 'local', '--refresh-grace', '0', '--action-url', 'https://shop.example/auth', '--backup-dir', backups,
      '--smtp', mails.url, '--smtp-insecure', '--smtp-user', 'box', '--smtp-password-file', file, '--mail-from', 'box@example.com'], provider: 'oidc.works' });
  const key = box.key('owner', 'secretive'), now = Math.floor(Date.now() / 1000);
  for (const line of key.private_key.split('\n')) if (line.length === 64) secret('a private key', line);
  admin = { key, sign: (claims) => {
    const input = `${encode({ alg: 'RS256', typ: 'JWT', kid: key.private_key_id })}.${encode({ iss: key.client_email, sub: key.client_email, iat: now, exp: now + 3600, ...claims })}`;
    return signature('a token of a service account', `${input}.${crypto.sign('sha256', Buffer.from(input), key.private_key).toString('base64url')}`);
  } };
  admin.headers = { authorization: `Bearer ${admin.sign({ aud: 'https://localhost/skerry.identity.v1.AccountAdmin' })}` };
  await until(() => box.status().includes(`${box.provider.url}: 1 keys`), 'the keys of the provider');
});
after(async () => {
  await mails?.stop();
  await box?.close();
  if (backups) removeDir(backups);
  cleanUp();
});

async function post(url, value, headers = {}, method = 'POST') {
  const answer = await request(box.server.port, url, { method, ca: box.authority.cert, headers: { 'content-type': 'application/json', ...headers }, body: typeof value === 'string' ? value : value && JSON.stringify(value) });
  if (answer.status >= 400) refusals.push(answer.text);
  const found = answer.text === '' || !answer.headers['content-type']?.includes('json') ? undefined : answer.json();
  for (const field of ['idToken', 'id_token']) if (found?.[field]) signature('an ID token', found[field]);
  for (const field of ['refreshToken', 'refresh_token', 'mfaPendingCredential']) if (found?.[field]) secret(field, found[field]);
  return found;
}
const good = async (...call) => {
  const answer = await post(...call);
  assert.equal(outcome(answer), 'OK', call[0]);
  return answer;
};
const bad = async (wanted, ...call) => assert.equal(outcome(await post(...call)), wanted, `${call[0]} ${JSON.stringify(call[1])}`);
const manage = (rest, value, method) => good(ADMIN + rest, value, admin.headers, method);
async function mailed(address) {
  const mail = await until(() => mails.mails.find((one) => one.to[0] === address), `a mail to ${address}`);
  mails.mails.splice(mails.mails.indexOf(mail), 1);
  return secret('a code in a mail', parseMail(mail.text).text.match(/oobCode=([\w-]+)/)[1]);
}
async function code(requestType, email, more = {}) {
  await good(`${V1}:sendOobCode`, { requestType, email, ...more });
  return mailed(more.newEmail ?? email);
}

test('passwords', options, async () => {
  const email = newEmail(), first = password(), second = password();
  const user = await good(`${V1}:signUp`, { email, password: first });
  await bad('EMAIL_EXISTS', `${V1}:signUp`, { email, password: password() });
  for (const text of [secret('a weak password', 'q7!zK'), secret('a long password', 'x7Q'.repeat(2000))]) await bad(text.length < 6 ? 'WEAK_PASSWORD' : 'PASSWORD_DOES_NOT_MEET_REQUIREMENTS', `${V1}:signUp`, { email: newEmail(), password: text });
  await bad('INVALID_LOGIN_CREDENTIALS', `${V1}:signInWithPassword`, { email, password: password('a wrong password') });
  await bad('INVALID_LOGIN_CREDENTIALS', `${V1}:signInWithPassword`, { email: newEmail(), password: password('a wrong password') });
  await bad('INVALID_EMAIL', `${V1}:signInWithPassword`, { email: password('a password in the wrong field'), password: password() });
  await good(`${V1}:update`, { idToken: user.idToken, password: second });
  await good(`${V1}:signInWithPassword`, { email, password: second });
  await bad('TOKEN_EXPIRED', `${V1}:update`, { idToken: user.idToken, password: password() });
  await bad('USER_DISABLED', `${V1}:signInWithPassword`, await (async () => {
    const gone = newEmail(), its = password();
    const { localId } = await manage('', { email: gone, password: its });
    await manage(':update', { localId, disableUser: true, password: its });
    return { email: gone, password: its };
  })());
});

test('texts that are no requests', options, async () => {
  for (const body of [`{"email":"a@example.com","password":"${password()}`, `{"password":"${password()}","password":7}`, `{"password":["${password()}"]}`, `{"${password()}":1}`, `password=${password()}`, `${password()}`, `{"email":"a\\u0000","password":"${password()}"}`, `{"password":"\\ud800${password()}"}`])
    assert.ok(await post(`${V1}:signInWithPassword`, body) !== null);
  for (const [type, body] of [['application/x-www-form-urlencoded', `grant_type=refresh_token&refresh_token=${password('a refresh token of nobody')}`], ['application/x-www-form-urlencoded', `grant_type=${password()}&refresh_token=%ZZ${password()}`], ['application/json', `{"refresh_token":${password()}}`], ['text/plain', password()]])
    await post(TOKEN, body, { 'content-type': type });
  for (const where of [`/auth?mode=resetPassword&oobCode=${password('a code in a URL')}`, `${V1}:lookup?idToken=${password()}`, `/v1/projects/shop/databases/(default)/documents/a/b?access_token=${password()}`]) {
    await post(where, undefined, {}, 'GET');
    await post(where, {});
  }
  for (const authorization of [`Bearer ${password()}`, `Basic ${secret('a password', Buffer.from(`box:${password()}`).toString('base64'))}`, password(), `Bearer ${encode({ alg: 'HS256' })}.${encode({ sub: 'x' })}.${password()}`])
    await post('/v1/projects/shop/databases/(default)/documents/a/b', undefined, { authorization, cookie: `session=${password()}` }, 'GET');
  await rawHttp(box.server.port, `POST ${V1}:signInWithPassword HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\nx y: ${password()}\r\n\r\n{"a":`, { ca: box.authority.cert });
});

test('tokens', options, async () => {
  const guest = await good(`${V1}:signUp`, {});
  const second = await good(TOKEN, { grant_type: 'refresh_token', refresh_token: guest.refreshToken });
  await good(TOKEN, { grant_type: 'refresh_token', refresh_token: second.refresh_token });
  await bad('TOKEN_EXPIRED', TOKEN, { grant_type: 'refresh_token', refresh_token: guest.refreshToken }); // and the session has ended, with a line in the log
  await until(() => box.server.log.includes('its refresh token was used again'), 'that line');
  await bad('INVALID_REFRESH_TOKEN', TOKEN, { grant_type: 'refresh_token', refresh_token: `${second.refresh_token.slice(0, -2)}` });
  await bad('TOKEN_EXPIRED', `${V1}:lookup`, { idToken: second.id_token });
  await bad('INVALID_ID_TOKEN', `${V1}:lookup`, { idToken: signature('a forged token', `${guest.idToken.split('.').slice(0, 2).join('.')}.${crypto.randomBytes(64).toString('base64url')}`) });
  const audience = 'https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit';
  await good(`${V1}:signInWithCustomToken`, { token: admin.sign({ aud: audience, uid: 'till' }) });
  await bad('INVALID_CUSTOM_TOKEN', `${V1}:signInWithCustomToken`, { token: admin.sign({ aud: 'https://else.example', uid: 'till' }) });
  await bad('INVALID_CUSTOM_TOKEN', `${V1}:signInWithCustomToken`, { token: password('no token') });
  const enter = (token, more = '') => ({ postBody: `id_token=${signature('a token of a provider', token)}&providerId=oidc.works${more}`, requestUri: 'http://localhost' });
  await good(`${V1}:signInWithIdp`, enter(box.provider.token({ sub: 'w1' })));
  await bad('INVALID_IDP_RESPONSE', `${V1}:signInWithIdp`, enter(box.provider.token({ sub: 'w1', aud: 'other' })));
  await bad('MISSING_OR_INVALID_NONCE', `${V1}:signInWithIdp`, enter(box.provider.token({ sub: 'w1', nonce: 'n' }), `&nonce=${secret('a nonce', crypto.randomBytes(12).toString('hex'))}`));
  await post(`${V1}:signInWithIdp`, { postBody: `access_token=${password()}&providerId=facebook.com`, requestUri: 'http://localhost' });
  const stub = new Rpc(`localhost:${box.server.port}`, accountServices().Accounts, { credentials: grpc.credentials.createSsl(), authorization: `Bearer ${password('a token')}` });
  await stub.call('SignInWithPassword', { email: 'nobody@example.com', password: password() }).then(() => assert.fail(), (error) => refusals.push(error.message));
  stub.close();
});

test('codes in mails', options, async () => {
  const email = newEmail();
  const user = await good(`${V1}:signUp`, { email, password: password() });
  await good(`${V1}:update`, { oobCode: await code('VERIFY_EMAIL', email, { idToken: user.idToken }) });
  const reset = await code('PASSWORD_RESET', email);
  await bad('WEAK_PASSWORD', `${V1}:resetPassword`, { oobCode: reset, newPassword: secret('a weak password', 'w9$kT') });
  await good(`${V1}:resetPassword`, { oobCode: reset, newPassword: password() });
  for (const oobCode of [reset, secret('no code', crypto.randomBytes(32).toString('base64url')), password('no code')]) await bad('INVALID_OOB_CODE', `${V1}:resetPassword`, { oobCode, newPassword: password() });
  const link = await code('EMAIL_SIGNIN', email);
  await bad('INVALID_EMAIL', `${V1}:signInWithEmailLink`, { email: newEmail(), oobCode: link });
  const { idToken } = await good(`${V1}:signInWithEmailLink`, { email, oobCode: link });
  await bad('INVALID_OOB_CODE', `${V1}:signInWithEmailLink`, { email, oobCode: link });
  const other = newEmail();
  await good(`${V1}:update`, { oobCode: await code('VERIFY_AND_CHANGE_EMAIL', undefined, { idToken, newEmail: other }) });
  await good(`${V1}:update`, { oobCode: await mailed(email) }); // taken back
  secret('a code of an administrator', (await manage(':sendOobCode', { requestType: 'PASSWORD_RESET', email, returnOobLink: true })).oobCode);
  mails.answer = (verb) => (verb === '.' ? '554 no, and here is what you sent' : undefined); // a mail that is refused has a line in the log
  await good(`${V1}:sendOobCode`, { requestType: 'PASSWORD_RESET', email });
  await until(() => /mail.*(refused|not sent|given up)/i.test(box.server.log), 'a refused mail in the log');
  mails.answer = undefined;
});

test('the second factor', options, async () => {
  const email = newEmail(), its = password();
  const { localId } = await manage('', { email, password: its, emailVerified: true });
  const { idToken } = await good(`${V1}:signInWithPassword`, { email, password: its });
  const { totpSessionInfo: info } = await good(`${V2}/mfaEnrollment:start`, { idToken, totpEnrollmentInfo: {} });
  secret('the secret of a second factor', info.sharedSecretKey);
  secret('a session of an enrolment', info.sessionInfo);
  const finish = (verificationCode, sessionInfo = info.sessionInfo) => [`${V2}/mfaEnrollment:finalize`, { idToken, totpVerificationInfo: { sessionInfo, verificationCode } }];
  await bad('INVALID_CODE', ...finish(password('no code')));
  await bad('INVALID_MFA_SESSION', ...finish('123456', password('no session')));
  const done = await good(...finish(totp(info.sharedSecretKey)));
  for (const one of done.recoveryCodes) secret('a recovery code', one);
  const { mfaPendingCredential } = await good(`${V1}:signInWithPassword`, { email, password: its });
  const enter = (more) => [`${V2}/mfaSignIn:finalize`, { mfaPendingCredential, ...more }];
  await bad('INVALID_CODE', ...enter({ recoveryCode: secret('no recovery code', 'QRST-WXYZ-2345-67QR') }));
  await bad('INVALID_MFA_PENDING_CREDENTIAL', `${V2}/mfaSignIn:finalize`, { mfaPendingCredential: secret('no credential', mfaPendingCredential.slice(3)), recoveryCode: done.recoveryCodes[0] });
  await good(...enter({ recoveryCode: done.recoveryCodes[0] }));
  await bad('INVALID_CODE', ...enter({ recoveryCode: done.recoveryCodes[0] }));
  const last = await good(...enter({ recoveryCode: done.recoveryCodes[1] }));
  for (let i = 0, answer; answer !== 'TOO_MANY_ATTEMPTS_TRY_LATER'; i++) {
    assert.ok(i < 30);
    answer = outcome(await post(...enter({ recoveryCode: password('a guess') })));
  }
  await good(`${V2}/mfaEnrollment:withdraw`, { idToken: last.idToken, mfaEnrollmentId: claimsOf(last.idToken).firebase.second_factor_identifier });
  await manage(':delete', { localId });
});

test('hashes of an import', options, async () => {
  const key = crypto.randomBytes(24), its = password(), salt = secret('a salt', crypto.randomBytes(12).toString('base64')), email = newEmail();
  const hash = crypto.createHmac('sha256', key).update(Buffer.concat([Buffer.from(its), Buffer.from(salt, 'base64')])).digest('base64');
  secret('the key of an import', key.toString('base64'));
  secret('a hash', hash);
  const user = { localId: 'imported', email, passwordHash: hash, salt };
  const good = await manage(':batchCreate', { hashAlgorithm: 'HMAC_SHA256', signerKey: key.toString('base64'), users: [user, { ...user, localId: 'twin' }, { localId: 'worse', passwordHash: secret('half a hash', hash.slice(0, 20)) }] });
  assert.equal(good.error.length, 2, JSON.stringify(good));
  refusals.push(JSON.stringify(good));
  await bad('INVALID_HASH_ROUNDS', `${ADMIN}:batchCreate`, { hashAlgorithm: 'PBKDF2_SHA256', rounds: 0, users: [user] }, admin.headers);
  await bad('INVALID_LOGIN_CREDENTIALS', `${V1}:signInWithPassword`, { email, password: password('a wrong password') });
  await post(`${V1}:signInWithPassword`, { email, password: its });
  for (const one of (await manage(':batchGet?maxResults=1000', undefined, 'GET')).users) if (one.passwordHash) secret('a stored hash', Buffer.from(one.passwordHash, 'base64').toString().split('$').at(-1));
  await bad('INVALID_CLAIMS', `${ADMIN}:update`, { localId: 'imported', customAttributes: `{"pin":"${password('a claim')}"` }, admin.headers);
});

test('none of it is told', options, async () => {
  assert.ok(secrets.size > 120, `${secrets.size}`);
  const metrics = await request(box.server.port, '/metrics', { ca: box.authority.cert });
  assert.equal(metrics.status, 200);
  const backup = box.run('backup', backups);
  assert.equal(backup.code, 0, backup.stderr);
  const listed = box.run('backup', 'list', backups);
  const places = { metrics: metrics.text, status: box.status(), backup: backup.stdout + backup.stderr + listed.stdout + listed.stderr, refusals: refusals.join('\n') };
  await box.server.stop();
  const verified = box.run('verify');
  assert.equal(verified.code, 0, verified.stdout);
  Object.assign(places, { verify: verified.stdout + verified.stderr, log: box.server.log });
  assert.match(box.server.log, /msg="call" .*SignInWithPassword/, 'the log has what was asked for');
  for (const [place, text] of Object.entries(places)) {
    const told = [...secrets].filter(([one]) => text.includes(one)).map(([one, what]) => `${what}: ${text.split('\n').find((line) => line.includes(one)).slice(0, 400)}`);
    assert.deepEqual(told, [], place);
    assert.equal(text.match(/scrypt\$|PRIVATE KEY/), null, place);
  }
  await box.server.start(); // what is closed afterwards
});
