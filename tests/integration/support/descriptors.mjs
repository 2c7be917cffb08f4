// The messages and services of proto/ for @bufbuild/protobuf, from the .proto files by protoc.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createFileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { makeTempDir, removeDir } from './server.mjs';

const ROOT = path.join(path.dirname(fileURLToPath(import.meta.url)), '../../..');
const FILES = ['google/firestore/v1/firestore.proto', 'google/rpc/error_details.proto', 'google/rpc/status.proto', 'grpc/health/v1/health.proto', 'grpc/reflection/v1/reflection.proto', 'grpc/reflection/v1alpha/reflection.proto', 'skerry/admin/v1/admin.proto', 'skerry/identity/v1/account_admin.proto', 'skerry/identity/v1/accounts.proto', 'skerry/identity/v1/stored.proto', 'skerry/test/v1/test_service.proto', 'google/protobuf/struct.proto', 'google/protobuf/wrappers.proto', 'google/protobuf/field_mask.proto'];

/** The files of proto/, as they are imported. */
export const protoFiles = () => fs.readdirSync(path.join(ROOT, 'proto'), { recursive: true }).filter((name) => name.endsWith('.proto'));

/** A registry of all of them. */
export const loadRegistry = () => createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptorBytes()));

/** Their descriptors, a google.protobuf.FileDescriptorSet. */
export function descriptorBytes() {
  const directory = makeTempDir();
  try {
    const out = path.join(directory, 'all.bin');
    const { status, stderr, error } = spawnSync('protoc', ['-I', path.join(ROOT, 'proto'), '-I', path.join(ROOT, 'tests/proto'), '--include_imports', `--descriptor_set_out=${out}`, ...FILES], { encoding: 'utf8' });
    if (error) throw error;
    if (status !== 0) throw new Error(stderr);
    return fs.readFileSync(out);
  } finally {
    removeDir(directory);
  }
}
