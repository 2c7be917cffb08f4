// Kills the server in the middle of every kind of write that accounts make: before a write to the store's log, with half of it
// written, and after it but before the answer (tests/support/machine_shim.c). Each kind runs once to count its writes, then dies at
// each of them in each way. After each death `skerry verify` has to find that accounts and what leads to them agree, and the server,
// started again, is asked:
//   - what was acknowledged is there, whole; what was not is there whole, or not at all;
//   - tokens of before are the same user's, or ask to sign in again;
//   - sealed secrets open, one-time codes are good once, mails that were promised come.
// Power cuts, which lose what was written and not synced, leave what "before" leaves.
import { directory } from '../integration/support/roots.mjs'; // first
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { claimsOf, totp } from '../integration/support/accounts.mjs';
import { Authority, opensslMissing } from '../integration/support/certificates.mjs';
import { json } from '../integration/support/http.mjs';
import { Issuer } from '../integration/support/issuer.mjs';
import { MailServer, parseMail } from '../integration/support/mail.mjs';
import { Server, isEmulator, makeTempDir, removeDir, runSkerry } from '../integration/support/server.mjs';
import { until } from '../integration/support/wait.mjs';

const SHIM = process.env.SKERRY_MACHINE_SHIM;
const skip = isEmulator || !SHIM ? 'needs the shim, which sanitizers and other processors do not take' : opensslMissing;
const LANES = 3; // servers, each with data of its own
const WAYS = ['before', 'half', 'after'];
const WRITES_MAX = 8; // of one operation; more would be a surprise
const PASSWORD = 'correct horse 7', NEXT = 'another horse 8';
const SIGN_IN_AGAIN = ['TOKEN_EXPIRED', 'USER_NOT_FOUND', 'USER_DISABLED', 'INVALID_REFRESH_TOKEN'];

const V1 = '/identitytoolkit.googleapis.com/v1/accounts', V2 = '/identitytoolkit.googleapis.com/v2/accounts';
const ADMIN = '/identitytoolkit.googleapis.com/v1/projects/skerry/accounts';
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const outcome = (value) => value?.error?.message.split(' : ')[0] ?? 'OK';
let made = 0;
const newUid = () => `u${++made}`;
const emailOf = (uid) => `${uid}@example.com`;

let mails, issuer, certificates;
const lanes = [];
before(async () => {
  if (skip) return;
  certificates = new Authority(directory);
  issuer = await new Issuer(certificates.server('issuer')).start();
  mails = await new MailServer().start();
});
after(async () => {
  for (const lane of lanes) lane.server.discard();
  await issuer?.stop();
  await mails?.stop();
  removeDir(directory);
});

/** A server that can be made to die. */
class Lane {
  constructor(name, args = []) {
    this.flag = path.join(directory, `die-${name}`);
    this.server = new Server({
      dataDir: path.join(directory, `data-${name}`), // is kept when a start fails
      args: ['--dev', '--listen', '127.0.0.1:0', '--log-level', 'warn', '--smtp', mails.url, '--smtp-insecure', '--mail-from', 'box@example.com',
        '--issuer', `${issuer.url} audience=app provider=oidc.works`, '--issuer-ca', certificates.certFile, ...args],
      env: { LD_PRELOAD: SHIM, SKERRY_SHIM_DIE: this.flag },
    });
    lanes.push(this);
  }

  arm(how, at = 0) {
    fs.writeFileSync(this.flag, `${how} ${how === 'count' ? 0 : at}\n`);
  }
  /** How many writes there were since. */
  disarm() {
    const count = fs.readFileSync(this.flag, 'utf8').split('\n')[1].length;
    fs.rmSync(this.flag);
    return count;
  }
  /** After a death: looks at the store, and starts again. */
  async reopen() {
    const { code, stdout, stderr } = runSkerry(['verify', '--data', this.server.dataDir]);
    assert.equal(code, 0, stdout + stderr);
    await this.server.start();
  }

  async call(path, value, headers) {
    return (await json(this.server.port, value === undefined ? 'GET' : 'POST', path, value, { headers })).value;
  }
  /** What has to succeed. */
  async good(path, value, headers) {
    const answer = await this.call(path, value, headers);
    assert.equal(outcome(answer), 'OK', `${path}: ${JSON.stringify(answer)}`);
    return answer;
  }
  owner(rest, value) {
    return this.call(ADMIN + rest, value, { authorization: 'Bearer owner' });
  }
  manage(rest, value) {
    return this.good(ADMIN + rest, value, { authorization: 'Bearer owner' });
  }

  // People.
  async create(more = {}) {
    const uid = newUid();
    await this.manage('', { localId: uid, email: emailOf(uid), ...more });
    return { uid, email: emailOf(uid) };
  }
  enter(uid, way = 'good') {
    return this[way](`${V1}:signInWithCustomToken`, { token: `${encode({ alg: 'none' })}.${encode({ uid })}.` });
  }
  /** One who is signed in: {uid, email, idToken, refreshToken}. */
  async person(more) {
    const user = await this.create(more);
    const { idToken, refreshToken } = await this.enter(user.uid);
    return { ...user, idToken, refreshToken };
  }
  async guest() {
    const { localId, idToken, refreshToken } = await this.good(`${V1}:signUp`, {});
    return { uid: localId, email: emailOf(newUid()), idToken, refreshToken };
  }
  /** One with a second factor: {..., secret, recovery}. */
  async guarded() {
    const user = await this.person({ emailVerified: true, password: PASSWORD });
    for (;;) {
      const { totpSessionInfo: info } = await this.good(`${V2}/mfaEnrollment:start`, { idToken: user.idToken, totpEnrollmentInfo: {} });
      const done = await this.call(`${V2}/mfaEnrollment:finalize`, { idToken: user.idToken, totpVerificationInfo: { sessionInfo: info.sessionInfo, verificationCode: totp(info.sharedSecretKey, -1) } });
      if (outcome(done) === 'INVALID_CODE') continue; // the clock went on to the next step meanwhile
      assert.equal(outcome(done), 'OK');
      return { ...user, idToken: done.idToken, refreshToken: done.refreshToken, secret: info.sharedSecretKey, recovery: done.recoveryCodes };
    }
  }

  // What is asked afterwards.
  async account(uid) {
    return (await this.manage(':lookup', { localId: [uid] })).users?.[0];
  }
  async whose(email) {
    return (await this.manage(':lookup', { email: [email] })).users?.[0].localId;
  }
  async whoseProvider(rawId) {
    return (await this.manage(':lookup', { federatedUserId: [{ providerId: 'oidc.works', rawId }] })).users?.[0].localId;
  }
  async all() {
    return (await this.call(`${ADMIN}:batchGet?maxResults=1000`, undefined, { authorization: 'Bearer owner' })).users ?? [];
  }
  async signIn(email, password = PASSWORD) {
    const answer = await this.call(`${V1}:signInWithPassword`, { email, password });
    return answer.mfaPendingCredential ? 'PENDING' : outcome(answer);
  }
  async tokenWorks(user) {
    return outcome(await this.call(`${V1}:lookup`, { idToken: user.idToken }));
  }
  refresh(token, way = 'call') {
    return this[way]('/securetoken.googleapis.com/v1/token', { grant_type: 'refresh_token', refresh_token: token });
  }
  /** What a code is for, which does not use it up. */
  async codeIs(oobCode) {
    const answer = await this.call(`${V1}:resetPassword`, { oobCode });
    return answer.error ? outcome(answer) : answer.requestType;
  }
  async link(type, email, more = {}) {
    return (await this.manage(':sendOobCode', { requestType: type, email, returnOobLink: true, ...more })).oobCode;
  }
  /** Codes in the mails that came to an address, each once. Mails go out in their order, so whoever waits for one that was asked for
   * just now has seen those before it. */
  async codesTo(address) {
    const marker = emailOf(newUid());
    await this.good(`${V1}:sendOobCode`, { requestType: 'EMAIL_SIGNIN', email: marker, continueUrl: 'http://localhost/' });
    const to = (who) => mails.mails.filter((one) => one.to[0] === who);
    await until(() => to(marker).length > 0, 'the mails');
    const codes = to(address).map(({ text }) => parseMail(text).text.match(/oobCode=([\w-]+)/)[1]);
    return [...new Set(codes)];
  }
}

// Each: `begin` makes what it needs; `run` is the operation; `look`, after the death, sees what there is, which has to be `old` or
// `fresh`. Without `old` the two cannot be told apart from outside.
const send = (requestType, { address = (user) => user.email, more = () => ({}) } = {}) => ({
  begin: (lane) => lane.person(),
  run: (lane, user) => lane.good(`${V1}:sendOobCode`, { requestType, email: user.email, continueUrl: 'http://localhost/', ...more(user) }),
  look: async (lane, user) => Promise.all((await lane.codesTo(address(user))).map((code) => lane.codeIs(code))),
  old: [], fresh: [requestType],
  writesLater: true,
});
const postBody = (sub, claims = {}) => `id_token=${issuer.token({ sub, aud: 'app', ...claims })}&providerId=oidc.works`;

const OPERATIONS = {
  'sign-up with a password': {
    begin: () => ({ email: emailOf(newUid()) }),
    run: (lane, { email }) => lane.good(`${V1}:signUp`, { email, password: PASSWORD }),
    look: async (lane, { email }) => [(await lane.whose(email)) !== undefined, await lane.signIn(email)],
    old: [false, 'INVALID_LOGIN_CREDENTIALS'], fresh: [true, 'OK'],
  },
  'anonymous sign-up': {
    begin: async (lane) => ({ count: (await lane.all()).length }),
    run: (lane) => lane.good(`${V1}:signUp`, {}),
    look: async (lane, { count }) => (await lane.all()).length - count,
    old: 0, fresh: 1,
  },
  'linking a password': {
    begin: (lane) => lane.guest(),
    run: (lane, guest) => lane.good(`${V1}:signUp`, { idToken: guest.idToken, email: guest.email, password: PASSWORD }),
    look: async (lane, guest) => [(await lane.whose(guest.email)) === guest.uid, await lane.signIn(guest.email), await lane.tokenWorks(guest)],
    old: [false, 'INVALID_LOGIN_CREDENTIALS', 'OK'], fresh: [true, 'OK', 'TOKEN_EXPIRED'],
  },
  'linking a provider': {
    begin: (lane) => lane.guest(),
    run: (lane, guest) => lane.good(`${V1}:signInWithIdp`, { idToken: guest.idToken, postBody: postBody(`linked-${guest.uid}`), requestUri: 'http://localhost' }),
    look: async (lane, guest) => [(await lane.whoseProvider(`linked-${guest.uid}`)) === guest.uid, (await lane.account(guest.uid)).providerUserInfo?.length ?? 0],
    old: [false, 0], fresh: [true, 1],
  },
  'unlinking a provider': {
    begin: async (lane) => {
      const uid = newUid();
      await lane.manage(':batchCreate', { users: [{ localId: uid, email: emailOf(uid), providerUserInfo: [{ providerId: 'oidc.works', rawId: uid }] }] });
      return { uid, ...(await lane.enter(uid)) };
    },
    run: (lane, user) => lane.good(`${V1}:update`, { idToken: user.idToken, deleteProvider: ['oidc.works'] }),
    look: async (lane, { uid }) => [(await lane.whoseProvider(uid)) === uid, (await lane.account(uid)).providerUserInfo?.length ?? 0],
    old: [true, 1], fresh: [false, 0],
  },
  'a profile': {
    begin: (lane) => lane.person(),
    run: (lane, user) => lane.good(`${V1}:update`, { idToken: user.idToken, displayName: 'Ann', photoUrl: 'https://example.com/a.png' }),
    look: async (lane, { uid }) => (({ displayName, photoUrl }) => [displayName, photoUrl])(await lane.account(uid)),
    old: [undefined, undefined], fresh: ['Ann', 'https://example.com/a.png'],
  },
  'another password': {
    begin: (lane) => lane.person({ password: PASSWORD }),
    run: (lane, user) => lane.good(`${V1}:update`, { idToken: user.idToken, password: NEXT }),
    look: async (lane, user) => [await lane.signIn(user.email), await lane.signIn(user.email, NEXT), await lane.tokenWorks(user)],
    old: ['OK', 'INVALID_LOGIN_CREDENTIALS', 'OK'], fresh: ['INVALID_LOGIN_CREDENTIALS', 'OK', 'TOKEN_EXPIRED'],
  },
  'another address': {
    begin: (lane) => lane.person(),
    run: (lane, user) => lane.good(`${V1}:update`, { idToken: user.idToken, email: `new-${user.email}` }),
    look: async (lane, user) => [(await lane.whose(user.email)) === user.uid, (await lane.whose(`new-${user.email}`)) === user.uid, await lane.tokenWorks(user)],
    old: [true, false, 'OK'], fresh: [false, true, 'TOKEN_EXPIRED'],
  },
  'a mail to reset the password': send('PASSWORD_RESET'),
  'a mail to verify the address': send('VERIFY_EMAIL', { more: ({ idToken }) => ({ idToken }) }),
  'a mail to sign in': send('EMAIL_SIGNIN'),
  'a mail to change the address': send('VERIFY_AND_CHANGE_EMAIL', { address: ({ email }) => `new-${email}`, more: ({ idToken, email }) => ({ idToken, newEmail: `new-${email}` }) }),
  'a reset password': {
    begin: async (lane) => {
      const user = await lane.person({ password: PASSWORD, emailVerified: true });
      return { ...user, oobCode: await lane.link('PASSWORD_RESET', user.email) };
    },
    run: (lane, { oobCode }) => lane.good(`${V1}:resetPassword`, { oobCode, newPassword: NEXT }),
    look: async (lane, user) => [await lane.signIn(user.email), await lane.signIn(user.email, NEXT), await lane.tokenWorks(user), await lane.codeIs(user.oobCode)],
    old: ['OK', 'INVALID_LOGIN_CREDENTIALS', 'OK', 'PASSWORD_RESET'], fresh: ['INVALID_LOGIN_CREDENTIALS', 'OK', 'TOKEN_EXPIRED', 'INVALID_OOB_CODE'],
  },
  'a verified address': {
    begin: async (lane) => {
      const user = await lane.person();
      return { ...user, oobCode: await lane.link('VERIFY_EMAIL', user.email) };
    },
    run: (lane, { oobCode }) => lane.good(`${V1}:update`, { oobCode }),
    look: async (lane, { uid, oobCode }) => [(await lane.account(uid)).emailVerified ?? false, await lane.codeIs(oobCode)],
    old: [false, 'VERIFY_EMAIL'], fresh: [true, 'INVALID_OOB_CODE'],
  },
  'an address changed by a mail': {
    begin: async (lane) => {
      const user = await lane.person({ emailVerified: true });
      return { ...user, oobCode: await lane.link('VERIFY_AND_CHANGE_EMAIL', user.email, { newEmail: `new-${user.email}` }) };
    },
    run: (lane, { oobCode }) => lane.good(`${V1}:update`, { oobCode }),
    look: async (lane, { uid, email, oobCode }) => [(await lane.whose(email)) === uid, (await lane.whose(`new-${email}`)) === uid, await lane.codeIs(oobCode),
      ...(await Promise.all((await lane.codesTo(email)).map((code) => lane.codeIs(code))))],
    old: [true, false, 'VERIFY_AND_CHANGE_EMAIL'], fresh: [false, true, 'INVALID_OOB_CODE', 'RECOVER_EMAIL'],
    writesLater: true,
  },
  'an address taken back': {
    begin: async (lane) => {
      const user = await lane.person({ emailVerified: true });
      await lane.good(`${V1}:update`, { oobCode: await lane.link('VERIFY_AND_CHANGE_EMAIL', user.email, { newEmail: `new-${user.email}` }) });
      await lane.create({ email: user.email }); // somebody who has to give way
      const [recovery] = await lane.codesTo(user.email);
      return { ...user, recovery, idToken: (await lane.enter(user.uid)).idToken };
    },
    run: (lane, { recovery }) => lane.good(`${V1}:update`, { oobCode: recovery }),
    look: async (lane, { uid, email, recovery }) => [(await lane.whose(email)) === uid, (await lane.whose(`new-${email}`)) === uid, await lane.codeIs(recovery)],
    old: [false, true, 'RECOVER_EMAIL'], fresh: [true, false, 'INVALID_OOB_CODE'],
  },
  'a sign-in by a link, first': {
    begin: async (lane) => {
      const email = emailOf(newUid());
      return { email, oobCode: await lane.link('EMAIL_SIGNIN', email) };
    },
    run: (lane, { email, oobCode }) => lane.good(`${V1}:signInWithEmailLink`, { email, oobCode }),
    look: async (lane, { email, oobCode }) => [(await lane.whose(email)) !== undefined, await lane.codeIs(oobCode)],
    old: [false, 'EMAIL_SIGNIN'], fresh: [true, 'INVALID_OOB_CODE'],
  },
  'a custom token, first': {
    begin: () => ({ uid: newUid() }),
    run: (lane, { uid }) => lane.enter(uid),
    look: async (lane, { uid }) => (await lane.account(uid)) !== undefined,
    old: false, fresh: true,
  },
  'a provider, first': {
    begin: () => ({ sub: newUid() }),
    run: (lane, { sub }) => lane.good(`${V1}:signInWithIdp`, { postBody: postBody(sub, { email: emailOf(sub), email_verified: true }), requestUri: 'http://localhost' }),
    look: async (lane, { sub }) => {
      const uid = await lane.whoseProvider(sub);
      return [uid !== undefined, (await lane.whose(emailOf(sub))) === uid];
    },
    old: [false, true], fresh: [true, true],
  },
  'a sign-in that replaces the hash of an import': {
    begin: async (lane) => {
      const uid = newUid(), key = Buffer.from('the signer key');
      await lane.manage(':batchCreate', { hashAlgorithm: 'HMAC_SHA256', signerKey: key.toString('base64'),
        users: [{ localId: uid, email: emailOf(uid), passwordHash: crypto.createHmac('sha256', key).update(PASSWORD).digest('base64') }] });
      return { uid, email: emailOf(uid) };
    },
    run: (lane, { email }) => lane.good(`${V1}:signInWithPassword`, { email, password: PASSWORD }),
    look: async (lane, { uid }) => Buffer.from((await lane.all()).find((one) => one.localId === uid).passwordHash, 'base64').toString().split('$')[1],
    old: 'hmac-sha256', fresh: 'scrypt',
  },
  'a wrong guess': {
    begin: (lane) => lane.create({ password: PASSWORD }),
    run: async (lane, { email }) => assert.equal(await lane.signIn(email, 'wrong horse 9'), 'INVALID_LOGIN_CREDENTIALS'),
    look: (lane, { email }) => lane.signIn(email),
    fresh: 'OK', writesLater: true,
  },
  'the enrolment of a second factor': {
    begin: async (lane) => {
      const user = await lane.person({ emailVerified: true, password: PASSWORD });
      const { totpSessionInfo } = await lane.good(`${V2}/mfaEnrollment:start`, { idToken: user.idToken, totpEnrollmentInfo: {} });
      return { ...user, info: totpSessionInfo };
    },
    run: (lane, { idToken, info }) => lane.good(`${V2}/mfaEnrollment:finalize`, { idToken, totpVerificationInfo: { sessionInfo: info.sessionInfo, verificationCode: totp(info.sharedSecretKey) } }),
    look: async (lane, user) => [(await lane.account(user.uid)).mfaInfo?.length ?? 0, await lane.signIn(user.email), await lane.tokenWorks(user)],
    old: [0, 'OK', 'OK'], fresh: [1, 'PENDING', 'TOKEN_EXPIRED'],
  },
  'a code of the second factor': {
    begin: async (lane) => {
      const user = await lane.guarded();
      return { ...user, pending: (await lane.good(`${V1}:signInWithPassword`, { email: user.email, password: PASSWORD })).mfaPendingCredential, code: totp(user.secret, 1) };
    },
    run: (lane, { pending, code }) => lane.good(`${V2}/mfaSignIn:finalize`, { mfaPendingCredential: pending, totpVerificationInfo: { verificationCode: code } }),
    look: async (lane, { pending, code }) => outcome(await lane.call(`${V2}/mfaSignIn:finalize`, { mfaPendingCredential: pending, totpVerificationInfo: { verificationCode: code } })),
    old: 'OK', fresh: 'INVALID_CODE', // the sealed secret opens, and the code is good once
  },
  'a recovery code': {
    begin: async (lane) => {
      const user = await lane.guarded();
      return { ...user, pending: (await lane.good(`${V1}:signInWithPassword`, { email: user.email, password: PASSWORD })).mfaPendingCredential };
    },
    run: (lane, { pending, recovery }) => lane.good(`${V2}/mfaSignIn:finalize`, { mfaPendingCredential: pending, recoveryCode: recovery[3] }),
    look: async (lane, { pending, recovery }) => {
      const use = async (i) => lane.call(`${V2}/mfaSignIn:finalize`, { mfaPendingCredential: pending, recoveryCode: recovery[i] });
      return [outcome(await use(3)), (await use(4)).recoveryCodes];
    },
    old: ['OK', 8], fresh: ['INVALID_CODE', 8],
  },
  'the withdrawal of a second factor': {
    begin: (lane) => lane.guarded(),
    run: async (lane, user) => lane.good(`${V2}/mfaEnrollment:withdraw`, { idToken: user.idToken, mfaEnrollmentId: claimsOf(user.idToken).firebase.second_factor_identifier }),
    look: async (lane, user) => [(await lane.account(user.uid)).mfaInfo?.length ?? 0, await lane.signIn(user.email), await lane.tokenWorks(user)],
    old: [1, 'PENDING', 'OK'], fresh: [0, 'OK', 'TOKEN_EXPIRED'],
  },
  'a refresh': {
    begin: (lane) => lane.person(),
    run: async (lane, user) => (user.next = await lane.refresh(user.refreshToken, 'good')),
    look: async (lane, user) => {
      const again = await lane.refresh(user.refreshToken, 'good'); // a lost answer is given again
      if (user.next) assert.equal(again.refresh_token, user.next.refresh_token);
      return outcome(await lane.refresh(again.refresh_token));
    },
    fresh: 'OK',
  },
  'a spent refresh token': {
    begin: async (lane) => {
      const user = await lane.person();
      const second = await lane.refresh(user.refreshToken, 'good'), third = await lane.refresh(second.refresh_token, 'good');
      return { ...user, last: third.refresh_token };
    },
    run: async (lane, user) => assert.equal(outcome(await lane.refresh(user.refreshToken)), 'TOKEN_EXPIRED'),
    look: async (lane, user) => [outcome(await lane.refresh(user.last)), await lane.tokenWorks(user)],
    old: ['OK', 'OK'], fresh: ['TOKEN_EXPIRED', 'TOKEN_EXPIRED'],
  },
  'the end of all sessions': {
    begin: async (lane) => {
      const user = await lane.person();
      return { ...user, other: (await lane.enter(user.uid)).idToken };
    },
    run: (lane, { idToken }) => lane.good(`${V1}/sessions:revoke`, { idToken, all: true }),
    look: async (lane, user) => [await lane.tokenWorks(user), await lane.tokenWorks({ idToken: user.other }), outcome(await lane.refresh(user.refreshToken))],
    old: ['OK', 'OK', 'OK'], fresh: ['TOKEN_EXPIRED', 'TOKEN_EXPIRED', 'TOKEN_EXPIRED'],
  },
  'a deletion': {
    begin: async (lane) => {
      const user = await lane.person();
      return { ...user, oobCode: await lane.link('PASSWORD_RESET', user.email) };
    },
    run: (lane, { idToken }) => lane.good(`${V1}:delete`, { idToken }),
    look: async (lane, user) => [(await lane.account(user.uid)) !== undefined, (await lane.whose(user.email)) === user.uid, await lane.tokenWorks(user), await lane.codeIs(user.oobCode)],
    old: [true, true, 'OK', 'PASSWORD_RESET'], fresh: [false, false, 'USER_NOT_FOUND', 'INVALID_OOB_CODE'],
  },
  'creation by an administrator': {
    begin: () => ({ uid: newUid() }),
    run: (lane, { uid }) => lane.manage('', { localId: uid, email: emailOf(uid), displayName: 'Ann' }),
    look: async (lane, { uid }) => [(await lane.account(uid))?.displayName, (await lane.whose(emailOf(uid))) === uid],
    old: [undefined, false], fresh: ['Ann', true],
  },
  'an import': {
    begin: async (lane) => ({ user: await lane.person(), uids: [newUid(), newUid()] }), // one who is replaced, two who are new
    run: async (lane, { user, uids }) => {
      const users = [user.uid, ...uids].map((uid) => ({ localId: uid, email: `imported-${uid}@example.com`, providerUserInfo: [{ providerId: 'oidc.works', rawId: `i-${uid}` }] }));
      const { error } = await lane.manage(':batchCreate', { users });
      assert.equal(error, undefined);
    },
    look: async (lane, { user, uids }) => {
      const all = [user.uid, ...uids];
      const found = await Promise.all(all.flatMap((uid) => [lane.whose(`imported-${uid}@example.com`), lane.whoseProvider(`i-${uid}`)]));
      return [found.filter((uid) => all.includes(uid)).length, (await lane.whose(user.email)) === user.uid, await lane.tokenWorks(user)];
    },
    old: [0, true, 'OK'], fresh: [6, false, 'TOKEN_EXPIRED'],
  },
  'an update by an administrator': {
    begin: (lane) => lane.person(),
    run: (lane, { uid, email }) => lane.manage(':update', { localId: uid, email: `new-${email}`, emailVerified: true, customAttributes: '{"role":"cook"}', disableUser: true }),
    look: async (lane, user) => {
      const { email, emailVerified, customAttributes, disabled } = await lane.account(user.uid);
      return [email === `new-${user.email}`, (await lane.whose(user.email)) === user.uid, emailVerified ?? false, customAttributes, disabled ?? false, await lane.tokenWorks(user)];
    },
    old: [false, true, false, undefined, false, 'OK'], fresh: [true, false, true, '{"role":"cook"}', true, 'USER_DISABLED'],
  },
  'a revocation by an administrator': {
    begin: (lane) => lane.person(),
    run: (lane, { uid }) => lane.manage(':update', { localId: uid, validSince: String(Math.floor(Date.now() / 1000) + 1) }),
    look: async (lane, user) => [await lane.tokenWorks(user), outcome(await lane.refresh(user.refreshToken))],
    old: ['OK', 'OK'], fresh: ['TOKEN_EXPIRED', 'TOKEN_EXPIRED'],
  },
  'a deletion by an administrator': {
    begin: (lane) => lane.person(),
    run: (lane, { uid }) => lane.manage(':delete', { localId: uid }),
    look: async (lane, user) => [(await lane.account(user.uid)) !== undefined, (await lane.whose(user.email)) === user.uid, await lane.tokenWorks(user)],
    old: [true, true, 'OK'], fresh: [false, false, 'USER_NOT_FOUND'],
  },
  'a deletion of several': {
    begin: async (lane) => ({ users: [await lane.person(), await lane.person(), await lane.create()] }),
    run: (lane, { users }) => lane.manage(':batchDelete', { localIds: users.map(({ uid }) => uid), force: true }),
    look: async (lane, { users }) => Promise.all(users.flatMap(({ uid, email }) => [lane.account(uid), lane.whose(email)])).then((found) => found.filter(Boolean).length),
    old: 6, fresh: 0,
  },
};

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** Tokens that the user of an operation had: the same user's, or they ask to sign in again. */
async function checkTokens(lane, { uid, idToken, refreshToken }) {
  if (!idToken) return;
  const found = await lane.call(`${V1}:lookup`, { idToken });
  assert.ok(found.users ? found.users[0].localId === uid : SIGN_IN_AGAIN.includes(outcome(found)), JSON.stringify(found));
  const next = await lane.refresh(refreshToken);
  assert.ok(next.user_id ? next.user_id === uid : SIGN_IN_AGAIN.includes(outcome(next)), JSON.stringify(next));
}

/** Until nothing is written any more: counts of attempts are stored behind the answer, a mail goes out and is taken off. What is
 * missed makes a kill fall elsewhere, no more. */
async function settle(lane) {
  for (let seen; seen !== (seen = fs.statSync(lane.flag).size) && lane.server.running; ) await new Promise((resolve) => setTimeout(resolve, 50));
}

/** The operation, with the server dying at a write or not: {answer (undefined: none came), writes}. */
async function attempt(lane, operation, state, how, at) {
  lane.arm('count');
  await settle(lane);
  lane.arm(how, at);
  const answer = await operation.run(lane, state).then((value) => value ?? {}, (error) => {
    if (error.code === 'ERR_ASSERTION') throw error;
    return undefined; // the connection broke
  });
  if (answer && operation.writesLater) await settle(lane);
  if (answer === undefined) await until(() => !lane.server.running, 'the death that broke the connection');
  return { answer, writes: lane.disarm() };
}

/** Dies at each write in each way: {deaths, seen (what there was afterwards)}. */
async function sweep(lane, name) {
  const operation = OPERATIONS[name], seen = new Set();
  const undisturbed = await operation.begin(lane);
  const { writes } = await attempt(lane, operation, undisturbed, 'count');
  assert.ok(writes >= 1 && writes <= WRITES_MAX, `${name} made ${writes} writes`);
  assert.deepEqual(await operation.look(lane, undisturbed), operation.fresh, `${name}, undisturbed`);
  for (let at = 1; at <= writes; at++)
    for (const how of WAYS) {
      const where = `${name}, killed ${how} write ${at} of ${writes}`;
      const state = await operation.begin(lane);
      const { answer } = await attempt(lane, operation, state, how, at);
      await lane.server.kill(); // if it lives
      await lane.reopen();
      const found = await operation.look(lane, state);
      if (answer) assert.deepEqual(found, operation.fresh, `${where}, acknowledged`);
      else assert.ok(same(found, operation.fresh) || same(found, operation.old), `${where}: ${JSON.stringify(found)} is neither whole nor nothing`);
      seen.add(same(found, operation.fresh) ? 'fresh' : 'old');
      await checkTokens(lane, state);
      if (answer?.idToken && answer.localId) await checkTokens(lane, { ...answer, uid: answer.localId });
    }
  return { deaths: WAYS.length * writes, seen };
}

test('a kill in the middle of each kind of write', { skip }, async (t) => {
  const names = Object.keys(OPERATIONS).filter((name) => !process.env.ONLY || name === process.env.ONLY), waiting = [...names];
  let deaths = 0;
  const work = async (number) => {
    const lane = new Lane(number);
    await lane.server.start();
    await until(async () => outcome(await lane.call(`${V1}:signInWithIdp`, { postBody: postBody(`first-${number}`), requestUri: 'http://localhost' })) === 'OK', 'the keys of the issuer');
    for (let name; (name = waiting.shift()) !== undefined; ) {
      const sides = OPERATIONS[name].old === undefined ? 1 : 2, seen = new Set();
      for (let i = 0; seen.size < sides; i++) {
        assert.ok(i < 3, `${name}: all kills fell on one side of it`);
        const swept = await sweep(lane, name);
        deaths += swept.deaths;
        for (const one of swept.seen) seen.add(one);
      }
    }
    await lane.server.close();
  };
  await Promise.all(Array.from({ length: LANES }, (_, i) => work(i)));
  t.diagnostic(`${names.length} kinds of writes, ${deaths} deaths`);
});

// What the server writes for itself: formats, secrets, the keys of ID tokens.
for (const [what, begins, args] of [['the first start', false, []], ['the start with a new key of ID tokens', true, ['--id-token', 'rs256']]])
  test(`a kill in the middle of ${what}`, { skip }, async (t) => {
    let writes = 1;
    for (let at = 1; at <= writes; at++)
      for (const how of at === 1 ? ['count', ...WAYS] : WAYS) {
        const lane = new Lane(`${args.length}-${how}-${at}`), { options } = lane.server;
        let user;
        if (begins) {
          await lane.server.start();
          user = await lane.person();
          await lane.server.stop();
        }
        options.args.push(...args);
        lane.arm(how, at);
        const started = await lane.server.start().then(() => true, (error) => void assert.match(error.message, /the server ended/));
        const count = lane.disarm();
        assert.equal(started === true, how === 'count', `killed ${how} write ${at} of ${writes}`);
        if (started) writes = count;
        else await lane.server.start();
        if (user) await checkTokens(lane, user);
        const guest = await lane.guest();
        await lane.server.kill();
        if (how !== 'after') continue; // what the others leave begins again, and this goes on
        await lane.reopen();
        assert.equal(await lane.tokenWorks(guest), 'OK', 'the key is kept');
        await lane.server.stop();
      }
    t.diagnostic(`${writes} writes`);
  });
