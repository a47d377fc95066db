// What `drm data prepare` can read, by name; prepare_command.ts opens them.

/** Preference pairs as their publishers have them. */
export const PAIR_SETS = ['hpdv3', 'hpdv2', 'imagereward', 'pickapic'];
export const SOURCES = [...PAIR_SETS, 'jsonl', 'webdataset', 'emoji', 'emoji-prefs'];
