// Everything that crosses the native boundary.
export type * from './model_types.js';
export type * from './training_types.js';
