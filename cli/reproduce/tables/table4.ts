// Table 4: what step-wise sampling makes of images, and what it costs.
import { plusMinus } from '../../ui/table.js';
import { NOT_RUN, say, tabulate, UNKNOWN } from '../document.js';
import { type ImageFigures, STEPWISE } from '../paper.js';
import type { ImageRow } from '../results.js';
import { sampling } from '../steps.js';
import type { Table } from './table.js';

const PAPER: { head: string; key: keyof ImageFigures; digits: number }[] = [
  { head: 'paper: ImageReward', key: 'imagereward', digits: 2 },
  { head: 'paper: HPSv3', key: 'hpsv3', digits: 2 },
  { head: 'paper: LPIPS', key: 'lpips', digits: 3 },
  { head: 'paper: seconds an image', key: 'seconds', digits: 2 },
];

/** By the distance that was asked for, or the first scorer's features. */
const diversityOf = ({ diversity, verdicts }: ImageRow) =>
  diversity?.mean ?? verdicts.find((verdict) => verdict.diversity)?.diversity;

export const table4: Table = {
  title: 'Table 4: step-wise sampling',
  steps: (chain) => [sampling(chain)],
  async show(chain, results) {
    const { scorers, k, images, diversity } = chain.settings;
    const rows = results.images(sampling(chain));
    const own = (candidates: number): string[] => {
      const row = rows?.find(({ settings }) => settings.k === candidates);
      if (!row) return [...scorers, '', ''].map(() => NOT_RUN);
      const spread = diversityOf(row);
      return [
        ...scorers.map((_, at) => (row.verdicts[at] ? plusMinus(row.verdicts[at].score, 4) : NOT_RUN)),
        spread ? plusMinus(spread, 4) : UNKNOWN,
        row.seconds_per_image?.toFixed(2) ?? UNKNOWN,
      ];
    };
    const [first] = rows ?? [];
    const distance = diversity === '' ? "1 − cosine of the first scorer's image features" : diversity;
    return [
      say(
        `${chain.prompts} held-out prompts, ${images} ${images === 1 ? 'image' : 'images'} each${first ? `, ${first.settings.steps} steps, guidance ${first.settings.guidance}` : ''}; diversity: ${distance}, over pairs of a prompt's images. Seconds are those of the machine below, whatever else it was doing; the paper's of its GPU (512 pixels, 50 steps).`,
      ),
      tabulate(
        ['K', ...scorers, 'diversity', 'seconds an image', ...PAPER.map(({ head }) => head)],
        k.map((candidates) => [
          String(candidates),
          ...own(candidates),
          ...PAPER.map(({ key, digits }) => STEPWISE[candidates]?.[key]?.toFixed(digits) ?? UNKNOWN),
        ]),
      ),
    ];
  },
};
