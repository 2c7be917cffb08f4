// Compares the public APIs in proto/ with their published definitions, from the npm packages beside this file.
// SPDX-License-Identifier: Apache-2.0
//
//   node compare.js [FOLDER]     FOLDER: the tree to judge, proto/ of this repository by default
//
// Prints each difference; exits with 1 if there are any. $PROTOC names the compiler if it is not `protoc`.
'use strict';

const fs = require('node:fs');
const path = require('node:path');

const modules = path.join(__dirname, 'node_modules');
if (!fs.existsSync(path.join(modules, 'protobufjs'))) {
  console.error('tests/proto: the client packages are not installed: run scripts/setup --tests');
  process.exit(1);
}
const { protoFiles, readDescriptors, entriesOf, compareEntries } = require('./descriptors.js');

// `whole`: folders of which we claim every file. Elsewhere we claim the files that we have.
const references = [
  {
    name: 'google-proto-files',
    importPaths: [{ prefix: '', folder: path.join(modules, 'google-proto-files') }],
    below: 'google',
    whole: ['google/firestore/v1'],
  },
  {
    name: 'grpc-health-check',
    importPaths: [{ prefix: 'grpc/', folder: path.join(modules, 'grpc-health-check/proto') }],
    below: 'grpc/health',
    whole: ['grpc/health'],
  },
  {
    name: '@grpc/reflection',
    importPaths: [{ prefix: '', folder: path.join(modules, '@grpc/reflection/build/proto') }],
    below: 'grpc/reflection',
    whole: ['grpc/reflection'],
  },
];

function theirFiles(reference) {
  return reference.importPaths.flatMap(({ prefix, folder }) =>
    reference.whole.flatMap((below) => protoFiles(folder, below.slice(prefix.length)).map((file) => prefix + file)));
}

function isPublished(reference, file) {
  return reference.importPaths.some(
    ({ prefix, folder }) => file.startsWith(prefix) && fs.existsSync(path.join(folder, file.slice(prefix.length))));
}

// What we have and the published definition does not, though the published SDKs send it.
const ADDED = new Set(['field google.firestore.v1.Write.verify: not in theirs']);

/** Compares what `folder` has of one reference with it. */
function compareWith(reference, folder, protoc) {
  const ourFiles = protoFiles(folder, reference.below);
  const whole = theirFiles(reference);
  if (whole.length === 0) throw new Error(`${reference.name} has no files in ${reference.whole}: has its layout changed?`);
  const ours = entriesOf(readDescriptors(protoc, [{ prefix: '', folder }], ourFiles));
  const wanted = [...new Set([...ourFiles.filter((file) => isPublished(reference, file)), ...whole])];
  const theirs = entriesOf(readDescriptors(protoc, reference.importPaths, wanted));
  const { compared, differences } = compareEntries(ours, theirs);
  return { compared, differences: differences.filter((one) => !ADDED.has(one)) };
}

/** Compares `folder` with all references. Throws where a tree does not compile. */
function compareAll(folder, protoc) {
  const files = protoFiles(folder).filter((file) => !file.startsWith('skerry/'));
  const stray = files.filter((file) => !references.some(({ below }) => file.startsWith(`${below}/`)));
  const result = { compared: 0, differences: stray.map((file) => `file ${file}: nothing to compare it with`) };
  for (const reference of references) {
    const { compared, differences } = compareWith(reference, folder, protoc);
    result.compared += compared;
    result.differences.push(...differences);
  }
  return result;
}

module.exports = { compareAll };

if (require.main === module) {
  const folder = process.argv[2] ?? path.join(__dirname, '../../proto');
  try {
    const { compared, differences } = compareAll(folder, process.env.PROTOC || 'protoc');
    for (const difference of differences) console.log(difference);
    console.log(`${compared} compared, ${differences.length} differences`);
    process.exitCode = differences.length > 0 ? 1 : 0;
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
