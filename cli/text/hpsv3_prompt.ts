// The text that HPSv3 reads: a chat with one image, in which an instruction of its authors surrounds the prompt. Their
// wording comes in a file beside the checkpoint, since every character of it counts and it is not ours to pass on.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DrmError } from '../../binding/error.js';
import { fileFault, type JsonFile, readShaped } from '../common/json.js';
import { matching, objectOf, optional, text } from '../common/shape.js';

export const PROMPT_FILE = 'hpsv3_prompt.json';
/** Where the prompt goes in the instruction. */
const SLOT = '{text_prompt}';
/** SHA-256 of instruction and tail, one after the other, that the published checkpoint was trained with. */
const PUBLISHED = 'f6ee57479d4e9eee76b49c00dc962e1e696a5a2b3cc32cebd9b1fa76fe27502c';

export const IMAGE_TOKEN = '<|image_pad|>';
export const REWARD_TOKEN = '<|Reward|>';

/** Writes PROMPT_FILE from the authors' package, of which it runs nothing. */
const COMMAND = `pip download --no-deps hpsv3==1.0.0 && python3 -c "import ast,json,sys,zipfile;s=zipfile.ZipFile(sys.argv[1]).read('hpsv3/dataset/data_collator_qwen.py');c={n.targets[0].id:n.value for n in ast.parse(s).body if isinstance(n,ast.Assign)};t=lambda k:ast.literal_eval(c[k]);print(json.dumps({'instruction':t('INSTRUCTION'),'tail':t('prompt_with_special_token')}))" hpsv3-1.0.0-py3-none-any.whl > ${PROMPT_FILE}`;

const FILE: JsonFile = { part: 'hpsv3', advice: `make it again: ${COMMAND}` };
const CONFIG: JsonFile = { part: 'hpsv3', advice: "compare with the model's original config.json", code: 'BAD_CONFIG' };

interface Wording {
  /** Holds SLOT once. */
  instruction: string;
  /** After it; holds REWARD_TOKEN once. */
  tail: string;
}

/** What surrounds a prompt. */
export class Hpsv3Prompt {
  private constructor(private readonly wording: Wording) {}

  /**
   * Reads hpsv3_prompt.json of a checkpoint's folder: {"instruction", "tail"}. It must be the published text, to the
   * character, unless the model's config.json states the digest of another: `instruction_sha256`, of both one after the
   * other, for miniatures and for models that were trained with a text of their own. Throws DrmError BAD_FILE, which says
   * how to make the file, or BAD_CONFIG.
   */
  static read(folder: string, config: string): Hpsv3Prompt {
    const file = join(folder, PROMPT_FILE);
    if (!existsSync(file))
      throw new DrmError(
        'BAD_FILE',
        `[hpsv3] ${file}: expected the instruction that HPSv3 was trained with, found nothing; its authors' package has it. In that folder: ${COMMAND}`,
        { file },
      );
    const wording = readShaped(file, objectOf<Wording>({ instruction: text, tail: text }), FILE);
    const stated = readShaped(config, STATED, CONFIG).instruction_sha256;
    const found = createHash('sha256').update(wording.instruction).update(wording.tail).digest('hex');
    if (found !== (stated ?? PUBLISHED))
      throw fileFault(
        file,
        `expected the text with SHA-256 ${stated ?? PUBLISHED}${stated === undefined ? ', which is the published one' : ` (${config})`}, found ${found}; scores mean nothing after another text`,
        FILE,
      );
    if (wording.instruction.split(SLOT).length !== 2)
      throw fileFault(file, `expected ${SLOT} once in the instruction`, FILE);
    if (wording.tail.split(REWARD_TOKEN).length !== 2)
      throw fileFault(file, `expected ${REWARD_TOKEN} once in the tail`, FILE);
    return new Hpsv3Prompt(wording);
  }

  /** The chat about one image, which a single IMAGE_TOKEN stands for. Throws DrmError BAD_REQUEST. */
  chat(prompt: string): string {
    // Anything else may be said in a prompt; these would be taken for the image and for the place of the score.
    for (const token of [IMAGE_TOKEN, REWARD_TOKEN])
      if (prompt.includes(token))
        throw new DrmError(
          'BAD_REQUEST',
          `[hpsv3] "${prompt.slice(0, 40)}": expected a prompt without ${token}, which has a meaning of its own to this model; leave it out`,
        );
    const { instruction, tail } = this.wording;
    const said = instruction.split(SLOT).join(prompt) + tail;
    return `${turn('system', 'You are a helpful assistant.')}${turn('user', `<|vision_start|>${IMAGE_TOKEN}<|vision_end|>${said}`)}<|im_start|>assistant\n`;
  }
}

const turn = (role: string, said: string): string => `<|im_start|>${role}\n${said}<|im_end|>\n`;

const STATED = objectOf<{ instruction_sha256?: string }>({
  instruction_sha256: optional(matching(/^[0-9a-f]{64}$/, 'a SHA-256 of 64 digits')),
} as { instruction_sha256: ReturnType<typeof optional<string>> });
