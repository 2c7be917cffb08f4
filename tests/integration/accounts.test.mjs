// Accounts in development: the sign-in SDK, stubs, and administration by firebase-admin, which lets the host be set there.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { accountServices, auth as A, claimsOf, closeApps, closeVerified, codeOf, signInApp } from './support/accounts.mjs';
import { json, request } from './support/http.mjs';
import { Rpc, codeName } from './support/rpc.mjs';
import { runSkerry, skerryOnly, startServer } from './support/server.mjs';

const options = { skip: skerryOnly };
let server, users, owner;
const secrets = [];

before(async () => {
  if (options.skip) return;
  server = await startServer();
  users = new Rpc(server.address, accountServices().Accounts, { authorization: null });
  owner = new Rpc(server.address, accountServices().AccountAdmin);
});
after(async () => {
  if (!server) return;
  users.close();
  owner.close();
  await closeApps();
  await closeVerified(server);
  for (const secret of secrets) assert.ok(!server.log.includes(secret), 'a secret is in the log');
  assert.deepEqual(server.log.match(/eyJ|scrypt\$/g), null);
});

const phone = () => signInApp(`http://${server.address}`, 'skerry');
let people = 0;
const newEmail = () => `person${++people}@example.com`;
const secret = (text) => (secrets.push(text), text);
const PASSWORD = secret('correct horse 7');
const post = (path, value, more) => json(server.port, 'POST', path, value, more);
const TOOLKIT = '/identitytoolkit.googleapis.com/v1/accounts';
const refresh = (token) => post('/securetoken.googleapis.com/v1/token', { grant_type: 'refresh_token', refresh_token: token });

describe('the sign-in SDK', options, () => {
  test('anonymous, and then permanent under the same id', async () => {
    const { auth } = phone();
    const { user } = await A.signInAnonymously(auth);
    assert.match(user.uid, /^[A-Za-z0-9]{28}$/);
    assert.ok(user.isAnonymous);
    assert.equal(claimsOf(await user.getIdToken()).firebase.sign_in_provider, 'anonymous');
    const email = newEmail();
    const linked = await A.linkWithCredential(user, A.EmailAuthProvider.credential(email.toUpperCase(), PASSWORD));
    assert.deepEqual([linked.user.uid, linked.user.email, linked.user.isAnonymous], [user.uid, email, false]);
    assert.deepEqual(linked.user.providerData.map((one) => one.providerId), ['password']);
    await A.signOut(auth);
    const back = await A.signInWithEmailAndPassword(auth, email, PASSWORD);
    assert.equal(back.user.uid, user.uid);
    const claims = claimsOf(await back.user.getIdToken());
    assert.deepEqual([claims.email, claims.email_verified, claims.firebase.sign_in_provider, claims.user_id], [email, false, 'password', user.uid]);
    assert.equal(claims.exp - claims.iat, 3600);
  });

  test('profile, password, address, deletion', async () => {
    const { auth } = phone();
    const email = newEmail();
    const { user } = await A.createUserWithEmailAndPassword(auth, email, PASSWORD);
    await A.updateProfile(user, { displayName: 'Ann "the" Ä', photoURL: 'https://example.com/a.png' });
    await user.reload();
    assert.deepEqual([user.displayName, user.photoURL], ['Ann "the" Ä', 'https://example.com/a.png']);
    assert.equal(claimsOf(await user.getIdToken(true)).name, 'Ann "the" Ä');
    await A.updateProfile(user, { displayName: '' });
    await user.reload();
    assert.equal(user.displayName, null);

    const other = phone();
    await A.signInWithEmailAndPassword(other.auth, email, PASSWORD);
    const second = secret('another horse 8');
    await A.updatePassword(user, second);
    assert.equal(await codeOf(A.signInWithEmailAndPassword(phone().auth, email, PASSWORD)), 'auth/invalid-credential');
    assert.equal(await codeOf(other.auth.currentUser.getIdToken(true)), 'auth/user-token-expired'); // elsewhere signed out
    assert.equal(other.auth.currentUser, null);
    await user.reload(); // here not
    const third = newEmail();
    await A.updateEmail(user, third);
    await A.signInWithEmailAndPassword(other.auth, third, second);
    await A.deleteUser(user);
    assert.equal(await codeOf(A.signInWithEmailAndPassword(phone().auth, third, second)), 'auth/invalid-credential');
    assert.equal(await codeOf(other.auth.currentUser.reload()), 'auth/user-token-expired');
  });

  test('what is wrong has the codes that apps know', async () => {
    const { auth } = phone();
    const email = newEmail();
    await A.createUserWithEmailAndPassword(auth, email, PASSWORD);
    assert.equal(await codeOf(A.createUserWithEmailAndPassword(auth, email, PASSWORD)), 'auth/email-already-in-use');
    assert.equal(await codeOf(A.createUserWithEmailAndPassword(auth, newEmail(), 'short')), 'auth/weak-password');
    for (const bad of ['nobody', '@example.com', 'a@', 'a b@example.com', 'a@b..c', `${'x'.repeat(65)}@example.com`])
      assert.equal(await codeOf(A.createUserWithEmailAndPassword(auth, bad, PASSWORD)), 'auth/invalid-email', bad);
    assert.equal(await codeOf(A.signInWithCustomToken(auth, 'nonsense')), 'auth/invalid-custom-token');
  });

  test('what passwords have to be', async () => {
    const { auth } = phone();
    assert.ok((await A.validatePassword(auth, PASSWORD)).isValid);
    assert.ok(!(await A.validatePassword(auth, 'short')).isValid);
  });

  test('no difference between a wrong password and an unknown address', async () => {
    const { auth } = phone();
    const email = newEmail();
    await A.createUserWithEmailAndPassword(auth, email, PASSWORD);
    const answer = async (who) => {
      const { status, value } = await post(`${TOOLKIT}:signInWithPassword`, { email: who, password: 'wrong pass' });
      return [status, value];
    };
    assert.deepEqual(await answer(email), await answer(newEmail()));
    assert.deepEqual((await answer(email))[1].error, {
      code: 400, message: 'INVALID_LOGIN_CREDENTIALS', status: 'INVALID_ARGUMENT',
      errors: [{ message: 'INVALID_LOGIN_CREDENTIALS', domain: 'global', reason: 'invalid' }],
    });
  });
});

describe('refresh tokens', options, () => {
  const signUp = async () => (await post(`${TOOLKIT}:signUp?key=none`, { returnSecureToken: true, clientType: 'CLIENT_TYPE_WEB', unknown: { a: [1] } })).value;

  test('as a form, as native SDKs and the web send it', async () => {
    const { refreshToken, localId } = await signUp();
    const answer = await request(server.port, '/securetoken.googleapis.com/v1/token?key=none', {
      method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: `grant_type=refresh_token&refresh_token=${refreshToken}`,
    });
    const value = answer.json();
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual([value.user_id, value.expires_in, value.token_type, value.project_id], [localId, '3600', 'Bearer', 'skerry']);
    assert.equal(value.access_token, value.id_token);
    assert.notEqual(value.refresh_token, refreshToken);
  });

  test('a lost answer is given again, a spent token ends the session', async () => {
    const { refreshToken: first, idToken } = await signUp();
    const { value: one } = await refresh(first);
    const { value: again } = await refresh(first);
    assert.equal(again.refresh_token, one.refresh_token);
    const { value: two } = await refresh(one.refresh_token);
    assert.equal((await refresh(one.refresh_token)).value.refresh_token, two.refresh_token);
    const reused = await refresh(first); // two steps behind: a copy
    assert.deepEqual([reused.status, reused.value.error.message], [400, 'TOKEN_EXPIRED']);
    assert.equal((await refresh(two.refresh_token)).value.error.message, 'TOKEN_EXPIRED');
    assert.equal((await post(`${TOOLKIT}:lookup`, { idToken })).value.error.message, 'TOKEN_EXPIRED'); // its ID tokens too
    assert.equal((await post(`${TOOLKIT}:lookup`, { idToken: two.id_token })).value.error.message, 'TOKEN_EXPIRED');
  });

  test('after the time of grace the last but one ends it too', options, async () => {
    const strict = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--refresh-grace', '0s'] });
    try {
      const at = (path, value) => json(strict.port, 'POST', path, value);
      const exchange = (token) => at('/securetoken.googleapis.com/v1/token', { grant_type: 'refresh_token', refresh_token: token });
      const { value } = await at(`${TOOLKIT}:signUp`, {});
      const { value: next } = await exchange(value.refreshToken);
      assert.equal((await exchange(value.refreshToken)).value.error.message, 'TOKEN_EXPIRED');
      assert.equal((await exchange(next.refresh_token)).value.error.message, 'TOKEN_EXPIRED');
    } finally {
      await strict.close();
    }
  });

  test('what was made up from a session’s id ends nothing', async () => {
    const { refreshToken, idToken } = await signUp();
    const bytes = Buffer.from(refreshToken, 'base64url');
    assert.equal(Buffer.from(claimsOf(idToken).sid, 'base64url').compare(bytes.subarray(0, 16)), 0);
    bytes[20] ^= 1;
    assert.equal((await refresh(bytes.toString('base64url'))).value.error.message, 'INVALID_REFRESH_TOKEN');
    for (const [bad, message] of [['', 'MISSING_REFRESH_TOKEN'], ['x', 'INVALID_REFRESH_TOKEN'], [`${refreshToken}A`, 'INVALID_REFRESH_TOKEN'], ['A'.repeat(64), 'TOKEN_EXPIRED']])
      assert.equal((await refresh(bad)).value.error.message, message);
    assert.equal((await refresh(refreshToken)).status, 200);
  });
});

test('what takes an account over needs a recent sign-in', options, async () => {
  const other = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--id-token', 'none'] }); // so that a test can say when it was
  try {
    const at = async (path, value) => (await json(other.port, 'POST', path, value)).value;
    const { idToken, localId } = await at(`${TOOLKIT}:signUp`, { email: 'old@example.com', password: PASSWORD });
    const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const old = `${encode({ alg: 'none' })}.${encode({ ...claimsOf(idToken), auth_time: claimsOf(idToken).auth_time - 301 })}.`;
    for (const [path, value] of [
      [`${TOOLKIT}:update`, { password: 'another pass 1' }], [`${TOOLKIT}:update`, { email: 'new@example.com' }], [`${TOOLKIT}:update`, { deleteProvider: ['password'] }],
      [`${TOOLKIT}:delete`, {}], [`${TOOLKIT}:signUp`, { email: 'new@example.com', password: PASSWORD }],
      [`${TOOLKIT}:signInWithEmailLink`, { email: 'new@example.com', oobCode: 'A'.repeat(43) }],
      [`${TOOLKIT}:sendOobCode`, { requestType: 'VERIFY_AND_CHANGE_EMAIL', newEmail: 'new@example.com' }],
    ])
      assert.equal((await at(path, { idToken: old, ...value })).error?.message, 'CREDENTIAL_TOO_OLD_LOGIN_AGAIN', path);
    assert.equal((await at(`${TOOLKIT}:update`, { idToken: old, displayName: 'x' })).localId, localId); // this does not
    assert.equal((await at(`${TOOLKIT}:signUp`, { idToken, email: 'new@example.com', password: PASSWORD })).error.message, 'PROVIDER_ALREADY_LINKED');
  } finally {
    await other.close();
  }
});

test('sessions are listed and revoked, by stubs', options, async () => {
  const email = newEmail();
  const first = await users.call('SignUp', { email, password: PASSWORD });
  const second = await users.call('SignInWithPassword', { email, password: PASSWORD });
  const { sessions } = await users.call('ListSessions', { id_token: second.id_token });
  assert.deepEqual(sessions.map((one) => [one.sign_in_provider, one.current ?? false]), [['password', false], ['password', true]]);
  await users.call('RevokeSessions', { id_token: second.id_token, session_id: [sessions[0].session_id] });
  await assert.rejects(users.call('Lookup', { id_token: first.id_token }), (e) => codeName(e.code) === 'INVALID_ARGUMENT' && e.details === 'TOKEN_EXPIRED');
  assert.equal((await users.call('Lookup', { id_token: second.id_token })).users[0].email, email);
  await users.call('RevokeSessions', { id_token: second.id_token, all: true });
  await assert.rejects(users.call('ExchangeToken', { grant_type: 'refresh_token', refresh_token: second.refresh_token }), /TOKEN_EXPIRED/);
});

test('a user has at most 64 sessions: the oldest ends', options, async () => {
  const { localId } = (await post(`${TOOLKIT}:signUp`, {})).value;
  const unsigned = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify({ uid: localId })).toString('base64url')}.`;
  const made = [];
  for (let i = 0; i < 65; i++) made.push((await post(`${TOOLKIT}:signInWithCustomToken`, { token: unsigned })).value);
  assert.equal((await refresh(made[0].refreshToken)).value.error.message, 'TOKEN_EXPIRED');
  assert.equal((await refresh(made[1].refreshToken)).status, 200);
});

describe('administration with firebase-admin', options, () => {
  let admin, adminAuth, app;
  before(async () => {
    if (options.skip) return;
    process.env.FIREBASE_AUTH_EMULATOR_HOST = server.address;
    admin = await import('firebase-admin/app');
    app = admin.initializeApp({ projectId: 'skerry' });
    adminAuth = (await import('firebase-admin/auth')).getAuth(app);
  });
  after(async () => {
    delete process.env.FIREBASE_AUTH_EMULATOR_HOST;
    if (app) await admin.deleteApp(app);
  });

  test('create, get, update, claims, revoke, disable, delete', async () => {
    const email = newEmail();
    const made = await adminAuth.createUser({ uid: 'chosen-id', email, password: PASSWORD, displayName: 'Bob', emailVerified: true });
    assert.deepEqual([made.uid, made.email, made.emailVerified, made.displayName], ['chosen-id', email, true, 'Bob']);
    assert.equal(await codeOf(adminAuth.createUser({ uid: 'chosen-id' })), 'auth/uid-already-exists');
    assert.equal(await codeOf(adminAuth.createUser({ email })), 'auth/email-already-exists');
    assert.equal((await adminAuth.getUserByEmail(email)).uid, 'chosen-id');
    assert.equal(await codeOf(adminAuth.getUser('nobody')), 'auth/user-not-found');

    const { auth } = phone();
    const { user } = await A.signInWithEmailAndPassword(auth, email, PASSWORD);
    await adminAuth.setCustomUserClaims('chosen-id', { role: 'cook', shops: ['a', 'b'] });
    const claims = claimsOf(await user.getIdToken(true));
    assert.deepEqual([claims.role, claims.shops, claims.email_verified], ['cook', ['a', 'b'], true]);
    assert.deepEqual((await adminAuth.getUser('chosen-id')).customClaims, { role: 'cook', shops: ['a', 'b'] });
    assert.equal(await codeOf(adminAuth.setCustomUserClaims('chosen-id', { big: 'x'.repeat(1000) })), 'auth/claims-too-large');
    const reserved = await owner.call('UpdateAccount', { target_project_id: 'skerry', local_id: 'chosen-id', custom_attributes: '{"sub":"root"}' }).catch((e) => e.details);
    assert.match(reserved, /^FORBIDDEN_CLAIM/);

    await adminAuth.updateUser('chosen-id', { disabled: true });
    assert.equal(await codeOf(user.reload()), 'auth/user-disabled');
    assert.equal(await codeOf(A.signInWithEmailAndPassword(phone().auth, email, PASSWORD)), 'auth/user-disabled');
    await adminAuth.updateUser('chosen-id', { disabled: false, displayName: null });
    assert.equal((await adminAuth.getUser('chosen-id')).displayName, undefined);

    const again = phone();
    const { user: last } = await A.signInWithEmailAndPassword(again.auth, email, PASSWORD);
    await new Promise((resolve) => setTimeout(resolve, 1100)); // valid_since counts in seconds
    await adminAuth.revokeRefreshTokens('chosen-id');
    assert.equal(await codeOf(last.getIdToken(true)), 'auth/user-token-expired');
    await adminAuth.deleteUser('chosen-id');
    assert.equal(await codeOf(adminAuth.getUser('chosen-id')), 'auth/user-not-found');
    assert.equal(await codeOf(adminAuth.deleteUser('chosen-id')), 'auth/user-not-found');
  });

  test('custom tokens', async () => {
    const { auth } = phone();
    const token = await adminAuth.createCustomToken('made-by-token', { level: 3 });
    const { user } = await A.signInWithCustomToken(auth, token);
    assert.equal(user.uid, 'made-by-token');
    const claims = claimsOf(await user.getIdToken(true));
    assert.deepEqual([claims.level, claims.firebase.sign_in_provider], [3, 'custom']);
  });

  test('links for mails that the app sends itself', async () => {
    const email = newEmail();
    await adminAuth.createUser({ email, password: PASSWORD });
    const link = await adminAuth.generatePasswordResetLink(email, { url: 'https://app.example/after' });
    const { code, continueUrl } = A.parseActionCodeURL(link);
    assert.equal(continueUrl, 'https://app.example/after');
    assert.equal(await A.verifyPasswordResetCode(phone().auth, code), email);
    assert.equal(await codeOf(adminAuth.generatePasswordResetLink(newEmail())), 'auth/email-not-found');
    await A.applyActionCode(phone().auth, A.parseActionCodeURL(await adminAuth.generateEmailVerificationLink(email)).code);
    assert.ok((await adminAuth.getUserByEmail(email)).emailVerified);
  });

  test('import with hashes of passwords', async () => {
    const { scryptSync, createHmac } = await import('node:crypto');
    const salt = Buffer.from('salt'), key = Buffer.from('signer key'), password = secret('imported pass 1');
    const [one, two, taken] = [newEmail(), newEmail(), newEmail()];
    await adminAuth.createUser({ email: taken });
    const result = await adminAuth.importUsers(
      [
        { uid: 'moved-1', email: one.toUpperCase(), emailVerified: true, displayName: 'Moved', customClaims: { role: 'cook' }, passwordHash: createHmac('sha256', key).update(password).update(salt).digest(), passwordSalt: salt },
        { uid: 'moved-2', email: taken },
        { uid: 'moved-3', email: two, providerData: [{ providerId: 'google.com', uid: 'g1', email: two }] },
        { uid: 'moved-4', email: two },
        { uid: 'moved-5', providerData: [{ providerId: 'google.com', uid: 'g1' }] },
      ],
      { hash: { algorithm: 'HMAC_SHA256', key } },
    );
    assert.deepEqual([result.successCount, result.errors.map((e) => e.index)], [2, [1, 3, 4]]);
    assert.equal((await adminAuth.getUserByProviderUid('google.com', 'g1')).uid, 'moved-3');
    const { user } = await A.signInWithEmailAndPassword(phone().auth, one, password);
    assert.equal(claimsOf(await user.getIdToken()).role, 'cook');
    const stored = (await adminAuth.listUsers(1000)).users.find((u) => u.uid === 'moved-1').passwordHash;
    assert.match(Buffer.from(stored, 'base64').toString(), /^\$scrypt\$ln=14/); // upgraded by the sign-in
    await A.signInWithEmailAndPassword(phone().auth, one, password);

    const standard = newEmail();
    await adminAuth.importUsers([{ uid: 'moved-6', email: standard, passwordHash: scryptSync(password, salt, 32, { N: 1024, r: 8, p: 1 }), passwordSalt: salt }], {
      hash: { algorithm: 'STANDARD_SCRYPT', memoryCost: 1024, parallelization: 1, blockSize: 8, derivedKeyLength: 32 },
    });
    await A.signInWithEmailAndPassword(phone().auth, standard, password);
  });

  test('all accounts, in pages', async () => {
    const wanted = new Set();
    for (let i = 0; i < 5; i++) wanted.add((await adminAuth.createUser({ uid: `listed-${i}` })).uid);
    const seen = [];
    for (let page; ; ) {
      const result = await adminAuth.listUsers(2, page);
      seen.push(...result.users.map((one) => one.uid));
      if (!(page = result.pageToken)) break;
    }
    assert.deepEqual(seen, [...new Set(seen)].sort());
    for (const uid of wanted) assert.ok(seen.includes(uid));
    const result = await adminAuth.deleteUsers([...wanted, 'nobody']);
    assert.deepEqual([result.successCount, result.failureCount], [6, 0]);
    assert.equal((await adminAuth.getUsers([...wanted].map((uid) => ({ uid })))).users.length, 0);
  });
});

describe('mails', options, () => {
  const codes = async () => (await json(server.port, 'GET', '/emulator/v1/projects/skerry/oobCodes')).value.oobCodes;
  const newest = async (email) => (await codes()).filter((one) => one.email === email || one.newEmail === email).at(-1);
  const inApp = { url: 'https://app.example/finish?cart=1', handleCodeInApp: true };

  test('a password is reset, once', async () => {
    const { auth } = phone();
    const email = newEmail();
    const { user } = await A.createUserWithEmailAndPassword(auth, email, PASSWORD);
    await A.sendPasswordResetEmail(phone().auth, email.toUpperCase());
    const { oobCode, oobLink, requestType } = await newest(email);
    assert.equal(requestType, 'PASSWORD_RESET');
    const parsed = A.parseActionCodeURL(oobLink);
    assert.deepEqual([parsed.code, parsed.operation], [oobCode, 'PASSWORD_RESET']);
    assert.equal(await A.verifyPasswordResetCode(auth, oobCode), email);
    assert.equal(await codeOf(A.confirmPasswordReset(auth, oobCode, 'short')), 'auth/weak-password');
    const next = secret('a third horse 9');
    await A.confirmPasswordReset(auth, oobCode, next);
    for (const again of [() => A.confirmPasswordReset(auth, oobCode, next), () => A.checkActionCode(auth, oobCode), () => A.applyActionCode(auth, oobCode)])
      assert.equal(await codeOf(again()), 'auth/invalid-action-code');
    assert.equal(await codeOf(user.getIdToken(true)), 'auth/user-token-expired');
    assert.equal(await codeOf(A.signInWithEmailAndPassword(phone().auth, email, PASSWORD)), 'auth/invalid-credential');
    const { user: back } = await A.signInWithEmailAndPassword(phone().auth, email, next);
    assert.ok(back.emailVerified); // who resets it has the mail
  });

  test('an unknown address gets the same answer and no mail', async () => {
    const known = newEmail(), unknown = newEmail();
    await A.createUserWithEmailAndPassword(phone().auth, known, PASSWORD);
    const ask = (email) => post(`${TOOLKIT}:sendOobCode`, { requestType: 'PASSWORD_RESET', email });
    const [a, b] = [await ask(known), await ask(unknown)];
    assert.deepEqual([a.status, Object.keys(a.value)], [200, Object.keys(b.value)]);
    assert.equal(b.status, 200);
    assert.ok(await newest(known));
    assert.equal(await newest(unknown), undefined);
    assert.deepEqual(await A.fetchSignInMethodsForEmail(phone().auth, known), []);
  });

  test('an address is verified, and changed', async () => {
    const { auth } = phone();
    const email = newEmail(), next = newEmail();
    const { user } = await A.createUserWithEmailAndPassword(auth, email, PASSWORD);
    await A.sendEmailVerification(user);
    await A.applyActionCode(auth, (await newest(email)).oobCode);
    await user.reload();
    assert.ok(user.emailVerified);
    assert.equal(claimsOf(await user.getIdToken(true)).email_verified, true);
    await A.verifyBeforeUpdateEmail(user, next);
    const { oobCode, requestType } = await newest(next);
    assert.equal(requestType, 'VERIFY_AND_CHANGE_EMAIL');
    const info = await A.checkActionCode(auth, oobCode);
    assert.deepEqual([info.operation, info.data.email, info.data.previousEmail], ['VERIFY_AND_CHANGE_EMAIL', next, email]);
    await A.applyActionCode(auth, oobCode);
    const { user: back } = await A.signInWithEmailAndPassword(phone().auth, next, PASSWORD);
    assert.deepEqual([back.uid, back.emailVerified], [user.uid, true]);
    assert.equal(await codeOf(A.applyActionCode(auth, oobCode)), 'auth/invalid-action-code');
    const recovery = (await codes()).filter((one) => one.requestType === 'RECOVER_EMAIL').at(-1); // the old address hears of it
    assert.equal(recovery.email, email);
    await A.applyActionCode(auth, recovery.oobCode);
    assert.equal((await A.signInWithEmailAndPassword(phone().auth, email, PASSWORD)).user.uid, user.uid);
    assert.equal(await codeOf(back.getIdToken(true)), 'auth/user-token-expired');
  });

  test('signing in by a link, as a new user, again, and to link an address', async () => {
    const { auth } = phone();
    const email = newEmail();
    const link = async (to) => (await A.sendSignInLinkToEmail(auth, to, inApp), (await newest(to)).oobLink);
    const first = await link(email);
    assert.ok(first.startsWith('https://app.example/finish?cart=1&mode=signIn&'));
    assert.ok(A.isSignInWithEmailLink(auth, first));
    assert.equal(await codeOf(A.signInWithEmailLink(auth, newEmail(), first)), 'auth/invalid-email');
    const { user } = await A.signInWithEmailLink(auth, email, first);
    assert.deepEqual([user.email, user.emailVerified, user.isAnonymous], [email, true, false]);
    assert.equal(await codeOf(A.signInWithEmailLink(phone().auth, email, first)), 'auth/invalid-action-code');
    assert.equal((await A.signInWithEmailLink(phone().auth, email, await link(email))).user.uid, user.uid);

    const other = newEmail();
    const anonymous = phone();
    const { user: guest } = await A.signInAnonymously(anonymous.auth);
    const linked = await A.linkWithCredential(guest, A.EmailAuthProvider.credentialWithLink(other, await link(other)));
    assert.deepEqual([linked.user.uid, linked.user.email], [guest.uid, other]);
    const taken = await link(email);
    assert.equal(await codeOf(A.linkWithCredential((await A.signInAnonymously(phone().auth)).user, A.EmailAuthProvider.credentialWithLink(email, taken))), 'auth/email-already-in-use');
  });

  test('who has the mail takes over from who never showed that it is his', async () => {
    const email = newEmail();
    const squatter = phone();
    const { user } = await A.createUserWithEmailAndPassword(squatter.auth, email, PASSWORD);
    await A.sendSignInLinkToEmail(phone().auth, email, inApp);
    const owner = await A.signInWithEmailLink(phone().auth, email, (await newest(email)).oobLink);
    assert.equal(owner.user.uid, user.uid);
    assert.equal(await codeOf(user.getIdToken(true)), 'auth/user-token-expired');
    assert.equal(await codeOf(A.signInWithEmailAndPassword(phone().auth, email, PASSWORD)), 'auth/invalid-credential');
  });

  test('mails to one address are limited, and only the last codes are good', async () => {
    const { auth } = phone();
    const email = newEmail();
    await A.createUserWithEmailAndPassword(auth, email, PASSWORD);
    const seen = new Set();
    for (let i = 0; i < 16; i++) seen.add(await codeOf(A.sendPasswordResetEmail(auth, email)));
    assert.deepEqual([...seen], ['nothing', 'auth/too-many-requests']);
    const mine = (await codes()).filter((one) => one.email === email);
    assert.ok(mine.length > 8);
    assert.equal(await codeOf(A.checkActionCode(auth, mine[0].oobCode)), 'auth/invalid-action-code');
    await A.checkActionCode(auth, mine.at(-1).oobCode);
    await A.deleteUser(auth.currentUser);
    assert.equal(await codeOf(A.checkActionCode(auth, mine.at(-1).oobCode)), 'auth/invalid-action-code'); // goes with the account
  });
});

test('administration is not for users', options, async () => {
  const { idToken } = (await post(`${TOOLKIT}:signUp`, {})).value;
  const path = '/identitytoolkit.googleapis.com/v1/projects/skerry/accounts:batchGet';
  for (const [headers, status] of [[{}, 401], [{ authorization: `Bearer ${idToken}` }, 403], [{ authorization: 'Bearer owner' }, 200]])
    assert.equal((await json(server.port, 'GET', path, undefined, { headers })).status, status, JSON.stringify(headers));
});

test('a server of its own name says where its keys are', options, async () => {
  const other = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--identity-issuer', 'https://box.example', '--id-token', 'rs256'] });
  try {
    assert.equal((await json(server.port, 'GET', '/.well-known/openid-configuration')).status, 400);
    const { value: where } = await json(other.port, 'GET', '/.well-known/openid-configuration');
    assert.deepEqual([where.issuer, where.jwks_uri, where.id_token_signing_alg_values_supported], ['https://box.example', 'https://box.example/.well-known/jwks.json', ['RS256']]);
    const { value } = await json(other.port, 'POST', `${TOOLKIT}:signUp`, {});
    assert.equal(claimsOf(value.idToken).iss, 'https://box.example');
    const { kid } = JSON.parse(Buffer.from(value.idToken.split('.')[0], 'base64url').toString());
    const { value: set } = await json(other.port, 'GET', '/.well-known/jwks.json');
    assert.deepEqual(set.keys.map((key) => [key.kid, key.kty]), [[kid, 'RSA']]);
    assert.equal((await json(other.port, 'POST', `${TOOLKIT}:lookup`, { idToken: value.idToken })).status, 200);
  } finally {
    await other.close();
  }
});

test('unsigned tokens, as the emulator’s: firebase-admin verifies them', options, async () => {
  const other = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--id-token', 'none'] });
  process.env.FIREBASE_AUTH_EMULATOR_HOST = other.address;
  const admin = await import('firebase-admin/app');
  const app = admin.initializeApp({ projectId: 'skerry' }, 'verifier');
  try {
    const { value } = await json(other.port, 'POST', `${TOOLKIT}:signUp`, {});
    assert.equal((await (await import('firebase-admin/auth')).getAuth(app).verifyIdToken(value.idToken, true)).uid, value.localId);
    assert.equal((await json(other.port, 'POST', `${TOOLKIT}:lookup`, { idToken: value.idToken })).status, 200);
  } finally {
    delete process.env.FIREBASE_AUTH_EMULATOR_HOST;
    await admin.deleteApp(app);
    await other.close();
  }
});

test('the emulator’s way to empty a project', options, async () => {
  const other = await startServer();
  try {
    const { value } = await json(other.port, 'POST', `${TOOLKIT}:signUp`, {});
    assert.equal((await json(other.port, 'DELETE', '/emulator/v1/projects/skerry/accounts')).status, 200);
    assert.equal((await json(other.port, 'POST', `${TOOLKIT}:lookup`, { idToken: value.idToken })).value.error.message, 'USER_NOT_FOUND');
  } finally {
    await other.close();
  }
});

test('backups have accounts, and the key that they need', options, async () => {
  const data = fs.mkdtempSync('/tmp/skerry-accounts-'), media = `${data}-media`, copy = `${data}-copy`;
  let box = await startServer({ dataDir: data });
  try {
    const at = async (path, value) => (await json(box.port, 'POST', path, value)).value;
    const { idToken, refreshToken, localId } = await at(`${TOOLKIT}:signUp`, { email: 'kept@example.com', password: PASSWORD });
    assert.equal(runSkerry(['backup', media, '--data', data]).code, 0);
    await box.close();
    assert.equal(runSkerry(['restore', media, '--data', copy]).code, 0);
    box = await startServer({ dataDir: copy });
    assert.equal((await at(`${TOOLKIT}:lookup`, { idToken })).users[0].localId, localId);
    assert.equal((await at('/securetoken.googleapis.com/v1/token', { grant_type: 'refresh_token', refresh_token: refreshToken })).user_id, localId);
    assert.equal((await at(`${TOOLKIT}:signInWithPassword`, { email: 'kept@example.com', password: PASSWORD })).localId, localId);
  } finally {
    await box.close();
    for (const one of [data, media, copy]) fs.rmSync(one, { recursive: true, force: true });
  }
});

test('closed to new users', options, async () => {
  const other = await startServer({ args: ['--dev', '--listen', '127.0.0.1:0', '--sign-up', 'closed'] });
  try {
    const at = async (path, value, headers) => (await json(other.port, 'POST', path, value, { headers })).value;
    for (const value of [{}, { email: newEmail(), password: PASSWORD }]) assert.match((await at(`${TOOLKIT}:signUp`, value)).error.message, /^ADMIN_ONLY_OPERATION/);
    const email = newEmail();
    assert.equal((await at(`${TOOLKIT}:sendOobCode`, { requestType: 'EMAIL_SIGNIN', email })).email, email);
    assert.deepEqual((await json(other.port, 'GET', '/emulator/v1/projects/skerry/oobCodes')).value.oobCodes, []);
    assert.ok((await at('/identitytoolkit.googleapis.com/v1/projects/skerry/accounts', { email, password: PASSWORD }, { authorization: 'Bearer owner' })).localId);
    assert.ok((await at(`${TOOLKIT}:signInWithPassword`, { email, password: PASSWORD })).idToken);
  } finally {
    await other.close();
  }
});

test('attempts are limited, whoever makes them', options, async () => {
  const other = await startServer();
  try {
    const email = newEmail();
    const at = async (path, value) => (await json(other.port, 'POST', path, value)).value;
    await at(`${TOOLKIT}:signUp`, { email, password: PASSWORD });
    const seen = new Set();
    for (let i = 0; i < 16; i++) seen.add((await at(`${TOOLKIT}:signInWithPassword`, { email, password: `guess number ${i}` })).error.message.split(' : ')[0]);
    assert.deepEqual([...seen], ['INVALID_LOGIN_CREDENTIALS', 'TOO_MANY_ATTEMPTS_TRY_LATER']);
  } finally {
    await other.close();
  }
});

test('limits outlive a kill, of many accounts at once; a mail lets the owner in', options, async () => {
  const data = fs.mkdtempSync('/tmp/skerry-accounts-'), FREE = 10, GUESSES = 8;
  let box = await startServer({ dataDir: data });
  const at = async (path, value) => (await json(box.port, 'POST', path, value)).value;
  const guess = async (email) => (await at(`${TOOLKIT}:signInWithPassword`, { email, password: 'a wrong guess' })).error.message.split(' : ')[0];
  try {
    const emails = Array.from({ length: 5 }, newEmail);
    for (const email of emails) await at(`${TOOLKIT}:signUp`, { email, password: PASSWORD });
    await Promise.all(emails.map(async (email) => {
      for (let i = 0; (await guess(email)) !== 'TOO_MANY_ATTEMPTS_TRY_LATER'; i++) assert.ok(i < 2 * FREE);
    }));
    await box.kill();
    box = await startServer({ dataDir: data });
    for (const email of emails) { // who were forgotten would have their free ones again; waits of 1, 2, 4, ... s let few through
      let passed = 0;
      for (let i = 0; i < GUESSES; i++) passed += (await guess(email)) === 'INVALID_LOGIN_CREDENTIALS';
      assert.ok(passed < GUESSES, `${passed} of ${GUESSES}`);
    }
    const [owner] = emails, next = secret('the owner horse 9');
    await at(`${TOOLKIT}:sendOobCode`, { requestType: 'PASSWORD_RESET', email: owner, continueUrl: 'http://localhost/' });
    const { oobCodes } = (await json(box.port, 'GET', '/emulator/v1/projects/skerry/oobCodes')).value;
    await at(`${TOOLKIT}:resetPassword`, { oobCode: oobCodes.at(-1).oobCode, newPassword: next });
    assert.ok((await at(`${TOOLKIT}:signInWithPassword`, { email: owner, password: next })).idToken);
  } finally {
    await box.close();
    fs.rmSync(data, { recursive: true, force: true });
  }
});

test('a kill leaves all of a change or nothing: records and what finds them agree', options, async () => {
  const data = fs.mkdtempSync('/tmp/skerry-accounts-');
  let box = await startServer({ dataDir: data });
  const headers = { authorization: 'Bearer owner' };
  const path = '/identitytoolkit.googleapis.com/v1/projects/skerry/accounts';
  const at = async (rest, value) => {
    const answer = await json(box.port, rest === ':batchGet' ? 'GET' : 'POST', path + rest, value, { headers });
    assert.equal(answer.status, 200, JSON.stringify(answer.value));
    return answer.value;
  };
  try {
    const said = new Map(); // address by uid, as acknowledged
    let made = 0;
    for (let round = 0; round < 3; round++) {
      const change = async (n) => {
        for (;;) {
          try {
            const uid = `k${n}-${++made}`, email = (i) => `${uid}-${i}@example.com`;
            await at('', { localId: uid, email: email(0) });
            said.set(uid, [email(0), email(1)]); // or, if the next is not acknowledged, the one after it
            await at(':update', { localId: uid, email: email(1), displayName: 'x', customAttributes: '{"a":1}' });
            said.set(uid, [email(1)]);
            await at(':sendOobCode', { requestType: 'PASSWORD_RESET', email: email(1), returnOobLink: true });
            await at(':batchCreate', { users: [{ localId: `${uid}-i`, email: email(2), providerUserInfo: [{ providerId: 'oidc.x', rawId: uid }] }] });
            said.set(`${uid}-i`, [email(2)]);
            if (n > 0) continue;
            said.set(uid, [email(1), undefined]);
            await at(':delete', { localId: uid });
            said.set(uid, [undefined]);
          } catch (error) {
            if (error.code === 'ERR_ASSERTION') throw error;
            return; // the server is gone
          }
        }
      };
      const workers = [0, 1, 2, 3].map(change);
      await new Promise((resolve) => setTimeout(resolve, 300));
      await box.kill();
      await Promise.all(workers);
      box = await startServer({ dataDir: data });
      const { users = [] } = await at(':batchGet');
      const found = new Map(users.map((one) => [one.localId, one.email]));
      for (const [uid, allowed] of said) assert.ok(allowed.includes(found.get(uid)), `${uid}: ${found.get(uid)} is none of ${allowed}`);
      for (const [uid, email] of found) {
        assert.equal((await at(':lookup', { email: [email] })).users[0].localId, uid);
        if (uid.endsWith('-i')) assert.equal((await at(':lookup', { federatedUserId: [{ providerId: 'oidc.x', rawId: uid.slice(0, -2) }] })).users[0].localId, uid);
      }
      for (const [uid, allowed] of said) // what was given up is free
        for (const email of [0, 1].map((i) => `${uid}-${i}@example.com`)) if (found.get(uid) !== email && !uid.endsWith('-i')) assert.equal((await at(':lookup', { email: [email] })).users, undefined, `${email} of ${allowed}`);
    }
    assert.ok(said.size > 10, `${said.size}`);
  } finally {
    await box.close();
    fs.rmSync(data, { recursive: true, force: true });
  }
});

test('a kill loses nothing that was acknowledged', options, async () => {
  const data = fs.mkdtempSync('/tmp/skerry-accounts-');
  let box = await startServer({ dataDir: data });
  try {
    const known = new Map(); // refresh token by uid
    for (let round = 0; round < 3; round++) {
      let going = true;
      const worker = async (n) => {
        while (going) {
          try {
            const { value } = await json(box.port, 'POST', `${TOOLKIT}:signUp`, {});
            known.set(value.localId, [value.refreshToken]);
            const { value: next } = await json(box.port, 'POST', '/securetoken.googleapis.com/v1/token', { grant_type: 'refresh_token', refresh_token: value.refreshToken });
            known.set(value.localId, [next.refresh_token]);
            if (n === 0) {
              known.delete(value.localId); // being deleted: either way
              await json(box.port, 'POST', `${TOOLKIT}:delete`, { idToken: next.id_token });
              known.set(value.localId, null);
            }
          } catch {
            return; // the server is gone
          }
        }
      };
      const workers = [0, 1, 2, 3].map(worker);
      await new Promise((resolve) => setTimeout(resolve, 300));
      await box.kill();
      going = false;
      await Promise.all(workers);
      box = await startServer({ dataDir: data });
      for (const [uid, tokens] of known) {
        const { value } = await json(box.port, 'POST', '/identitytoolkit.googleapis.com/v1/projects/skerry/accounts:lookup', { localId: [uid] }, { headers: { authorization: 'Bearer owner' } });
        assert.equal(value.users?.length ?? 0, tokens === null ? 0 : 1, uid);
        if (tokens === null) continue;
        const { value: next } = await json(box.port, 'POST', '/securetoken.googleapis.com/v1/token', { grant_type: 'refresh_token', refresh_token: tokens[0] });
        assert.equal(next.user_id, uid, JSON.stringify(next));
        known.set(uid, [next.refresh_token]);
      }
    }
    assert.ok(known.size > 20, `${known.size}`);
  } finally {
    await box.close();
    fs.rmSync(data, { recursive: true, force: true });
  }
});

test('a crowd that signs in at once is served or refused, in bounded memory', options, async () => {
  const other = await startServer();
  try {
    const at = (path, value) => json(other.port, 'POST', path, value);
    const answers = await Promise.all(Array.from({ length: 400 }, (_, i) => at(`${TOOLKIT}:signInWithPassword`, { email: `crowd${i}@example.com`, password: 'whatever' })));
    const codes = new Set(answers.map((one) => `${one.status} ${one.value.error.message.split(' : ')[0]}`));
    for (const seen of codes) assert.match(seen, /^(400 INVALID_LOGIN_CREDENTIALS|429 .*)$/);
    assert.ok(codes.has('400 INVALID_LOGIN_CREDENTIALS'));
    if (!other.isInstrumented) assert.ok(other.residentBytes() < 150 << 20);
    assert.equal((await at(`${TOOLKIT}:signUp`, {})).status, 200);
  } finally {
    await other.close();
  }
});
