// Lists of records as JSON: one array of objects, which may be larger than a string can be, or objects one after another.
// They are cut out by their bytes and parsed one by one.
import { createReadStream } from 'node:fs';
import { DrmError } from '../../../binding/error.js';
import { decodeText, isUtf16, type JsonObject, parseJson } from '../../common/json.js';
import { type Cut, LARGEST_RECORD, ObjectCutter } from '../../common/json_forms.js';
import { Drop } from './drop.js';

export interface ListRecord {
  /** Its place in the list, from 0. */
  row: number;
  value: JsonObject | Drop;
}

/** Throws DrmError BAD_FILE naming the byte where the list is not one. */
export async function* listRecords(file: string): AsyncGenerator<ListRecord> {
  const bad = (at: number, what: string) =>
    new DrmError(
      'BAD_FILE',
      `[data] ${file}, byte ${at}: expected a JSON array of objects, ${what}; correct the list, or fetch it again`,
      { file },
    );
  const cutter = new ObjectCutter();
  let row = 0;
  const parse = ({ start, end, bytes }: Cut): ListRecord['value'] => {
    const where = `record ${row} at byte ${start}`;
    if (!bytes) return new Drop('bad_record', `${where}: ${end - start} bytes, more than ${LARGEST_RECORD}`);
    let text: string;
    try {
      text = decodeText(bytes);
    } catch (error) {
      return new Drop('bad_record', `${where}: ${(error as Error).message}`);
    }
    try {
      return parseJson(text) as JsonObject;
    } catch (error) {
      throw bad(start, `found a malformed record (${(error as Error).message})`);
    }
  };
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
      if (cutter.at === 0 && isUtf16(chunk)) throw new Error('found UTF-16; save it as UTF-8');
      for (const cut of cutter.push(chunk)) {
        yield { row, value: parse(cut) };
        row += 1;
      }
    }
    cutter.end();
  } catch (error) {
    throw error instanceof DrmError ? error : bad(cutter.at, (error as Error).message);
  }
}
