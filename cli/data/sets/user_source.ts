// A user's own list or folder: which it is, and of what.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import type { Source } from '../prepared/source.js';
import { folderSource, listSource, type UserOptions } from './user_images.js';
import { holdsPairs, type UserPairOptions, userPairSource } from './user_pairs.js';

/** What --from names: images with captions, or pairs. Throws DrmError BAD_FILE when there is nothing to read. */
export async function userSource(from: string, options: UserOptions, pairs: UserPairOptions): Promise<Source> {
  const list = userList(from);
  if (list === undefined) return folderSource(from, options);
  return (await holdsPairs(list)) ? userPairSource(list, pairs) : listSource(list, options);
}

/** The list that --from names; undefined for a folder without one. */
function userList(from: string): string | undefined {
  if (!existsSync(from))
    throw new DrmError('BAD_FILE', `[data] ${from}: expected a JSONL file or a folder, found nothing; check --from`, {
      file: from,
    });
  if (!statSync(from).isDirectory()) return from;
  const names = readdirSync(from);
  if (names.some((name) => /\.(tar|tar\.gz|tgz)$/i.test(name)))
    throw new DrmError(
      'USAGE',
      `[data] ${from}: expected JSONL or images, found tar archives; \`drm data prepare webdataset --from ${from}\` reads those`,
      { file: from },
    );
  const lists = names.filter((name) => /\.jsonl$/i.test(name)).sort();
  const own = lists.find((name) => name.toLowerCase() === 'metadata.jsonl');
  const list = own ?? lists[0];
  if (lists.length > 1 && own === undefined)
    throw new DrmError('USAGE', `[data] ${from}: expected one list, found ${lists.join(', ')}; name one with --from`, {
      file: from,
    });
  return list === undefined ? undefined : join(from, list);
}
