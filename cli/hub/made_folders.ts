// Folders that were made of what a name means, such as the model of a run's checkpoint: whoever resolves the name finds them.

const made = new Map<string, string>();

export const rememberFolder = (name: string, folder: string): void => {
  made.set(name, folder);
};

export const madeFolder = (name: string): string | undefined => made.get(name);
