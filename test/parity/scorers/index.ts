// The golden scorers: what each case is compared by. A new one is its file and a line here.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Comparison } from '../report.js';
import { checkAesthetic } from './aesthetic.js';
import { checkClip } from './clip.js';
import { type ScorerCheck, ScorersFixture } from './fixture.js';
import { checkHpsV1, checkHpsV2 } from './hps.js';
import { checkHpsv3, checkQwenPixels } from './hpsv3.js';
import { checkImageReward } from './imagereward.js';
import { checkLpips } from './lpips.js';
import { checkMps } from './mps.js';
import { checkPixels } from './pixels.js';
import { checkClipTexts } from './texts.js';

const CHECKS: Record<string, ScorerCheck> = {
  pre: async (s) => [...(await checkPixels(s)), ...(await checkQwenPixels(s))],
  clip_h: checkClip,
  clip_l: checkClip,
  hpsv3: checkHpsv3,
  aesthetic: checkAesthetic,
  imagereward: checkImageReward,
  lpips_alex: checkLpips,
  lpips_vgg: checkLpips,
  hpsv2: checkHpsV2,
  hpsv1: checkHpsV1,
  mps: checkMps,
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
    all.push(...(await checkClipTexts(folder)));
    return all;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
