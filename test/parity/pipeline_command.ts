// The pipeline case once more, through the real command line: `drm sample` from the stored initial latents.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import sharp from 'sharp';
import { loadTokenizers } from '../../cli/text/tokenizer.js';
import { t5Length } from './native.js';
import type { Comparison } from './report.js';
import { largestDifference, readTensors } from './safetensors.js';

const drm = resolve(dirname(fileURLToPath(import.meta.url)), '../../cli/main.js');

interface CaseFile {
  facts: {
    prompts: string[];
    negative_prompts: string[];
    steps: number;
    guidance: number;
    height: number;
    width: number;
  };
  tensors: Record<string, { shape: number[]; atol?: number }>;
}

export async function checkPipelineThroughCommand(folder: string): Promise<Comparison[]> {
  const { facts, tensors } = JSON.parse(readFileSync(join(folder, 'case.json'), 'utf8')) as CaseFile;
  const tokenizer = loadTokenizers({ clipL: join(folder, 'tokenizer'), clipG: join(folder, 'tokenizer_2') });
  const expected = readTensors(join(folder, 'io.safetensors'));
  const scratch = mkdtempSync(join(tmpdir(), 'drm-parity-'));
  try {
    const prompts = join(scratch, 'prompts.jsonl');
    const rows = facts.prompts.map((prompt, i) =>
      JSON.stringify({ prompt, negative_prompt: facts.negative_prompts[i] }),
    );
    writeFileSync(prompts, `${rows.join('\n')}\n`);
    const out = join(scratch, 'out');
    const latents = join(scratch, 'latents.safetensors');
    const flags = [
      '--model',
      folder,
      '--prompts',
      prompts,
      '--n',
      '1',
      '--out',
      out,
      '--save-latents',
      latents,
      '--quiet',
    ];
    flags.push(
      '--init-latents',
      `${join(folder, 'io.safetensors')}:initial_latents`,
      '--dtype',
      'fp32',
      '--device',
      'cpu',
    );
    flags.push('--steps', String(facts.steps), '--guidance', String(facts.guidance));
    flags.push('--height', String(facts.height), '--width', String(facts.width));
    flags.push('--t5-length', String(t5Length({ tensors }, tokenizer)));
    const printed = execFileSync(process.execPath, [drm, 'sample', ...flags], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });

    const last = `latents_after_step${facts.steps - 1}`;
    const comparisons: Comparison[] = [];
    const compare = (tensor: string, got: ArrayLike<number | bigint>, want: string) => {
      const stored = expected.get(want);
      if (!stored) throw new Error(`${folder}/io.safetensors: expected a tensor ${want}`);
      comparisons.push({ tensor, error: largestDifference(got, stored.data), atol: tensors[want]?.atol ?? 0 });
    };
    const final = readTensors(latents).get('latents');
    compare('drm sample: final latents', final?.data ?? [], last);

    // Images in the order they were printed; pixels compared as one list.
    const paths = printed.split('\n').filter((line) => line.endsWith('.png'));
    const files = paths.length ? paths : readdirSync(out).filter((f) => f.endsWith('.png'));
    const pixels: number[] = [];
    for (const file of files) pixels.push(...(await sharp(resolve(out, file)).removeAlpha().raw().toBuffer()));
    compare('drm sample: images', pixels, 'image_u8_nhwc');
    return comparisons;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
