// Images in an icon package of npm, in the form that iconify gives all of them.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { DrmError } from '../../../binding/error.js';
import type { SourceNote } from '../prepared/manifest.js';

const require = createRequire(import.meta.url);

interface Icon {
  body: string;
  width?: number;
  height?: number;
  left?: number;
  top?: number;
  hidden?: boolean;
}

interface Alias {
  parent: string;
  hFlip?: boolean;
}

interface IconSet {
  icons: Record<string, Icon>;
  aliases?: Record<string, Alias>;
  width: number;
  height: number;
}

export interface IconPackage {
  note: SourceNote;
  /** Code points, with variation selectors, to names; empty in some packages. */
  chars: Record<string, string>;
  /** Of the images that have a name, aliases' too. */
  names: string[];
  categoryOf(name: string): string;
  /** @throws ENVIRONMENT if the package has no such image. */
  svgOf(name: string): string;
}

/**
 * @param install The command line that brings it back, for errors.
 * @throws ENVIRONMENT if it cannot be read.
 */
export function readIconPackage(packageName: string, install: string): IconPackage {
  const read = <T>(file: string): T => {
    try {
      return JSON.parse(readFileSync(require.resolve(`${packageName}/${file}`), 'utf8')) as T;
    } catch (error) {
      const [why] = (error as Error).message.split('\n');
      throw new DrmError(
        'ENVIRONMENT',
        `[data] expected the npm package ${packageName}, which cannot be read (${why}); run \`${install}\``,
      );
    }
  };
  const { icons, aliases = {}, width, height } = read<IconSet>('icons.json');
  const { categories } = read<{ categories: Record<string, string[]> }>('metadata.json');
  const info = read<{ author: { name: string; url: string }; license: { spdx: string; url: string } }>('info.json');
  const category = new Map(Object.entries(categories).flatMap(([key, names]) => names.map((name) => [name, key])));
  return {
    note: {
      name: packageName,
      version: read<{ version: string }>('package.json').version,
      author: info.author.name,
      url: info.author.url,
      licence: info.license.spdx,
      licence_url: info.license.url,
    },
    chars: read<Record<string, string>>('chars.json'),
    names: [...Object.keys(icons), ...Object.keys(aliases)],
    categoryOf: (name) => category.get(name) ?? '',
    svgOf: (name) => {
      const alias = icons[name] ? undefined : aliases[name];
      const icon = icons[alias?.parent ?? name];
      if (!icon)
        throw new DrmError(
          'ENVIRONMENT',
          `[data] ${packageName} ${name}: expected an image of that name, found none; run \`${install}\``,
        );
      const own = { width: icon.width ?? width, height: icon.height ?? height };
      const box = `${icon.left ?? 0} ${icon.top ?? 0} ${own.width} ${own.height}`;
      const body = alias?.hFlip ? `<g transform="translate(${own.width} 0) scale(-1 1)">${icon.body}</g>` : icon.body;
      const svg = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="${box}"`;
      return `${svg} SIZE>${body}</svg>`;
    },
  };
}
