// Reads .proto trees as descriptors and compares them.
// SPDX-License-Identifier: Apache-2.0
//
// Both trees go through the same protoc, so what is compared is what a compiler makes of them: comments, the order
// of declarations and the way names are written do not count, everything else does. Every declaration (file,
// message, field, oneof, enum, enum value, service, method, extension) becomes one entry of a Map, from a label
// such as `field google.rpc.Status.code` to its properties.
'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const protobuf = require('protobufjs');

/**
 * The names of all .proto files below a folder, relative to it.
 * @param {string} folder @param {string} below a folder inside it, e.g. `google/firestore/v1`
 */
function protoFiles(folder, below = '.') {
  const top = path.join(folder, below);
  if (!fs.existsSync(top)) return [];
  return fs
    .readdirSync(top, { withFileTypes: true })
    .flatMap((entry) => {
      const name = path.posix.join(below, entry.name);
      if (entry.isDirectory()) return protoFiles(folder, name);
      return entry.name.endsWith('.proto') ? [name] : [];
    })
    .sort();
}

/**
 * Makes the type FileDescriptorSet, with the extensions of the options (google.api.http and so on) that `files`
 * declare or import. An option can only be used where its extension is imported, so none escapes decoding.
 */
function descriptorSetType(importPaths, files) {
  const root = new protobuf.Root();
  const bundled = path.join(path.dirname(require.resolve('protobufjs/package.json')), 'google/protobuf');
  root.resolvePath = (origin, target) => {
    if (target.startsWith('google/protobuf/')) return path.join(bundled, path.basename(target));
    for (const { prefix, folder } of importPaths) {
      if (!target.startsWith(prefix)) continue;
      const file = path.join(folder, target.slice(prefix.length));
      if (fs.existsSync(file)) return file;
    }
    return target;
  };
  root.loadSync(['google/protobuf/descriptor.proto', ...files], { keepCase: true });
  root.resolveAll();
  return root.lookupType('google.protobuf.FileDescriptorSet');
}

/**
 * Compiles `files` and returns their FileDescriptorProtos as plain objects.
 * @param {{prefix: string, folder: string}[]} importPaths names that start with `prefix` are found in `folder`
 */
function readDescriptors(protoc, importPaths, files) {
  if (files.length === 0) return [];
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'skerry-proto-'));
  try {
    const out = path.join(scratch, 'set.bin');
    const includes = importPaths.map(({ prefix, folder }) => `-I${prefix ? `${prefix.replace(/\/$/, '')}=` : ''}${folder}`);
    execFileSync(protoc, [...includes, `--descriptor_set_out=${out}`, ...files], { stdio: ['ignore', 'ignore', 'pipe'] });
    const type = descriptorSetType(importPaths, files);
    const set = type.toObject(type.decode(fs.readFileSync(out)), { longs: String, enums: String, bytes: String });
    return set.file;
  } catch (error) {
    if (error.code === 'ENOENT' && error.path === protoc) throw new Error(`${protoc} not found: run scripts/setup --tests`);
    throw error.stderr ? new Error(String(error.stderr).trim()) : error;
  } finally {
    fs.rmSync(scratch, { recursive: true });
  }
}

/** Turns FileDescriptorProtos into the Map of entries. */
function entriesOf(files) {
  const entries = new Map();
  const add = (kind, name, properties, parts = []) => {
    const own = Object.fromEntries(Object.entries(properties).filter(([key]) => !parts.includes(key)));
    delete own.name;
    entries.set(`${kind} ${name}`, own);
  };

  const addField = (kind, scope, field, oneofs, file) => {
    const { oneof_index: oneof, ...properties } = field;
    if (oneof !== undefined) properties.oneof = oneofs[oneof].name;
    add(kind, `${scope}.${field.name}`, kind === 'extension' ? { ...properties, file } : properties);
  };
  const addEnum = (scope, enumeration, file) => {
    const name = `${scope}.${enumeration.name}`;
    add('enum', name, { ...enumeration, file }, ['value']);
    for (const value of enumeration.value ?? []) add('enum value', `${name}.${value.name}`, value);
  };
  const addMessage = (scope, message, file) => {
    const name = `${scope}.${message.name}`;
    add('message', name, { ...message, file }, ['field', 'nested_type', 'enum_type', 'extension', 'oneof_decl']);
    for (const oneof of message.oneof_decl ?? []) add('oneof', `${name}.${oneof.name}`, oneof);
    for (const field of message.field ?? []) addField('field', name, field, message.oneof_decl, file);
    for (const field of message.extension ?? []) addField('extension', name, field, [], file);
    for (const nested of message.nested_type ?? []) addMessage(name, nested, file);
    for (const nested of message.enum_type ?? []) addEnum(name, nested, file);
  };

  for (const file of files) {
    const scope = file.package ?? '';
    const imports = [...(file.dependency ?? [])].sort();
    const parts = ['message_type', 'enum_type', 'service', 'extension', 'source_code_info'];
    add('file', file.name, { ...file, dependency: imports }, parts);
    for (const message of file.message_type ?? []) addMessage(scope, message, file.name);
    for (const enumeration of file.enum_type ?? []) addEnum(scope, enumeration, file.name);
    for (const field of file.extension ?? []) addField('extension', scope, field, [], file.name);
    for (const service of file.service ?? []) {
      add('service', `${scope}.${service.name}`, { ...service, file: file.name }, ['method']);
      for (const method of service.method ?? []) add('method', `${scope}.${service.name}.${method.name}`, method);
    }
  }
  return entries;
}

/** One JSON text for equal things: keys sorted at every depth. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`;
}

/**
 * Compares two Maps of entries.
 * @returns {{compared: number, differences: string[]}} one text a property that differs or entry that one lacks
 */
function compareEntries(ours, theirs) {
  const differences = [];
  for (const label of new Set([...theirs.keys(), ...ours.keys()])) {
    const our = ours.get(label);
    const their = theirs.get(label);
    if (!our) differences.push(`${label}: missing in ours`);
    else if (!their) differences.push(`${label}: not in theirs`);
    else {
      for (const key of new Set([...Object.keys(their), ...Object.keys(our)])) {
        const [a, b] = [our[key], their[key]].map((value) => (value === undefined ? 'unset' : canonical(value)));
        if (a !== b) differences.push(`${label}: ${key} is ${a} in ours, ${b} in theirs`);
      }
    }
  }
  return { compared: new Set([...theirs.keys(), ...ours.keys()]).size, differences };
}

module.exports = { protoFiles, readDescriptors, entriesOf, compareEntries };
