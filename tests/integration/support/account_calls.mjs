// Calls of accounts as Firebase's REST surface has them, by hand: what attackers send.
import assert from 'node:assert/strict';
import { json } from './http.mjs';

export const TOOLKIT = '/identitytoolkit.googleapis.com/v1/accounts';
export const ADMIN = '/identitytoolkit.googleapis.com/v1/projects/skerry/accounts';
export const PASSWORD = 'correct horse 7', NEXT = 'another horse 8', STOLEN = 'stolen horse 9';

/** What an answer says: OK, or the code of its error. */
export const outcome = (answer) => answer?.error?.message.split(' : ')[0] ?? 'OK';

/** The calls, to the server in development that `current` gives when they are made. */
export function accountCalls(current) {
  let people = 0;
  const newEmail = (who = 'person') => `${who}${++people}@example.com`;
  const post = async (path, value, headers) => (await json(current().port, 'POST', path, value, { headers })).value;
  const owner = (rest, value) => post(`${ADMIN}${rest}`, value, { authorization: 'Bearer owner' });
  const signUp = (email, password = PASSWORD) => post(`${TOOLKIT}:signUp`, { email, password });
  const signIn = (email, password = PASSWORD) => post(`${TOOLKIT}:signInWithPassword`, { email, password });
  const apply = (oobCode) => post(`${TOOLKIT}:update`, { oobCode });
  const codesFor = async (address, type) =>
    (await json(current().port, 'GET', '/emulator/v1/projects/skerry/oobCodes')).value.oobCodes.filter((one) => one.requestType === type && (one.newEmail === address || one.email === address));
  /** The code of a mail that is asked for. */
  async function mail(type, address, more) {
    assert.equal(outcome(await post(`${TOOLKIT}:sendOobCode`, { requestType: type, email: address, continueUrl: 'https://app.example/', ...more })), 'OK');
    return (await codesFor(more?.newEmail ?? address, type)).at(-1).oobCode;
  }
  const verify = async (idToken, email) => assert.equal(outcome(await apply(await mail('VERIFY_EMAIL', email, { idToken }))), 'OK');
  /** What sign-up answered for an account whose address is verified now. */
  async function verified(email) {
    const made = await signUp(email);
    await verify(made.idToken, email);
    return made;
  }
  return { newEmail, post, owner, signUp, signIn, apply, codesFor, mail, verify, verified };
}
