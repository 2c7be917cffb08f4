// What a web page does with google.firestore.v1 over gRPC-Web: it lists, edits and streams the documents of a collection,
// and shows them. Runs in a browser (browser.test.mjs serves it), with either of the two usual packages.
import { create, createFileRegistry, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { createClient } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-web';
import web from 'grpc-web';

const SERVICE = 'google.firestore.v1.Firestore';
const ROOT = 'projects/demo/databases/(default)/documents';
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, new Uint8Array(await (await fetch('/descriptors.bin')).arrayBuffer())));
const service = registry.getService(SERVICE);
const type = (name) => registry.getMessage(`google.firestore.v1.${name}`);
const fieldsOf = (text, n) => ({ text: { valueType: { case: 'stringValue', value: text } }, n: { valueType: { case: 'integerValue', value: BigInt(n) } } });

/** unary(method, message) and stream(method, message, onResponse), which ends when the stream does. */
function connectWeb(baseUrl) {
  const client = createClient(service, createGrpcWebTransport({ baseUrl, useBinaryFormat: true }));
  const local = (method) => method[0].toLowerCase() + method.slice(1);
  return {
    unary: (method, message) => client[local(method)](message),
    async stream(method, message, onResponse) {
      for await (const response of client[local(method)](message)) onResponse(response);
    },
  };
}

function grpcWeb(baseUrl) {
  const client = new web.GrpcWebClientBase({ format: 'text' });
  const descriptor = (name, way) => {
    const { input, output } = service.methods.find((one) => one.name === name);
    return new web.MethodDescriptor(`/${SERVICE}/${name}`, way, Object, Object, (message) => toBinary(input, create(input, message)), (bytes) => fromBinary(output, bytes));
  };
  return {
    unary: (method, message) => client.thenableCall(`${baseUrl}/${SERVICE}/${method}`, message, {}, descriptor(method, 'unary')),
    stream: (method, message, onResponse) =>
      new Promise((resolve, reject) => {
        const stream = client.serverStreaming(`${baseUrl}/${SERVICE}/${method}`, message, {}, descriptor(method, 'server_streaming'));
        stream.on('data', onResponse);
        stream.on('error', reject);
        stream.on('end', resolve);
      }),
  };
}

const show = (id, lines) => document.getElementById(id).replaceChildren(...lines.map((line) => Object.assign(document.createElement('li'), { textContent: line })));
const lineOf = ({ name, fields }) => `${name.split('/').at(-1)}: ${fields.text.valueType.value} ${fields.n.valueType.value}`;

/** Makes `count` documents in the collection, edits one, and shows what a list and a query's stream say. */
globalThis.work = async (kind, baseUrl, collection, count) => {
  const { unary, stream } = kind === 'grpc-web' ? grpcWeb(baseUrl) : connectWeb(baseUrl);
  const name = (i) => `${ROOT}/${collection}/d${String(i).padStart(4, '0')}`;
  for (let i = 0; i < count; i++) await unary('UpdateDocument', create(type('UpdateDocumentRequest'), { document: { name: name(i), fields: fieldsOf('made', i) } }));
  await unary('UpdateDocument', create(type('UpdateDocumentRequest'), { document: { name: name(1), fields: fieldsOf('<b>edited</b> ä\u0000', 9007199254740993n) } }));
  const listed = await unary('ListDocuments', create(type('ListDocumentsRequest'), { parent: ROOT, collectionId: collection, pageSize: 1000 }));
  show('listed', listed.documents.map(lineOf));
  const streamed = [];
  const query = { from: [{ collectionId: collection }], orderBy: [{ field: { fieldPath: '__name__' }, direction: 2 }] };
  await stream('RunQuery', create(type('RunQueryRequest'), { parent: ROOT, queryType: { case: 'structuredQuery', value: query } }), (response) => {
    if (response.document) streamed.push(lineOf(response.document));
  });
  show('streamed', streamed);
  let failure;
  await unary('GetDocument', create(type('GetDocumentRequest'), { name: name(count) })).catch((error) => (failure = { code: error.code, text: error.message }));
  return { failure };
};
document.title = 'ready';
