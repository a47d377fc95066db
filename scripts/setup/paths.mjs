// Where things lie in a checkout. Every other script asks here, so that a folder is named once.
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');
export const buildDir = join(root, 'build');
export const logDir = join(buildDir, 'logs');
export const stampDir = join(buildDir, 'stamps');
export const coreBuildDir = join(buildDir, 'core');
export const libtorchRecord = join(buildDir, 'libtorch.json');
export const addonFile = join(root, 'binding', 'build', 'Release', 'drm.node');

/** Shared by all checkouts of this user. */
export function userCacheDir() {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'drm');
}

/** lib*.so on Linux, lib*.dylib on macOS. */
export function sharedLibrary(name) {
  return `lib${name}.${process.platform === 'darwin' ? 'dylib' : 'so'}`;
}
