// Accounts in production: over TLS, under security rules, with Firestore's SDKs, stubs, and keys of service accounts.
import { Box, cleanUp, db, skip } from './support/access.mjs'; // first
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import { after, before, test } from 'node:test';
import { accountServices, auth as A, claimsOf, closeApps, codeOf, signInApp, totp, trustForHttp } from './support/accounts.mjs';
import { json } from './support/http.mjs';
import { grpc, sdk as fs } from './support/packages.mjs';
import { Rpc, code, fails, value as v } from './support/rpc.mjs';
import { until } from './support/wait.mjs';

const RULES = `rules_version = '2';
service cloud.firestore {
  match /databases/{database}/documents {
    match /mine/{uid} { allow read, write: if request.auth.uid == uid; }
    match /cooks/{id} { allow read: if request.auth.token.role == 'cook'; }
    match /known/{id} { allow read: if request.auth.token.firebase.sign_in_provider == 'password' && request.auth.token.email == 'ann@example.com'; }
  }
}`;
const PASSWORD = 'correct horse 7';
const TOOLKIT = '/identitytoolkit.googleapis.com/v1/accounts';

let box, url, ca;
before(async () => {
  if (skip) return;
  box = await Box.open(RULES, { args: ['--accounts', 'on'], provider: 'oidc.works' });
  ca = box.authority.cert;
  trustForHttp(ca);
  url = `https://localhost:${box.server.port}`;
  box.secrets.push(PASSWORD);
});
after(async () => {
  await closeApps();
  await box?.close();
  cleanUp();
});
const options = { skip };
const post = (path, value, headers = {}) => json(box.server.port, 'POST', path, value, { ca, headers });
const stub = (service, authorization = null) => {
  const rpc = new Rpc(`localhost:${box.server.port}`, accountServices()[service], { credentials: grpc.credentials.createSsl(), authorization });
  box.clients.push(() => rpc.close());
  return rpc;
};
function phone() {
  const { app, auth } = signInApp(url);
  return { auth, db: fs.initializeFirestore(app, { host: `localhost:${box.server.port}`, ssl: true }) };
}
/** What a link in a mail does. */
async function setVerified(local_id) {
  const { JWT } = await import('google-auth-library');
  const key = box.key('owner', 'verifier');
  const headers = await new JWT({ email: key.client_email, key: key.private_key, keyId: key.private_key_id }).getRequestHeaders('https://localhost/skerry.identity.v1.AccountAdmin');
  await stub('AccountAdmin', headers.get('authorization')).call('UpdateAccount', { target_project_id: 'shop', local_id, email_verified: true });
}
const get = (rpc, name) => rpc.call('GetDocument', { name: db.doc(name) });

test('rules see who signed in, and who is gone', options, async () => {
  const { auth, db: mine } = phone();
  const { user } = await A.createUserWithEmailAndPassword(auth, 'ann@example.com', PASSWORD);
  await fs.setDoc(fs.doc(mine, 'mine', user.uid), { n: 1 });
  assert.equal((await fs.getDoc(fs.doc(mine, 'mine', user.uid))).data().n, 1);
  assert.equal((await fs.getDoc(fs.doc(mine, 'known', 'x'))).exists(), false);
  assert.equal(await codeOf(fs.getDoc(fs.doc(mine, 'mine', 'somebody-else'))), 'permission-denied');
  assert.equal(await codeOf(fs.getDoc(fs.doc(mine, 'cooks', 'x'))), 'permission-denied');

  const seen = [], errors = [];
  const stop = fs.onSnapshot(fs.doc(mine, 'mine', user.uid), (one) => seen.push(one.data()), (error) => errors.push(error.code));
  await until(() => seen.length > 0, 'a snapshot');
  const token = await user.getIdToken();
  const raw = box.raw(`Bearer ${token}`);
  await get(raw, `mine/${user.uid}`);
  const rest = await json(box.server.port, 'GET', `/v1/projects/shop/databases/(default)/documents/mine/${user.uid}`, undefined, { ca, headers: { authorization: `Bearer ${token}` } });
  assert.equal(rest.status, 200);
  await A.deleteUser(user);
  await fails(get(raw, `mine/${user.uid}`), code.UNAUTHENTICATED); // at once, though the token has an hour to live
  stop();
});

test('custom tokens of a service account, and its claims in rules', options, async () => {
  const key = box.key('owner', 'minter');
  const admin = await import('firebase-admin/app');
  const app = admin.initializeApp({ credential: admin.cert(key), projectId: 'shop' }, 'minter');
  try {
    const minter = (await import('firebase-admin/auth')).getAuth(app);
    const { auth, db: mine } = phone();
    await A.signInWithCustomToken(auth, await minter.createCustomToken('till-7', { role: 'cook' }));
    assert.equal(auth.currentUser.uid, 'till-7');
    assert.equal((await fs.getDoc(fs.doc(mine, 'cooks', 'x'))).exists(), false);
    await auth.currentUser.getIdToken(true);
    assert.equal((await fs.getDoc(fs.doc(mine, 'cooks', 'x'))).exists(), false); // claims outlive refreshes
  } finally {
    await admin.deleteApp(app);
  }
});

test('custom tokens that are refused', options, async () => {
  const now = Math.floor(Date.now() / 1000);
  const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const key = box.key('owner', 'signer'), editor = box.key('editor', 'writer');
  const AUDIENCE = 'https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit';
  const make = (of, claims = {}, header = {}) => {
    const input = `${encode({ alg: 'RS256', typ: 'JWT', ...header })}.${encode({ iss: of.client_email, sub: of.client_email, aud: AUDIENCE, iat: now, exp: now + 3600, uid: 'u', ...claims })}`;
    return `${input}.${crypto.sign('sha256', Buffer.from(input), of.private_key).toString('base64url')}`;
  };
  const answer = async (token) => {
    const { value } = await post(`${TOOLKIT}:signInWithCustomToken`, { token });
    return value.error?.message.split(' : ')[0] ?? 'OK';
  };
  assert.equal(await answer(make(key)), 'OK');
  const other = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  for (const [token, wanted] of [
    [make(editor), 'CREDENTIAL_MISMATCH'],
    [make({ ...key, private_key: other }), 'INVALID_CUSTOM_TOKEN'],
    [make({ ...key, client_email: 'x@shop.iam.skerry.local' }), 'CREDENTIAL_MISMATCH'],
    [make(key, { aud: 'https://firestore.googleapis.com/' }), 'INVALID_CUSTOM_TOKEN'],
    [make(key, { exp: now - 120, iat: now - 3600 }), 'INVALID_CUSTOM_TOKEN'],
    [make(key, { exp: now + 7200 }), 'INVALID_CUSTOM_TOKEN'],
    [make(key, { exp: undefined }), 'INVALID_CUSTOM_TOKEN'],
    [make(key, { uid: '' }), 'INVALID_CUSTOM_TOKEN'],
    [make(key, { uid: 'x'.repeat(129) }), 'INVALID_CUSTOM_TOKEN'],
    [make(key, { uid: 7 }), 'INVALID_CUSTOM_TOKEN'],
    [make(key, { claims: { sub: 'root' } }), 'FORBIDDEN_CLAIM'],
    [make(key, { claims: { big: 'x'.repeat(1000) } }), 'CLAIMS_TOO_LARGE'],
    [make(key, { claims: [1] }), 'INVALID_CUSTOM_TOKEN'],
    [`${encode({ alg: 'none' })}.${encode({ uid: 'u' })}.`, 'INVALID_CUSTOM_TOKEN'],
    ['a.b.c', 'INVALID_CUSTOM_TOKEN'],
  ])
    assert.equal(await answer(token), wanted, token.slice(0, 20));
  assert.equal(box.run('key', 'revoke', key.private_key_id).code, 0);
  assert.equal(await answer(make(key)), 'CREDENTIAL_MISMATCH');
});

test('administration by stubs, for owners of the project alone', options, async () => {
  const { JWT } = await import('google-auth-library');
  const bearer = async (key, audience = 'https://localhost/skerry.identity.v1.AccountAdmin') =>
    (await new JWT({ email: key.client_email, key: key.private_key, keyId: key.private_key_id }).getRequestHeaders(audience)).get('authorization');
  const owner = stub('AccountAdmin', await bearer(box.key('owner', 'boss')));
  const { local_id } = await owner.call('CreateAccount', { target_project_id: 'shop', email: 'Bob@Example.com', password: PASSWORD });
  const users = stub('Accounts');
  const signedIn = await users.call('SignInWithPassword', { email: 'bob@example.com', password: PASSWORD });
  assert.equal(signedIn.local_id, local_id);
  const raw = box.raw(`Bearer ${signedIn.id_token}`);
  await fails(get(raw, `mine/${local_id}`), code.NOT_FOUND);
  await owner.call('UpdateAccount', { target_project_id: 'shop', local_id, disable_user: true });
  await fails(get(raw, `mine/${local_id}`), code.UNAUTHENTICATED);
  await fails(users.call('ExchangeToken', { grant_type: 'refresh_token', refresh_token: signedIn.refresh_token }), code.PERMISSION_DENIED, /USER_DISABLED/);
  for (const [authorization, wanted] of [
    [null, code.UNAUTHENTICATED],
    ['Bearer owner', code.UNAUTHENTICATED],
    [await bearer(box.key('editor', 'hand')), code.PERMISSION_DENIED],
    [await bearer(box.key('owner', 'stranger', 'other')), code.PERMISSION_DENIED],
    [`Bearer ${box.token('alice')}`, code.PERMISSION_DENIED],
  ])
    await fails(stub('AccountAdmin', authorization).call('ListAccounts', { target_project_id: 'shop' }), wanted);
});

test('tokens of another project, another key, another time', options, async () => {
  const users = stub('Accounts');
  const { id_token: good } = await users.call('SignUp', {});
  await users.call('Lookup', { id_token: good });
  const [header, payload, signature] = good.split('.');
  const forge = (change) => `${header}.${Buffer.from(JSON.stringify({ ...claimsOf(good), ...change })).toString('base64url')}.${signature}`;
  for (const bad of [forge({}), forge({ sub: 'root' }), `${header}.${payload}.${signature.slice(0, -2)}AA`, `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`])
    if (bad !== good) {
      await fails(users.call('Lookup', { id_token: bad }), code.INVALID_ARGUMENT, /INVALID_ID_TOKEN/);
      await fails(get(box.raw(`Bearer ${bad}`), 'mine/x'), code.UNAUTHENTICATED);
    }
  await fails(users.call('SignUp', { target_project_id: 'unknown' }), code.INVALID_ARGUMENT, /INVALID_PROJECT_ID/);
  const { id_token: elsewhere } = await users.call('SignUp', { target_project_id: 'other' });
  assert.equal(claimsOf(elsewhere).aud, 'other');
  await fails(get(box.raw(`Bearer ${elsewhere}`), 'mine/x'), code.PERMISSION_DENIED); // of this project
});

test('keys are published, and sign what apps get', options, async () => {
  const { value: set } = await json(box.server.port, 'GET', '/.well-known/jwks.json', undefined, { ca });
  const { value } = await post(`${TOOLKIT}:signUp`, {});
  const [header, payload, signature] = value.idToken.split('.');
  const { kid, alg } = JSON.parse(Buffer.from(header, 'base64url').toString());
  const jwk = set.keys.find((key) => key.kid === kid);
  assert.equal(alg, 'ES256');
  const key = crypto.createPublicKey({ key: jwk, format: 'jwk' });
  assert.ok(crypto.verify('sha256', Buffer.from(`${header}.${payload}`), { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url')));
});

test('a second factor: enrolment, sign-in, a code once, recovery, withdrawal', options, async () => {
  const email = 'factor@example.com';
  const { auth } = phone();
  const { user } = await A.createUserWithEmailAndPassword(auth, email, PASSWORD);
  assert.equal(await codeOf(A.multiFactor(user).getSession().then((session) => A.TotpMultiFactorGenerator.generateSecret(session))), 'auth/unverified-email');
  await setVerified(user.uid);
  const elsewhere = phone();
  await A.signInWithEmailAndPassword(elsewhere.auth, email, PASSWORD);
  const enrol = async () => A.TotpMultiFactorGenerator.generateSecret(await A.multiFactor(user).getSession());
  const secret = await enrol();
  assert.deepEqual([secret.codeLength, secret.codeIntervalSeconds, secret.hashingAlgorithm], [6, 30, 'SHA1']);
  box.secrets.push(secret.secretKey);
  const wrong = A.TotpMultiFactorGenerator.assertionForEnrollment(secret, '000000');
  if (totp(secret.secretKey) !== '000000') assert.equal(await codeOf(A.multiFactor(user).enroll(wrong, 'phone')), 'auth/invalid-verification-code');
  const enrolled = totp(secret.secretKey);
  await A.multiFactor(user).enroll(A.TotpMultiFactorGenerator.assertionForEnrollment(secret, enrolled), 'my phone');
  assert.deepEqual(A.multiFactor(user).enrolledFactors.map((one) => [one.displayName, one.factorId]), [['my phone', 'totp']]);
  assert.equal(claimsOf(await user.getIdToken()).firebase.sign_in_second_factor, 'totp');
  assert.equal(await codeOf(elsewhere.auth.currentUser.getIdToken(true)), 'auth/user-token-expired'); // it has shown none
  assert.equal(await codeOf(enrol()), 'auth/second-factor-already-in-use');

  const half = async (password = PASSWORD) => {
    const error = await A.signInWithEmailAndPassword(phone().auth, email, password).then(() => null, (e) => e);
    assert.equal(error.code, 'auth/multi-factor-auth-required');
    return A.getMultiFactorResolver(auth, error);
  };
  const finish = (resolver, code) => resolver.resolveSignIn(A.TotpMultiFactorGenerator.assertionForSignIn(resolver.hints[0].uid, code));
  assert.equal(await codeOf(finish(await half(), enrolled)), 'auth/invalid-verification-code'); // used by the enrolment
  const next = totp(secret.secretKey, 1);
  const { user: back } = await finish(await half(), next);
  assert.equal(back.uid, user.uid);
  assert.equal(claimsOf(await back.getIdToken(true)).firebase.sign_in_second_factor, 'totp'); // outlives a refresh
  assert.equal(await codeOf(finish(await half(), next)), 'auth/invalid-verification-code');

  await A.multiFactor(back).unenroll(A.multiFactor(back).enrolledFactors[0]);
  await A.signInWithEmailAndPassword(phone().auth, email, PASSWORD);
});

test('recovery codes, and what a pending credential is not good for', options, async () => {
  const users = stub('Accounts');
  const email = 'recover@example.com';
  const { id_token, local_id } = await users.call('SignUp', { email, password: PASSWORD });
  await setVerified(local_id);
  const { totp_session_info: info } = await users.call('StartMfaEnrollment', { id_token, totp_enrollment_info: {} });
  const done = await users.call('FinalizeMfaEnrollment', { id_token, totp_verification_info: { session_info: info.session_info, verification_code: totp(info.shared_secret_key) } });
  assert.equal(new Set(done.recovery_codes).size, 10);
  box.secrets.push(...done.recovery_codes, info.shared_secret_key);
  const half = async (password = PASSWORD) => (await users.call('SignInWithPassword', { email, password })).mfa_pending_credential;
  const finish = (pending, recovery_code) => users.call('FinalizeMfaSignIn', { mfa_pending_credential: pending, recovery_code });
  const pending = await half();
  assert.equal((await finish(pending, done.recovery_codes[3].toLowerCase())).recovery_codes, 9);
  await fails(finish(pending, done.recovery_codes[3]), code.INVALID_ARGUMENT, /INVALID_CODE/);
  await fails(finish(`${pending.slice(0, -3)}AAA`, done.recovery_codes[4]), code.INVALID_ARGUMENT, /INVALID_MFA_PENDING_CREDENTIAL/);
  await fails(finish(info.session_info, done.recovery_codes[4]), code.INVALID_ARGUMENT, /INVALID_MFA_PENDING_CREDENTIAL/);
  const { id_token: now } = await finish(await half(), done.recovery_codes[5]);
  await users.call('Update', { id_token: now, password: 'a new horse 99' });
  await fails(finish(pending, done.recovery_codes[4]), code.INVALID_ARGUMENT, /INVALID_MFA_PENDING_CREDENTIAL/); // of another password
  assert.equal((await finish(await half('a new horse 99'), done.recovery_codes[4])).recovery_codes, 7);
  const guesses = [];
  const last = await half('a new horse 99');
  for (let i = 0; i < 14; i++) guesses.push(await finish(last, 'AAAA-BBBB-CCCC-DDDD').then(() => 'OK', (e) => e.details.split(' : ')[0]));
  assert.equal(guesses[0], 'INVALID_CODE');
  assert.equal(guesses.at(-1), 'TOO_MANY_ATTEMPTS_TRY_LATER');
});

test('signing in with tokens of a provider', options, async () => {
  const credential = (claims, nonce) => new A.OAuthProvider('oidc.works').credential({ idToken: box.provider.token(claims), rawNonce: nonce });
  const enter = async (claims, nonce) => (await A.signInWithCredential(phone().auth, credential(claims, nonce))).user;
  await until(() => box.status().includes(`${box.provider.url}: 1 keys`), 'the keys of the provider');

  const first = await enter({ sub: 'w1', email: 'Cy@Example.com', email_verified: true, name: 'Cy', picture: 'https://example.com/cy.png' });
  assert.deepEqual([first.email, first.emailVerified, first.displayName, first.isAnonymous], ['cy@example.com', true, 'Cy', false]);
  const claims = claimsOf(await first.getIdToken());
  assert.deepEqual(claims.firebase, { identities: { 'oidc.works': ['w1'], email: ['cy@example.com'] }, sign_in_provider: 'oidc.works' });
  assert.equal((await enter({ sub: 'w1' })).uid, first.uid);
  await fails(get(box.raw(`Bearer ${box.provider.token({ sub: first.uid })}`), `mine/${first.uid}`), code.UNAUTHENTICATED); // not itself

  // Linking and unlinking.
  const { auth } = phone();
  const { user } = await A.signInAnonymously(auth);
  await A.linkWithCredential(user, credential({ sub: 'w2' }));
  assert.deepEqual([user.isAnonymous, user.providerData.map((one) => one.providerId)], [false, ['oidc.works']]);
  assert.equal((await enter({ sub: 'w2' })).uid, user.uid);
  assert.equal(await codeOf(A.linkWithCredential((await A.signInAnonymously(phone().auth)).user, credential({ sub: 'w2' }))), 'auth/credential-already-in-use');
  await A.unlink(user, 'oidc.works');
  assert.notEqual((await enter({ sub: 'w2' })).uid, user.uid);

  // The same address.
  const { user: dora } = await A.createUserWithEmailAndPassword(phone().auth, 'dora@example.com', PASSWORD); // who never showed that it is hers
  const owner = await enter({ sub: 'w3', email: 'dora@example.com', email_verified: true });
  assert.equal(owner.uid, dora.uid);
  assert.equal(await codeOf(A.signInWithEmailAndPassword(phone().auth, 'dora@example.com', PASSWORD)), 'auth/invalid-credential');
  assert.equal(await codeOf(dora.getIdToken(true)), 'auth/user-token-expired');
  assert.equal(await codeOf(enter({ sub: 'w4', email: 'dora@example.com', email_verified: true })), 'auth/account-exists-with-different-credential');
  assert.equal((await enter({ sub: 'w5', email: 'dora@example.com', email_verified: false })).email, null); // says nothing

  // Nonces, and tokens that are not for this.
  const hashed = crypto.createHash('sha256').update('n0nce').digest('hex');
  await enter({ sub: 'w6', nonce: hashed }, 'n0nce');
  for (const [made, nonce] of [[{ nonce: hashed }, 'other'], [{ nonce: hashed }, undefined], [{}, 'n0nce']])
    assert.equal(await codeOf(enter({ sub: 'w6', ...made }, nonce)), 'auth/missing-or-invalid-nonce');
  for (const bad of [{ aud: 'other' }, { exp: 1 }, { iss: box.issuer.url }]) assert.equal(await codeOf(enter({ sub: 'w7', ...bad })), 'auth/invalid-credential');
  assert.equal(await codeOf(A.signInWithCredential(phone().auth, A.GoogleAuthProvider.credential(box.provider.token()))), 'auth/operation-not-allowed');
  assert.equal(await codeOf(A.signInWithCredential(phone().auth, A.FacebookAuthProvider.credential('access'))), 'auth/operation-not-allowed');
});
