// The golden scorers: what each case is compared by. A new one is its file and a line here.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Comparison } from '../report.js';
import { checkAesthetic } from './aesthetic.js';
import { checkClip } from './clip.js';
import { type ScorerCheck, ScorersFixture } from './fixture.js';
import { checkImageReward } from './imagereward.js';
import { checkLpips } from './lpips.js';
import { checkPixels } from './pixels.js';

const CHECKS: Record<string, ScorerCheck> = {
  pre: checkPixels,
  clip_h: checkClip,
  clip_l: checkClip,
  lpips_alex: checkLpips,
  lpips_vgg: checkLpips,
  aesthetic: checkAesthetic,
  imagereward: checkImageReward,
  lpips_alex: checkLpips,
  lpips_vgg: checkLpips,
};

export async function checkScorers(folder: string): Promise<Comparison[]> {
  const s = new ScorersFixture(folder);
  const scratch = mkdtempSync(join(tmpdir(), 'drm-parity-'));
  try {
    const all: Comparison[] = [];
    for (const name of Object.keys(s.stored.cases)) {
      const check = CHECKS[name];
      if (check) all.push(...(await check(s, name, scratch)));
      else all.push({ tensor: name, note: 'not built yet' });
    }
    return all;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
