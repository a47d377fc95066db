// A column of images: encoded bytes, or the hub's `Image` struct, {bytes, path}, in which either may be null.
import { dirname, relative, resolve, sep } from 'node:path';
import { DrmError } from '../../../binding/error.js';
import { Drop } from '../io/drop.js';
import type { BinaryColumn } from '../io/parquet/column.js';
import type { ParquetFile } from '../io/parquet/file.js';
import { readImage } from './images_at.js';

export class ImageColumn {
  private constructor(
    private readonly file: ParquetFile,
    private readonly bytes: BinaryColumn,
    /** Of files beside this one; read where there are no bytes. */
    private readonly path: BinaryColumn | undefined,
  ) {}

  /** Throws DrmError BAD_FILE for a column of another form. */
  static open(file: ParquetFile, group: number, name: string): ImageColumn {
    const fields = file.fields(name);
    if (fields.length === 0) return new ImageColumn(file, file.binary(group, name), undefined);
    if (!fields.includes('bytes'))
      throw new DrmError(
        'BAD_FILE',
        `[data] ${file.path}, ${name}: expected images as bytes, or as a struct of bytes and path, found one of ${fields.join(', ')}`,
        { file: file.path },
      );
    const path = fields.includes('path') ? file.binary(group, name, 'path') : undefined;
    return new ImageColumn(file, file.binary(group, name, 'bytes'), path);
  }

  /** The image of a row of the row group; rows must be asked for in order. `id` is for messages. */
  async at(row: number, id: string): Promise<Buffer | Drop> {
    const bytes = await this.bytes.at(row);
    if (typeof bytes === 'number') return new Drop('too_large', `${id}: ${bytes} bytes`);
    if (bytes !== undefined) return bytes;
    const path = await this.path?.at(row);
    if (!Buffer.isBuffer(path)) return new Drop('missing_image', `${id}: null`);
    const name = path.toString('utf8');
    const folder = resolve(dirname(this.file.path));
    // A data set of somebody else names no other files of this machine.
    if (relative(folder, resolve(folder, name)).split(sep)[0] === '..')
      return new Drop('missing_image', `${id}: ${name} lies outside ${folder}`);
    return readImage(resolve(folder, name), `${id}, ${name}`);
  }

  async close(): Promise<void> {
    await this.bytes.close();
    await this.path?.close();
  }
}
