// clang-tidy on the C++ of all rooms that changed since they were clean.
import { SetupError } from '../setup/errors.mjs';
import { root } from '../setup/paths.mjs';
import { includeFolders, sources } from '../tidy/sources.mjs';
import { tidy } from '../tidy/tidy.mjs';
import { findClangTidy } from '../tidy/tool.mjs';
import { counts } from './section.mjs';

async function readRooms() {
  const all = sources([]);
  const rooms = new Set(all.map(({ room }) => room));
  const { answer, ...tool } =
    process.platform === 'linux' ? await findClangTidy(console.log) : { answer: 'it is set up for Linux alone' };
  if (answer) {
    console.log(`  SKIPPED: no clang-tidy read the ${rooms.size} rooms: ${answer}`);
    return counts(0, 0, rooms.size);
  }
  const { findings, unclean, read } = await tidy(tool, all, includeFolders);
  const failed = new Set(unclean.map(({ room }) => room));
  console.log(`  ${findings.length ? 'FAIL' : 'ok  '}  ${rooms.size} rooms: ${read} of ${all.length} files read`);
  for (const { text } of findings) console.log(text.replaceAll(`${root}/`, '').replace(/^/gm, '        '));
  return counts(rooms.size - failed.size, failed.size);
}

export async function testTidy() {
  try {
    return await readRooms();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.log(`  FAIL  ${error.message}`);
    return counts(0, 1);
  }
}
