// Parquet files row group by row group: the small columns of one whole, the columns of images as streams.
import { type FileHandle, open } from 'node:fs/promises';
import {
  type AsyncBuffer,
  type ColumnMetaData,
  type FileMetaData,
  parquetMetadata,
  parquetReadObjects,
  type RowGroup,
  type SchemaTree,
} from 'hyparquet';
import { getMaxDefinitionLevel, getMaxRepetitionLevel, getSchemaPath } from 'hyparquet/src/schema.js';
import { DrmError } from '../../../../binding/error.js';
import { checkThrift, MOST_ROWS } from './bounds.js';
import { BinaryColumn } from './column.js';
import { checkSmallColumn, codecs, smallColumnsBudget } from './pages.js';

/** A pages' reader keeps this much of the file in memory. */
const CHUNK = 1 << 19;
/** The description of all row groups and columns, at the end of a file. */
const LARGEST_FOOTER = 64 << 20;

export class ParquetFile {
  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
    private readonly buffer: AsyncBuffer,
    private readonly metadata: FileMetaData,
  ) {}

  /** Throws DrmError BAD_FILE when it is no Parquet file. */
  static async open(path: string): Promise<ParquetFile> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, 'r');
      const file = handle;
      const buffer: AsyncBuffer = {
        byteLength: (await file.stat()).size,
        slice: (start, end) => readExactly(file, start, (end ?? buffer.byteLength) - start),
      };
      return new ParquetFile(path, file, buffer, await readMetadata(buffer));
    } catch (error) {
      await handle?.close();
      throw new DrmError(
        'BAD_FILE',
        `[data] ${path}: cannot be read as Parquet: ${(error as Error).message}; fetch it again`,
        { file: path },
      );
    }
  }

  get groups(): readonly RowGroup[] {
    return this.metadata.row_groups;
  }

  rows(group: number): number {
    return Number(this.groups[group]?.num_rows ?? 0);
  }

  /** Names of the top-level columns. */
  get columns(): string[] {
    const names = (this.metadata.row_groups[0]?.columns ?? []).map(
      ({ meta_data }) => meta_data?.path_in_schema[0] ?? '',
    );
    return [...new Set(names)];
  }

  /** Of a column that is a struct, the names of its fields; empty for another one. */
  fields(name: string): string[] {
    return (
      this.#schema(name)
        .at(-1)
        ?.children.map(({ element }) => element.name) ?? []
    );
  }

  /** From the root to the column, or a field of it. */
  #schema(...path: string[]): SchemaTree[] {
    try {
      return getSchemaPath(this.metadata.schema, path);
    } catch {
      return [];
    }
  }

  /** Throws DrmError BAD_FILE naming those that are missing. */
  expectColumns(names: readonly string[]): void {
    if (this.groups.length === 0) return;
    const missing = names.filter((name) => !this.columns.includes(name));
    if (missing.length > 0)
      throw new DrmError(
        'BAD_FILE',
        `[data] ${this.path}: expected columns ${missing.join(', ')}, found ${this.columns.join(', ')}`,
        { file: this.path },
      );
  }

  /** Those of some columns that there are, of one row group, whole: for the small ones. INT64 comes as BigInt, binary as bytes. */
  async read(group: number, columns: string[]): Promise<Record<string, unknown>[]> {
    const row_group = this.groups[group];
    if (!row_group) return [];
    const there = columns.filter((name) => this.columns.includes(name));
    try {
      const budget = smallColumnsBudget();
      for (const { meta_data } of row_group.columns) {
        if (!meta_data || !there.includes(meta_data.path_in_schema[0] as string)) continue;
        const schema = this.#schema(...meta_data.path_in_schema);
        await checkSmallColumn(
          {
            ...this.#chunkOf(meta_data),
            rows: this.rows(group),
            codec: meta_data.codec,
            definition: getMaxDefinitionLevel(schema),
            repetition: getMaxRepetitionLevel(schema),
            type: meta_data.type,
            length: schema.at(-1)?.element.type_length ?? 0,
          },
          budget,
        );
      }
      return (await parquetReadObjects({
        file: this.buffer,
        metadata: { ...this.metadata, row_groups: [row_group] },
        columns: there,
        rowStart: 0,
        rowEnd: this.rows(group),
        compressors: await codecs(),
        utf8: false,
      })) as Record<string, unknown>[];
    } catch (error) {
      throw this.#damaged(group, columns.join(', '), error);
    }
  }

  /** Where a column's pages are. Throws a plain sentence when that is not in the file. */
  #chunkOf(meta: ColumnMetaData) {
    // Where the dictionary is not named, pages begin with it all the same.
    const start = Number(meta.dictionary_page_offset || meta.data_page_offset);
    const bytes = Number(meta.total_compressed_size);
    if (!(start >= 0 && bytes >= 0 && start + bytes <= this.buffer.byteLength))
      throw new Error('the file ends before the column does');
    return {
      bytes,
      read: (at: number, length: number) =>
        readExactly(this.handle, start + at, length).then((found) => new Uint8Array(found)),
    };
  }

  /** A column of byte arrays, or a field of a struct, read row by row. */
  binary(group: number, ...path: [string, ...string[]]): BinaryColumn {
    const name = path.join('.');
    const column = this.groups[group]?.columns.find(({ meta_data }) => meta_data?.path_in_schema.join('.') === name);
    const meta: ColumnMetaData | undefined = column?.meta_data;
    const schema = this.#schema(...path);
    if (!meta || schema.length === 0) throw this.#damaged(group, name, new Error('the column is not there'));
    if (getMaxRepetitionLevel(schema) > 0)
      throw this.#damaged(group, name, new Error('expected one value a row, found lists'));
    try {
      return new BinaryColumn({
        ...this.#chunkOf(meta),
        rows: this.rows(group),
        chunk: CHUNK,
        codec: meta.codec,
        level: getMaxDefinitionLevel(schema),
        damaged: (error) => this.#damaged(group, name, error),
      });
    } catch (error) {
      throw this.#damaged(group, name, error);
    }
  }

  #damaged(group: number, columns: string, error: unknown): DrmError {
    if (error instanceof DrmError) return error;
    return new DrmError(
      'BAD_FILE',
      `[data] ${this.path}, row group ${group}, ${columns}: ${(error as Error).message}; fetch or write the file again`,
      { file: this.path },
    );
  }

  close(): Promise<void> {
    return this.handle.close();
  }
}

/** Throws a plain sentence. */
async function readMetadata(file: AsyncBuffer): Promise<FileMetaData> {
  const end = file.byteLength;
  if (end < 12) throw new Error('it is too short');
  const length = new DataView(await file.slice(end - 8, end)).getUint32(0, true);
  if (length > Math.min(LARGEST_FOOTER, end - 12)) throw new Error(`its footer has ${length} bytes`);
  const footer = await file.slice(end - 8 - length, end);
  if (checkThrift(new Uint8Array(footer)) === undefined) throw new Error('its footer is cut off');
  const metadata = parquetMetadata(footer);
  const isPath = (path: unknown) => Array.isArray(path) && path.every((part) => typeof part === 'string');
  for (const [group, { num_rows, columns }] of metadata.row_groups.entries()) {
    // A damaged footer gives fields of any type.
    if (
      !Array.isArray(columns) ||
      !columns.every(({ meta_data: meta }) => meta === undefined || isPath(meta?.path_in_schema))
    )
      throw new Error(`row group ${group} has columns without a name`);
    if (!(num_rows >= 0 && num_rows <= MOST_ROWS))
      throw new Error(`row group ${group} has ${num_rows} rows, more than ${MOST_ROWS}: write smaller ones`);
  }
  return metadata;
}

async function readExactly(file: FileHandle, start: number, length: number): Promise<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let have = 0; have < length; ) {
    const { bytesRead } = await file.read(bytes, have, length - have, start + have);
    if (bytesRead === 0) throw new Error('the file is cut off');
    have += bytesRead;
  }
  return bytes.buffer;
}
