// Checkpoints as torch.save writes them, just enough for the tests: fp32 and int64 tensors in dictionaries. That drm reads what PyTorch
// itself wrote is shown in test/csrc/pickle_test.cc.
import { writeFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { Tensor } from './safetensors.js';

/** Bytes of the pickle machine, protocol 2. */
const PICKLE = {
  begin: '\x80\x02',
  dictionary: '}',
  mark: '(',
  setItems: 'u',
  tuple: 't',
  emptyTuple: ')',
  persistentId: 'Q',
  call: 'R',
  no: '\x89',
  end: '.',
};

const latin = (text: string): Buffer => Buffer.from(text, 'latin1');
const global = (module: string, name: string): Buffer => latin(`c${module}\n${name}\n`);

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(5, 'X');
  length.writeUInt32LE(bytes.length, 1);
  return Buffer.concat([length, bytes]);
}

function whole(value: number): Buffer {
  const bytes = Buffer.alloc(5, 'J');
  bytes.writeInt32LE(value, 1);
  return bytes;
}

const tuple = (...parts: Buffer[]): Buffer => Buffer.concat([latin(PICKLE.mark), ...parts, latin(PICKLE.tuple)]);

function tensor({ dtype, shape, data }: Tensor, storage: number): Buffer {
  const strides = shape.map((_, i) => shape.slice(i + 1).reduce((product, side) => product * side, 1));
  const id = tuple(
    text('storage'),
    global('torch', dtype === 'F32' ? 'FloatStorage' : 'LongStorage'),
    text(String(storage)),
    text('cpu'),
    whole(data.length),
  );
  const hooks = Buffer.concat([global('collections', 'OrderedDict'), latin(PICKLE.emptyTuple + PICKLE.call)]);
  const stored = Buffer.concat([id, latin(PICKLE.persistentId)]);
  const view = [whole(0), tuple(...shape.map(whole)), tuple(...strides.map(whole)), latin(PICKLE.no), hooks];
  return Buffer.concat([global('torch._utils', '_rebuild_tensor_v2'), tuple(stored, ...view), latin(PICKLE.call)]);
}

function dictionary(entries: Iterable<[string, Buffer]>): Buffer {
  const items = Array.from(entries, ([key, value]) => Buffer.concat([text(key), value]));
  return Buffer.concat([latin(PICKLE.dictionary + PICKLE.mark), ...items, latin(PICKLE.setItems)]);
}

/** A zip file whose entries are stored as they are. */
function zip(entries: [string, Buffer][]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const [name, bytes] of entries) {
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0); // version that is needed
    fields.writeUInt32LE(crc32(bytes), 10);
    fields.writeUInt32LE(bytes.length, 14);
    fields.writeUInt32LE(bytes.length, 18);
    fields.writeUInt16LE(Buffer.byteLength(name), 22);
    const rest = Buffer.alloc(14); // no comment, no attributes, and where the entry begins
    rest.writeUInt32LE(at, 10);
    directory.push(latin('PK\x01\x02\x14\x00'), fields, rest, Buffer.from(name));
    const entry = [latin('PK\x03\x04'), fields, Buffer.from(name), bytes];
    for (const part of entry) at += part.length;
    parts.push(...entry);
  }
  const index = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(index.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, index, end]);
}

/** `under`: the key that the tensors are nested under, such as state_dict. */
export function torchSave(file: string, tensors: Map<string, Tensor>, under?: string): void {
  const entries = [...tensors].map(([name, value], i): [string, Buffer] => [name, tensor(value, i)]);
  const state = dictionary(entries);
  const object =
    under === undefined
      ? state
      : dictionary([
          [under, state],
          ['epoch', whole(3)],
        ]);
  const storages = [...tensors.values()].map(({ data }, i): [string, Buffer] => [
    `archive/data/${i}`,
    Buffer.from(data.buffer, data.byteOffset, data.byteLength),
  ]);
  writeFileSync(
    file,
    zip([
      ['archive/data.pkl', Buffer.concat([latin(PICKLE.begin), object, latin(PICKLE.end)])],
      ['archive/byteorder', latin('little')],
      ...storages,
      ['archive/version', latin('3\n')],
    ]),
  );
}
