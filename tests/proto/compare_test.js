// The comparison has to notice every kind of difference: each case spoils a copy of proto/ in one place.
// SPDX-License-Identifier: Apache-2.0
'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const test = require('node:test');

const { compareAll } = require('./compare.js');

const proto = path.join(__dirname, '../../proto');
const protoc = process.env.PROTOC || 'protoc';

/** The differences of a copy of proto/ after `change(folder)` has spoilt it. */
function differencesAfter(change) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'skerry-proto-test-'));
  try {
    fs.cpSync(proto, folder, { recursive: true });
    change(folder);
    return compareAll(folder, protoc).differences;
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
}

function replace(file, from, to) {
  return (folder) => {
    const name = path.join(folder, file);
    const text = fs.readFileSync(name, 'utf8');
    assert.ok(text.includes(from), `${file} has no ${from}: mend this test`);
    fs.writeFileSync(name, text.replace(from, to));
  };
}

const v1 = 'google/firestore/v1';
const cases = [
  ['a number', replace(`${v1}/write.proto`, 'string delete = 2', 'string delete = 9'), /^field .*Write\.delete: number is 9 in ours, 2 in theirs$/],
  ['a type', replace(`${v1}/query.proto`, 'int32 offset = 6', 'int64 offset = 6'), /^field .*StructuredQuery\.offset: type/],
  ['a message type', replace(`${v1}/write.proto`, 'ArrayValue remove_all', 'Value remove_all'), /remove_all_from_array: type_name/],
  ['a name', replace(`${v1}/document.proto`, 'bytes bytes_value', 'bytes byte_value'), /Value\.bytes_value: missing in ours$/],
  ['a label', replace(`${v1}/common.proto`, 'repeated string field_paths', 'string field_paths'), /field_paths: label/],
  ['proto3 optional', replace('google/rpc/error_details.proto', 'optional int64 future', 'int64 future'), /future_quota_value: proto3_optional is unset in ours, true/],
  ['a map', replace(`${v1}/document.proto`, 'map<string, Value> fields = 2', 'map<string, string> fields = 2'), /FieldsEntry\.value: type/],
  ['a dropped field', replace(`${v1}/write.proto`, '  int32 count = 2;', ''), /^field .*ExistenceFilter\.count: missing in ours$/],
  ['an added field', replace(`${v1}/write.proto`, 'int32 count = 2;', 'int32 count = 2; int32 more = 9;'), /ExistenceFilter\.more: not in theirs$/],
  ['a field outside of its oneof', replace(`${v1}/firestore.proto`, 'oneof continuation_selector {\n    // True: nothing follows.\n    bool done = 6;\n  }', 'bool done = 6;'), /RunQueryResponse\.done: oneof is unset/],
  ['a oneof by another name', replace(`${v1}/common.proto`, 'oneof mode', 'oneof kind'), /TransactionOptions\.mode: missing/],
  ['an enum value', replace('google/rpc/code.proto', 'DATA_LOSS = 15', 'DATA_LOSS = 17'), /^enum value google\.rpc\.Code\.DATA_LOSS: number/],
  ['a dropped enum value', replace(`${v1}/query.proto`, '      NOT_IN = 10;', ''), /^enum value .*Operator\.NOT_IN: missing/],
  ['a dropped message', replace('google/rpc/error_details.proto', 'message DebugInfo', 'message DebuggingInfo'), /^message google\.rpc\.DebugInfo: missing/],
  ['a dropped method', (folder) => {
    const name = path.join(folder, 'grpc/health/v1/health.proto');
    fs.writeFileSync(name, fs.readFileSync(name, 'utf8').replace(/ {2}rpc List\(.*\n/, ''));
  }, /^method grpc\.health\.v1\.Health\.List: missing/],
  ['streaming of responses', replace(`${v1}/firestore.proto`, 'returns (stream RunQueryResponse)', 'returns (RunQueryResponse)'), /^method .*\.RunQuery: server_streaming is unset/],
  ['streaming of requests', replace('grpc/reflection/v1/reflection.proto', '(stream ServerReflectionRequest)', '(ServerReflectionRequest)'), /^method grpc\.reflection\.v1\..*: client_streaming/],
  ['a request type', replace(`${v1}/firestore.proto`, 'rpc Rollback(RollbackRequest)', 'rpc Rollback(CommitRequest)'), /Rollback: input_type/],
  ['an HTTP path', replace(`${v1}/firestore.proto`, 'documents:batchGet', 'documents:batchRead'), /BatchGetDocuments: options/],
  ['an additional HTTP binding', replace(`${v1}/firestore.proto`, '/**}:partitionQuery', '}:partitionQuery'), /PartitionQuery: options/],
  ['a method signature', replace(`${v1}/firestore.proto`, '"database,writes"', '"database"'), /Commit: options/],
  ['a routing parameter', replace(`${v1}/firestore.proto`, '{project_id=*}', '{project=*}'), /ExecutePipeline: options/],
  ['a field behaviour', replace(`${v1}/document.proto`, 'string name = 1 [(google.api.field_behavior) = REQUIRED]', 'string name = 1'), /Function\.name: options is unset/],
  ['an option of the file', replace(`${v1}/document.proto`, '"GCFS"', '"GCF"'), /^file .*document\.proto: options/],
  ['an extension', replace('google/api/annotations.proto', '72295728', '72295720'), /^extension google\.api\.http: number/],
  ['a missing file', (folder) => fs.rmSync(path.join(folder, 'grpc/health/v1/health.proto')), /^file .*health\.proto: missing in ours$/, 30],
  ['a file of ours alone', (folder) => fs.writeFileSync(path.join(folder, v1, 'extra.proto'), 'syntax = "proto3"; package google.firestore.v1;'), /^file .*extra\.proto: not in theirs/],
  ['a file outside of every reference', (folder) => fs.writeFileSync(path.join(folder, 'grpc/extra.proto'), 'syntax = "proto3";'), /^file grpc\/extra\.proto: nothing to compare/],
];

test('a tree that does not compile is an error', () => {
  assert.throws(() => differencesAfter((folder) => fs.rmSync(path.join(folder, v1, 'bloom_filter.proto'))), /bloom_filter\.proto/);
});

test('proto/ itself has no differences', () => {
  assert.deepStrictEqual(compareAll(proto, protoc).differences, []);
});

for (const [what, change, expected, most = 6] of cases) {
  test(`notices ${what}`, () => {
    const differences = differencesAfter(change);
    assert.ok(differences.some((text) => expected.test(text)), `not noticed: ${JSON.stringify(differences)}`);
    assert.ok(differences.length <= most, `too many differences for one change: ${JSON.stringify(differences)}`);
  });
}
