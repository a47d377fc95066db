// What other tools call the options of sampling: these flags work, too, and are not shown in help.

/** diffusers; ComfyUI and A1111 say steps as we do. */
export const STEPS_ELSEWHERE = ['--num-inference-steps <n>', '--sampling-steps <n>'] as const;

/** diffusers; A1111. */
export const GUIDANCE_ELSEWHERE = ['--guidance-scale <scale>', '--cfg-scale <scale>', '--cfg <scale>'] as const;

/** diffusers; its scripts. */
export const COUNT_ELSEWHERE = ['--num-images-per-prompt <n>', '--num-images <n>'] as const;
