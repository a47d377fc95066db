// Token ids of prompts, for the policy and for the reward models, which may read another number of T5's tokens.
import type { PromptTokens } from '../../binding/types.js';
import type { PromptTokenizer } from '../text/tokenizer.js';
import { Texts } from '../train/tasks/texts.js';

export class PromptTexts {
  constructor(
    private readonly tokenizer: Pick<PromptTokenizer, 'encode'>,
    private readonly length: { policy: number; reward: number | undefined },
    private readonly onCut: (prompt: string) => void = () => {},
  ) {}

  /** What a request says of the prompts of its trajectories or images, each prompt once. */
  async request(prompts: readonly string[]): Promise<{
    prompts: PromptTokens[];
    rewardPrompts?: PromptTokens[];
    negative: PromptTokens;
    promptOf: number[];
  }> {
    const { policy, reward } = this.length;
    const texts = new Texts();
    const promptOf = prompts.map((prompt) => texts.row(prompt));
    return {
      prompts: await this.#tokens(texts.all, policy),
      ...(reward !== undefined && reward !== policy && { rewardPrompts: await this.#tokens(texts.all, reward) }),
      negative: (await this.tokenizer.encode('', policy)).tokens,
      promptOf,
    };
  }

  async #tokens(prompts: readonly string[], length: number): Promise<PromptTokens[]> {
    const all: PromptTokens[] = [];
    for (const prompt of prompts) {
      const { tokens, truncated } = await this.tokenizer.encode(prompt, length);
      if (truncated.length > 0) this.onCut(prompt);
      all.push(tokens);
    }
    return all;
  }
}
