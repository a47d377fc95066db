// temporary: replaced below
export async function fetchWheel() { return { answer: 'not built yet' }; }
export async function fetchArchive() { return { answer: 'not built yet' }; }
