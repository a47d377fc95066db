// The published sets of preference pairs, by name. `drm data prepare` takes its sources, flags and errors from here, and
// `drm eval` where lists are and how they are counted. What reads a set is loaded when it is opened.
import { HPDV3_FLAGS, hpdv3Options } from './hpdv3_flags.js';
import { jsonLists, type PublishedSet, parquetShards, publishedSet } from './published.js';

export const PUBLISHED_SETS: Record<string, PublishedSet> = {
  hpdv3: publishedSet({
    flags: HPDV3_FLAGS,
    open: async (pairs, options) => (await import('./hpdv3.js')).hpdv3Source(hpdv3Options(pairs, options)),
    folders: ['hpdv3', 'HPDv3'],
    list: jsonLists,
    protocols: [],
  }),
  hpdv2: {
    flags: [],
    open: async (pairs) => (await import('./hpdv2.js')).hpdv2Source(pairs),
    folders: ['hpdv2', 'HPDv2'],
    list: jsonLists,
    protocols: ['rank', 'pooled'],
  },
  imagereward: {
    flags: [],
    open: async (pairs) => (await import('./imagereward.js')).imagerewardSource(pairs),
    folders: ['imagerewarddb', 'imagereward', 'ImageRewardDB'],
    list: jsonLists,
    protocols: ['pooled', 'mean-over-prompts'],
  },
  pickapic: {
    flags: [],
    open: async (pairs) => (await import('./pickapic.js')).pickapicSource(pairs),
    folders: ['pickapic', 'pickapic_v1', 'pickapic_v2'],
    list: parquetShards,
    protocols: [],
  },
};
