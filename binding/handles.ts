// Native objects as JavaScript holds them.

/** A native object behind a type tag; only the addon can look inside. */
export type Handle<Kind extends string> = { readonly [kind in Kind]: never };
export type PipelineHandle = Handle<'pipeline'>;
export type GroupHandle = Handle<'processGroup'>;
export type TrainerHandle = Handle<'trainer'>;
export type PolicyHandle = Handle<'policy'>;
export type EncoderHandle = Handle<'encoder'>;
export type RewardModelHandle = Handle<'rewardModel'>;
export type ScorerHandle = Handle<'scorer'>;
export type TestHandle = Handle<'test'>;
