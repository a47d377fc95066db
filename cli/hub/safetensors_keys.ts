// The names in a safetensors file's header, to tell which components a single file holds. The core reads and checks the
// file itself; here only enough is read to choose.
import { open } from 'node:fs/promises';
import { DrmError } from '../../binding/error.js';

const LARGEST_HEADER = 100_000_000;

/** Throws DrmError BAD_FILE when the header cannot be read. */
export async function readKeys(file: string): Promise<string[]> {
  const bad = (what: string) =>
    new DrmError('BAD_FILE', `[model] ${file}: expected a safetensors file: ${what}; fetch it again`, { file });
  const handle = await open(file, 'r').catch((error: Error) => {
    throw bad(error.message);
  });
  try {
    const size = Buffer.alloc(8);
    if ((await handle.read(size, 0, 8, 0)).bytesRead < 8) throw bad('it is too short');
    const length = size.readBigUInt64LE();
    if (length > BigInt(LARGEST_HEADER) || length > BigInt((await handle.stat()).size))
      throw bad('its header is longer than the file (a pickle or damaged file?)');
    const header = Buffer.alloc(Number(length));
    if ((await handle.read(header, 0, header.length, 8)).bytesRead < header.length) throw bad('its header is cut off');
    try {
      return Object.keys(JSON.parse(header.toString('utf8')) as object).filter((key) => key !== '__metadata__');
    } catch {
      throw bad('its header is no JSON');
    }
  } finally {
    await handle.close();
  }
}
