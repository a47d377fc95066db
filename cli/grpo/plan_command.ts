// `drm grpo --plan`: what a run will consist of and cost, without loading a model. `--dry-run`: the same, measured by one
// step of every phase. Neither writes anything.
import { describeModel, runtimeInfo, setThreads } from '../../binding/index.js';
import type { Context } from '../common/command.js';
import { chooseDevice } from '../common/device.js';
import type { GrpoSettings } from '../config/types.js';
import type { ParallelOptions } from '../parallel/options.js';
import { rankOf } from '../parallel/rank.js';
import { Team } from '../parallel/team.js';
import { loadTokenizers } from '../text/tokenizer.js';
import { duration, shortNumber } from '../ui/figures.js';
import { adapterNumbers, estimate, fileBytes, machineOf, networkOf, overall, type Phase } from './estimate.js';
import type { Geometry } from './geometry.js';
import { type FoundPolicy, findPolicy, loadPolicy } from './load_policy.js';
import { planner, sharesOf } from './plan.js';
import { costText, geometryText, note } from './plan_report.js';
import type { PolicyTrainer } from './policy_parts.js';
import { PolicyTask } from './policy_task.js';

/** How many would train, by --nproc or by the launcher's environment; they are not started for this. */
function processesOf({ options }: Context<ParallelOptions>): number {
  return options.nproc ?? rankOf(process.env)?.size ?? 1;
}

async function prepared(s: GrpoSettings, context: Context<ParallelOptions>) {
  const { global, events } = context;
  if (global.threads !== undefined) setThreads(global.threads);
  const { device, dtype } = await chooseDevice(s);
  const found = await findPolicy(s, { size: processesOf(context) }, events);
  planner(s, found.geometry, found.lists.train.length); // whether there are prompts enough
  const heldOut = Math.min(found.lists.heldOut?.prompts.length ?? 0, s.evaluate_samples);
  events.emit({
    event: 'started',
    version: 1,
    command: 'grpo',
    facts: { model: s.model, reward: s.reward, device, dtype, prompts: found.lists.train.length, held_out: heldOut },
  });
  return { found, device, dtype, heldOut };
}

function networks(s: GrpoSettings, { base, reward }: FoundPolicy) {
  const { clipLength } = loadTokenizers(base.tokenizers);
  const policy = describeModel({ source: base.source, size: s.size, textTokens: clipLength + s.t5_length });
  const size = s.size || policy.defaultSize;
  const rewards = reward.latent.map(({ spec, description: own }) =>
    networkOf(
      describeModel({
        ...{ checkpoint: spec.checkpoint, source: base.source, size },
        textTokens: clipLength + (own?.t5_length ?? s.t5_length),
      }),
    ),
  );
  return { policy, rewards, size, latentNumbers: policy.latentNumbers };
}

export async function showPlan(s: GrpoSettings, context: Context<ParallelOptions>): Promise<void> {
  const { events } = context;
  const began = performance.now();
  const { found, device, dtype, heldOut } = await prepared(s, context);
  const { source } = found.base;
  const { policy: described, ...shapes } = networks(s, found);
  const policy = networkOf(described);
  const machine = machineOf(device, dtype, runtimeInfo());
  const plan = estimate({
    ...{ settings: s, geometry: found.geometry, policy, ...shapes, dtype, machine, heldOut },
    otherBytes: fileBytes([source.vae, source.textEncoder, source.textEncoder2, source.textEncoder3]),
    adapter: adapterNumbers(s, described),
  });
  const scorers = found.reward.images.map(({ reward }) => reward.name);
  const text = [
    geometryText(s, found.geometry),
    '',
    costText(plan, found.geometry, 'peak memory'),
    note(
      `Estimated from the shapes of the networks, for ${machine.name}, of which ${shortNumber(machine.rate / 1e12)} TFLOP/s are assumed${scorers.length > 0 ? `, without ${scorers.join(' and ')}` : ''}. --dry-run measures one step of every phase.`,
    ),
  ].join('\n');
  events.emit({ event: 'result', text, data: { geometry: found.geometry, ...plan } });
  events.emit({ event: 'done', seconds: (performance.now() - began) / 1000, facts: {} });
}

/** Bytes that are in use: on a GPU now, which its allocator never gives back; on a CPU the most there ever were. */
function memoryNow(device: string): number {
  if (!device.startsWith('cuda')) return process.resourceUsage().maxRSS * 1024;
  const gpu = runtimeInfo().gpus[Number(device.split(':')[1] ?? 0)];
  return gpu ? gpu.totalBytes - gpu.freeBytes : 0;
}

type Measured = Record<Phase['name'], number>;

/** The trainer, with what memory each of its phases had come to. */
function watched(trainer: PolicyTrainer, device: string): { trainer: PolicyTrainer; memory: Measured } {
  const memory: Measured = { rollout: 0, reward: 0, update: 0, evaluation: 0 };
  const after =
    (...phases: Phase['name'][]) =>
    <T>(value: T): T => {
      for (const phase of phases) memory[phase] = memoryNow(device);
      return value;
    };
  return {
    memory,
    trainer: {
      spread: trainer.spread,
      parameters: trainer.parameters,
      rollout: (...given) => trainer.rollout(...given).then(after('rollout', 'reward')),
      ratioError: (...given) => trainer.ratioError(...given),
      step: (...given) => trainer.step(...given).then(after('update')),
      sample: (...given) => trainer.sample(...given).then(after('evaluation')),
      save: (...given) => trainer.save(...given),
      restore: (...given) => trainer.restore(...given),
      export: (...given) => trainer.export(...given),
    },
  };
}

/** One network call's trajectories of the first iteration, and what else makes it an iteration. */
function firstCall(s: GrpoSettings, { geometry, lists }: FoundPolicy) {
  const plan = planner(s, geometry, lists.train.length)(0);
  const positions = sharesOf(geometry, 0)[0]?.[0] ?? [];
  const rows = positions.length;
  const small: Geometry = {
    ...geometry,
    trajectories: rows,
    updates: 1,
    samples: rows * geometry.k,
    processes: 1,
    rows,
    batch: rows,
  };
  return {
    plan: { ...plan, trajectories: positions.map((at) => plan.trajectories[at] as (typeof plan.trajectories)[0]) },
    small,
  };
}

export async function dryRun(s: GrpoSettings, context: Context<ParallelOptions>): Promise<void> {
  const { events, signal } = context;
  const began = performance.now();
  const { found, device, dtype, heldOut } = await prepared(s, context);
  const task = { events, signal, device, dtype, team: Team.solo };
  const { parts, close } = await loadPolicy(s, found, task);
  try {
    const loaded = (performance.now() - began) / 1000;
    events.emit({ event: 'info', message: `loaded in ${duration(loaded)}; one step of every phase follows` });
    const { trainer, memory } = watched(parts.trainer, device);
    const { plan, small } = firstCall(s, found);
    const policy = new PolicyTask(s, { ...parts, trainer, geometry: small, heldOut: undefined }, task);
    const values = await policy.step(0, plan, s.learning_rate);
    const shown = parts.heldOut?.prompts.slice(0, s.batch) ?? [];
    const looked = performance.now();
    if (shown.length > 0) await parts.heldOut?.only(shown, trainer).look(signal);
    const evaluation = (performance.now() - looked) / 1000;

    const { geometry } = found;
    const calls = geometry.updates * Math.ceil(geometry.rows / geometry.batch);
    const { policy: described, rewards } = networks(s, found);
    const counted = estimate({
      ...{ settings: s, geometry, policy: networkOf(described), rewards, dtype, heldOut },
      ...{ machine: machineOf(device, dtype, runtimeInfo()), latentNumbers: 0, size: 0, otherBytes: 0, adapter: 0 },
    });
    const seconds: Measured = {
      rollout: calls * (values.rollout_seconds ?? 0),
      reward: calls * (values.reward_seconds ?? 0),
      update: calls * (values.update_seconds ?? 0),
      evaluation: shown.length > 0 ? (evaluation * heldOut) / shown.length : 0,
    };
    const phases = counted.phases.map((phase) => ({
      ...phase,
      seconds: seconds[phase.name],
      bytes: memory[phase.name],
    }));
    const costs = { phases, ...overall(phases, s) };
    const text = [
      geometryText(s, geometry),
      '',
      costText(costs, geometry, device === 'cpu' ? 'memory by then' : 'GPU memory by then'),
      note(
        `Measured with ${small.rows} trajectories, one network call, and ${shown.length} held-out images, and multiplied; what the first calls of a program cost is in it. Memory is all that this process had taken by the end of the phase${device === 'cpu' ? '' : ', with all others on the device'}.`,
      ),
    ].join('\n');
    events.emit({ event: 'result', text, data: { geometry, ...costs, values } });
  } finally {
    await close();
  }
  events.emit({ event: 'done', seconds: (performance.now() - began) / 1000, facts: {} });
}
