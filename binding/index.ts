// The only door to the native core. Importing it loads nothing: the addon is loaded by the first call that needs it.
import { callNative } from './native.js';
import type {
  BuildInfo,
  DescribeRequest,
  ModelDescription,
  RuntimeInfo,
  StepAdvantages,
  StepAdvantagesRequest,
} from './types.js';

export { DataSetEncoder } from './encoder.js';
export { DrmError, ERROR_CODES, type ErrorCode, type ErrorDetails } from './error.js';
export { convertLora, inspectLora, mergeLoras } from './lora.js';
export { Pipeline } from './pipeline.js';
export { ProcessGroup, parallelInfo } from './process_group.js';
export { RewardModel } from './reward_model.js';
export { cmmd, letterboxImages, resizeImages, Scorer } from './scorer.js';
export { PolicyTrainer, Trainer } from './trainer.js';
export type * from './types.js';
export { componentsInside, tensorNames } from './weights.js';

/** Library versions, CPU features, GPUs. Asking for the GPUs creates no CUDA context. */
export function runtimeInfo(): RuntimeInfo {
  return callNative((addon) => addon.runtimeInfo());
}

/** Threads that one operation may use, for all pipelines of the process. Throws BAD_REQUEST outside 1..4096. */
export function setThreads(count: number): void {
  callNative((addon) => addon.setThreads(count));
}

/** What the loaded addon was built from. */
export function buildInfo(): BuildInfo {
  return callNative((addon) => addon.buildInfo());
}

/**
 * A model by its configs and the shapes of its weights, which are not read. Throws BAD_FILE or BAD_CONFIG, as loading it
 * would.
 */
export function describeModel(request: DescribeRequest): ModelDescription {
  return callNative((addon) => addon.describeModel(request));
}

/** How much better each reward is than those it is compared with (Eq. 11, Eq. 3); see csrc/rl/step_advantages.h. */
export function stepAdvantages(request: StepAdvantagesRequest): StepAdvantages {
  return callNative((addon) => addon.stepAdvantages(request));
}
