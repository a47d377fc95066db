// The paper's figures as far as they are known here, in its units (docs/reproduction.md, docs/benchmarks.md). What is not
// here is not known, and is never filled in.

/** Table 1, accuracy in percent by set; several rows are quoted from older papers and mix protocols. */
export const ACCURACY: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  'drm-512': { imagereward: 64.1, pickapic: 73.4, hpdv2: 82.2, hpdv3: 74.0 },
  'drm-256': { imagereward: 62.9, pickapic: 72.1, hpdv2: 80.1, hpdv3: 71.9 },
  hpsv3: { imagereward: 66.8, pickapic: 72.8, hpdv2: 85.4, hpdv3: 76.9 },
  hpsv2: { imagereward: 65.7, pickapic: 63.8, hpdv2: 83.3, hpdv3: 65.3 },
  pickscore: { imagereward: 61.6, pickapic: 70.5, hpdv2: 79.8, hpdv3: 65.6 },
  imagereward: { imagereward: 65.1, pickapic: 61.1, hpdv2: 74.0, hpdv3: 58.6 },
  'clip-h': { imagereward: 57.1, pickapic: 60.8, hpdv2: 65.1, hpdv3: 48.6 },
};

export const SETS: Readonly<Record<string, string>> = {
  imagereward: 'ImageReward',
  pickapic: 'Pick-a-Pic',
  hpdv2: 'HPDv2',
  hpdv3: 'HPDv3',
};

/** Table 2, on HPDv3, by what its column is called. */
export const BY_TIMESTEP: Readonly<Record<number, number>> = { 0: 74.0, 500: 73.0, 750: 65.11 };

export interface ImageFigures {
  imagereward?: number;
  /** On no scale that is documented for PickScore. */
  pickscore?: number;
  hpsv3?: number;
  lpips?: number;
  seconds?: number;
}

/** Table 3, whose other rows are not known. */
export const BASE: ImageFigures = { imagereward: 1.01, pickscore: 16.76, hpsv3: 8.95 };

/** Table 4, by K: SD3.5-Medium, 512 pixels, 50 steps, on the authors' GPU. */
export const STEPWISE: Readonly<Record<number, ImageFigures>> = {
  1: { imagereward: 1.01, hpsv3: 8.95, lpips: 0.65, seconds: 2.88 },
  2: { imagereward: 1.08, hpsv3: 9.02, lpips: 0.661, seconds: 5.63 },
  4: { imagereward: 1.14, hpsv3: 9.32, lpips: 0.663, seconds: 7.75 },
  6: { imagereward: 1.15, hpsv3: 9.49, lpips: 0.662, seconds: 9.83 },
};

/** Section 4.2: what Step-GRPO needs to come to where Flow-GRPO ends. */
export const FEWER = { updates: 2.5, time: 3.5 };
