// Which charts tell about which kind of run.
import { escapeXml } from '../text/xml.js';
import { bucketOf, duration, perStep, quantity } from '../ui/figures.js';
import { againstK, rewardNote } from './algorithms.js';
import { type Chart, type ChartLine, chartFigure, tableHtml } from './chart.js';
import { type Axis, type Curve, curveOf, finalsOf, type Group, type Source, valueNames, type Xy } from './groups.js';
import { heatFigures } from './heat_map.js';
import { aboutOf, inOrder, isCost, levelOf, titleOf } from './measures.js';
import type { RecordedRun } from './read.js';
import { wholeNames } from './summary.js';

export interface Section {
  id: string;
  title: string;
  html: string;
}

/** What device time is counted in, by the longest run of the page. */
interface Clock {
  unit: string;
  seconds: number;
}

const runsOf = (groups: readonly Group[]): RecordedRun[] => groups.flatMap(({ runs }) => runs);

function clockOf(groups: readonly Group[]): Clock {
  const longest = Math.max(0, ...runsOf(groups).map(({ at }) => at.device));
  if (longest < 120) return { unit: 'device-seconds', seconds: 1 };
  return longest < 7200 ? { unit: 'device-minutes', seconds: 60 } : { unit: 'device-hours', seconds: 3600 };
}

const wide = (figures: readonly string[]): string => `<div class="grid wide">${figures.join('')}</div>`;
const small = (figures: readonly string[]): string => `<div class="grid">${figures.join('')}</div>`;

/** Samples are updates times what each learns from: the fairer axis where that differs. */
type Along = Axis | 'samples';

const samplesOf = ({ runs: [run] }: Group): number | undefined => run?.samplesPerUpdate;

/** One figure of all groups against an axis. */
class Charts {
  readonly clock: Clock;

  constructor(
    private readonly groups: readonly Group[],
    private readonly stepWord: string,
  ) {
    this.clock = clockOf(groups);
  }

  lines(source: Source, name: string, axis: Along, more: Partial<ChartLine> = {}): ChartLine[] {
    return this.groups.map((group) => ({
      name: group.label,
      colour: group.index,
      marks: source === 'evaluations',
      ...this.curve(group, source, name, axis),
      ...more,
    }));
  }

  /** In the axis's units. */
  curve(group: Group, source: Source, name: string, axis: Along): Curve {
    const scale = axis === 'device' ? 1 / this.clock.seconds : axis === 'samples' ? (samplesOf(group) ?? 0) : 1;
    const { points, band, tails } = curveOf(group, source, name, axis === 'samples' ? 'updates' : axis);
    const scaled = (points: readonly Xy[]) => points.map(({ x, y }) => ({ x: x * scale, y }));
    return {
      points: scaled(points),
      tails: tails.map(scaled),
      band: band.map(({ x, ...range }) => ({ x: x * scale, ...range })),
    };
  }

  chart(name: string, lines: ChartLine[], axis: Along, more: Partial<Chart> = {}): string {
    const [about, level] = [aboutOf(name), levelOf(name)];
    return chartFigure({
      title: titleOf(name),
      ...(about !== undefined && { about }),
      ...(level && { level }),
      xLabel: axis === 'device' ? this.clock.unit : axis === 'samples' ? axis : this.stepWord,
      lines,
      format: (value) => quantity(name, value),
      ...more,
    });
  }

  of(source: Source, name: string, axis: Along, more: Partial<Chart> = {}): string {
    return this.chart(name, this.lines(source, name, axis), axis, more);
  }
}

/** What device time is, and whose has more in it. */
function timeNote(runs: readonly RecordedRun[]): string {
  const whole = runs.filter(({ wholeTime }) => wholeTime).map(({ name }) => name);
  const but = `; that of ${whole.join(', ')}, of an older drm, has them in it`;
  return `<p>Device time is that of training steps, of all processes together; evaluations, images and checkpoints are left out${whole.length > 0 ? escapeXml(but) : ''}.</p>`;
}

/** Whether runs of one page compare by updates. */
function workloadNote(groups: readonly Group[]): string {
  if (groups.length < 2 || groups.some((group) => samplesOf(group) === undefined)) return '';
  if (!workloadsDiffer(groups)) return `<p>Every update learns from ${samplesOf(groups[0] as Group)} samples.</p>`;
  const each = groups.map((group) => `${group.label} ${samplesOf(group)}`);
  return `<p>Samples that an update learns from: ${escapeXml(each.join(', '))}. By updates alone these runs do not compare.</p>`;
}

const workloadsDiffer = (groups: readonly Group[]): boolean => new Set(groups.map(samplesOf)).size > 1;

/** Where each group first reached what another ended with. */
function reachTable(groups: readonly Group[], name: string, { clock }: Charts): string {
  const [first] = groups as [Group];
  const goal = finalsOf(first, 'evaluations', name);
  if (groups.length < 2 || !goal) return '';
  const reached = groups.map((group) => {
    const by = (axis: Axis) => curveOf(group, 'evaluations', name, axis).points.find(({ y }) => y >= goal.mean)?.x;
    const updates = by('updates');
    return {
      group,
      updates,
      samples: (updates ?? Number.NaN) * (samplesOf(group) ?? Number.NaN),
      device: by('device'),
    };
  });
  const [own] = reached as [(typeof reached)[number]];
  const share = (value: number | undefined, of: number | undefined) =>
    value === undefined || !of ? '' : ` (x ${(value / of).toPrecision(2)})`;
  const differ = workloadsDiffer(groups);
  const rows = reached.map(({ group, updates, samples, device }) => {
    const final = finalsOf(group, 'evaluations', name);
    const span = final && final.n > 1 ? ` (${quantity(name, final.low)} to ${quantity(name, final.high)})` : '';
    return [
      group.label,
      final ? `${quantity(name, final.mean)}${span}` : 'never measured',
      updates === undefined ? 'not reached' : `${Math.round(updates)}${share(updates, own.updates)}`,
      ...(differ
        ? [Number.isNaN(samples) ? 'not reached' : `${Math.round(samples)}${share(samples, own.samples)}`]
        : []),
      device === undefined ? 'not reached' : `${duration(device)}${share(device, own.device)}`,
    ];
  });
  const title = titleOf(name).toLowerCase();
  return `<h3>${escapeXml(titleOf(name))}, held out: who gets how far, and when</h3><p>Reached: the first evaluation at or above the ${quantity(name, goal.mean)} that ${escapeXml(first.label)} ended with${clock.seconds > 0 ? '; time is that of all processes together' : ''}. Behind it the share of what ${escapeXml(first.label)} needed.</p>${tableHtml(['run', `final ${title}`, 'reached at update', ...(differ ? ['reached after samples'] : []), 'reached after'], rows)}`;
}

/** Reward and judge by updates, by samples where updates differ in them, and by device time, the paper's Figures 2 and 7; the signs of learning or cheating. */
function policySections(groups: readonly Group[]): Section[] {
  const charts = new Charts(groups, 'updates');
  const runs = runsOf(groups);
  const measured = wholeNames(runs, 'evaluations');
  const heads = ['reward', 'judge'].filter((name) => measured.includes(name));
  const trained = wholeNames(runs, 'metrics').filter((name) => name !== 'reward' && !isCost(name));
  const axes: Along[] = ['updates', ...(workloadsDiffer(groups) ? (['samples'] as const) : []), 'device'];
  const both = (source: Source, name: string, more: Partial<Chart>) =>
    axes.map((axis) => charts.of(source, name, axis, more));
  const byCandidates = againstK(groups, heads);
  const learning = [
    workloadNote(groups),
    timeNote(runs),
    wide(heads.flatMap((name) => both('evaluations', name, heldOut(name)))),
    ...heads.map((name) => reachTable(groups, name, charts)),
    ...(byCandidates.length > 0 ? [`<h3>Against K</h3>${wide(byCandidates)}`] : []),
    `<h3>While training</h3>${rewardNote(runs)}`,
    wide(both('metrics', 'reward', { title: 'Reward of the rollouts' })),
  ];
  const images = measured.filter((name) => !heads.includes(name));
  return [
    { id: 'learning', title: 'Reward and judge', html: learning.join('') },
    {
      id: 'health',
      title: 'Learning or cheating?',
      html: small([
        ...images.map((name) => charts.of('evaluations', name, 'updates', heldOut(name))),
        ...trained.map((name) => charts.of('metrics', name, 'updates')),
      ]),
    },
    { id: 'steps', title: 'By denoising step', html: perStepHtml(groups) },
    costSection(charts, runs),
  ];
}

const heldOut = (name: string): Partial<Chart> => ({
  title: `${titleOf(name)}, held out`,
  ...(name === 'reward' && { about: 'of finished images of held-out prompts' }),
});

/** At the end of training, step by step, beside the beginning; then each figure over the whole training. */
function perStepHtml(groups: readonly Group[]): string {
  const parts = valueNames(runsOf(groups), 'metrics').flatMap((name) => perStep(name) ?? []);
  const names = inOrder([...new Set(parts.map(({ name }) => name))]);
  const stepsOf = (name: string) =>
    [...new Set(parts.filter((part) => part.name === name).map(({ step }) => step))].sort((a, b) => a - b);
  const profiles = names.map((name) =>
    chartFigure({
      title: titleOf(name),
      about: 'mean over the last tenth of training; step 0 is the noisiest',
      xLabel: 'denoising step',
      lines: groups.map((group) => {
        const finals = stepsOf(name).flatMap((x) => {
          const final = finalsOf(group, 'metrics', `${name}/${x}`);
          return final ? [{ x, y: final.mean, low: final.low, high: final.high }] : [];
        });
        const band = group.runs.length > 1 ? finals : [];
        return { name: group.label, colour: group.index, points: finals, band, marks: true };
      }),
      format: (value) => quantity(name, value),
      ...(levelOf(name) && { level: levelOf(name) as NonNullable<Chart['level']> }),
    }),
  );
  const maps = names.map((name) =>
    heatFigures(groups, { name, title: titleOf(name), about: aboutOf(name) }, stepsOf(name), (value) =>
      quantity(name, value),
    ),
  );
  if (names.length === 0) return '';
  return `${small(profiles)}${groups.length > 1 ? maps.join('') : small(maps)}`;
}

function costSection(charts: Charts, runs: readonly RecordedRun[]): Section {
  const names = wholeNames(runs, 'metrics').filter(isCost);
  return {
    id: 'cost',
    title: 'Time and memory',
    html: small(names.map((name) => charts.of('metrics', name, 'updates'))),
  };
}

/** Accuracy by the noise on the images: at the end, and each part over the whole training. */
function bucketHtml(groups: readonly Group[], charts: Charts): string {
  const runs = runsOf(groups);
  const all = [...new Set([...valueNames(runs, 'evaluations'), ...valueNames(runs, 'metrics')])].flatMap((full) => {
    const bucket = bucketOf(full);
    return bucket ? [{ full, ...bucket }] : [];
  });
  const families = inOrder([...new Set(all.map(({ name }) => name))]);
  return families
    .map((family) => {
      const buckets = all.filter(({ name }) => name === family).sort((a, b) => a.from - b.from);
      const profile = (source: Source) =>
        groups.map((group): ChartLine => {
          const points = buckets.flatMap(({ full, from, to }) => {
            const final = finalsOf(group, source, full);
            return final ? [{ x: (from + to) / 2, y: final.mean, low: final.low, high: final.high }] : [];
          });
          const name = source === 'metrics' ? `${group.label}, training` : group.label;
          const band = group.runs.length > 1 ? points : [];
          return {
            name,
            colour: group.index,
            points,
            band,
            marks: source === 'evaluations',
            faint: source === 'metrics',
          };
        });
      const [title, level] = [titleOf(family), levelOf(family)];
      const format = (value: number) => quantity(family, value);
      const final = chartFigure({
        title: `${title} by timestep`,
        about: 'at the end, each part at its middle; with marks: held out',
        xLabel: 'timestep (1000 × noise level σ)',
        lines: [...profile('evaluations'), ...profile('metrics')],
        format,
        ...(level && { level }),
      });
      const each = buckets.map(({ full, from, to }) =>
        charts.chart(full, bothLines(charts, full), 'step', {
          title: `${title}, timesteps ${from} to ${to} (σ ${from / 1000} to ${to / 1000})`,
          ...(level && { level }),
          format,
        }),
      );
      return `${wide([final])}${small(each)}`;
    })
    .join('');
}

/** Held-out figures before those that training saw. */
const bothLines = (charts: Charts, name: string): ChartLine[] => [
  ...charts.lines('evaluations', name, 'step'),
  ...charts.lines('metrics', name, 'step').map((line) => ({ ...line, name: `${line.name}, training`, faint: true })),
];

/** Of runs that lower a loss: training and held-out figures in one chart each. */
function lossSections(groups: readonly Group[]): Section[] {
  const charts = new Charts(groups, 'step');
  const runs = runsOf(groups);
  const measured = wholeNames(runs, 'evaluations');
  const names = inOrder([...new Set([...measured, ...wholeNames(runs, 'metrics').filter((name) => !isCost(name))])]);
  const beside = (name: string) =>
    measured.includes(name) ? bothLines(charts, name) : charts.lines('metrics', name, 'step');
  const heads = names.filter((name) => ['loss', 'accuracy'].includes(name));
  const timed = heads.flatMap((name) =>
    measured.includes(name)
      ? [charts.of('evaluations', name, 'device', { title: `${titleOf(name)}, held out, by time` })]
      : [],
  );
  return [
    {
      id: 'learning',
      title: 'Learning',
      html: `<p>With marks: held out. Pale: what training saw.</p>${timed.length > 0 ? timeNote(runs) : ''}${wide([...heads.map((name) => charts.chart(name, beside(name), 'step')), ...timed])}${small(names.filter((name) => !heads.includes(name)).map((name) => charts.chart(name, beside(name), 'step')))}`,
    },
    { id: 'timesteps', title: 'By timestep', html: bucketHtml(groups, charts) },
    costSection(charts, runs),
  ];
}

const isPolicy = ({ runs: [run] }: Group): boolean => run?.config.task.startsWith('grpo') === true;

/** Of one kind of run after the other, since their figures do not compare. */
export function chartSections(groups: readonly Group[]): Section[] {
  const tasks = [...new Set(groups.map(({ runs: [run] }) => run?.config.task ?? ''))];
  return tasks.flatMap((task, i) => {
    const own = groups.filter(({ runs: [run] }) => run?.config.task === task);
    const sections = own.some(isPolicy) ? policySections(own) : lossSections(own);
    return sections
      .filter(({ html }) => html.includes('<figure') || html.includes('<table'))
      .map(({ id, title, html }) => ({
        id: i === 0 ? id : `${id}-${i + 1}`,
        title: tasks.length > 1 ? `drm ${task}: ${title.toLowerCase()}` : title,
        html,
      }));
  });
}
