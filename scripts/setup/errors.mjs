// Failures that the person at the keyboard can mend. Anything else that is thrown is a bug and keeps its stack.

/** `message` says where, what was expected, what was found and what to do; `exitCode` follows the CLI's table. */
export class SetupError extends Error {
  constructor(message, exitCode = 4) {
    super(message);
    this.name = 'SetupError';
    this.exitCode = exitCode;
  }
}

/** Runs a script's main function and turns what it throws into an exit code. */
export async function runMain(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    if (error instanceof SetupError) {
      console.error(error.message);
      process.exitCode = error.exitCode;
    } else {
      console.error(error);
      process.exitCode = 1;
    }
  }
}
