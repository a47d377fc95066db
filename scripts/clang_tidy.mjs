import { runMain, SetupError } from './setup/errors.mjs';
import { root } from './setup/paths.mjs';
import { includeFolders, sources } from './tidy/sources.mjs';
import { tidy } from './tidy/tidy.mjs';
import { findClangTidy } from './tidy/tool.mjs';

await runMain(async () => {
  const wanted = sources(process.argv.slice(2));
  const { answer, ...tool } = await findClangTidy(console.error);
  if (answer)
    throw new SetupError(
      `[tidy] clang-tidy cannot be fetched: ${answer}. What to do: install pip for python3, or name one by DRM_CLANG_TIDY.`,
    );
  const { findings, read } = await tidy(tool, wanted, includeFolders);
  for (const { text } of findings) console.log(text.replaceAll(`${root}/`, ''));
  console.log(
    `tidy: ${findings.length} findings in ${read} files read, ${wanted.length - read} unchanged since they were clean`,
  );
  return findings.length > 0 ? 1 : 0;
});
