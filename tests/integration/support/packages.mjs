// The client packages, in one place, so that every test says the same when they are not installed.
async function load(name) {
  try {
    return await import(name);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    console.error(`The package ${name} is missing. Run: scripts/setup --tests`);
    process.exit(1);
  }
}

export const grpc = (await load('@grpc/grpc-js')).default;
export const protoLoader = (await load('@grpc/proto-loader')).default;
export const protobuf = (await load('protobufjs')).default;
export const firestore = (await load('@google-cloud/firestore')).default;
export const app = await load('firebase/app');
export const sdk = await load('firebase/firestore');
