// The mobile and web SDK. In Node it speaks gRPC, as Android and iOS do.
import { app as appPackage, sdk } from './packages.mjs';

export { until } from './wait.mjs';

export const fs = sdk;
sdk.setLogLevel(process.env.SKERRY_SDK_LOG ?? 'silent');

let apps = 0;
const open = [];

/** A client of its own, as on another phone: {db, project}. */
export function phone(server, { project = `app${process.pid}-${apps}`, settings = {} } = {}) {
  const instance = appPackage.initializeApp({ projectId: project, apiKey: 'none', appId: 'app' }, `phone${++apps}`);
  const db = sdk.initializeFirestore(instance, { host: server.address, ssl: false, ...settings });
  open.push(instance);
  return { db, project, app: instance, root: `projects/${project}/databases/(default)/documents` };
}

export async function switchOff(one) {
  await sdk.terminate(one.db);
  await appPackage.deleteApp(one.app);
  const at = open.indexOf(one.app);
  if (at >= 0) open.splice(at, 1);
}

export async function switchAllOff() {
  await Promise.all(open.splice(0).map((instance) => appPackage.deleteApp(instance)));
}
