// The machine and the libtorch that a record holds for: a matrix product's last bits depend on them.
import { cpus } from 'node:os';
import { type Product, THREADS } from './run.js';

export interface Machine {
  cpu: string;
  capability: string;
  libtorch: string;
  threads: string;
}

/** By `drm doctor`, and where that is of another form, its words: any difference of them is one. */
export async function machineOf(product: Product): Promise<Machine> {
  const { code, stdout, stderr } = await product.run(['doctor']);
  const said = (name: string) => new RegExp(`^\\w+ +${name} {2,}(.+)$`, 'm').exec(stdout)?.[1];
  const [libtorch, capability] = [said('libtorch'), said('CPU')];
  if (libtorch === undefined || capability === undefined)
    throw new Error(`drm doctor ended with ${code} and named no libtorch and CPU: ${stderr || stdout}`);
  return { cpu: cpus()[0]?.model ?? 'unknown', capability, libtorch, threads: String(THREADS) };
}

/** "libtorch: 2.13.0 in the record, 2.12.0 here" for each thing that differs. */
export const machineDifferences = (recorded: Machine, found: Machine): string[] =>
  (Object.keys(found) as (keyof Machine)[])
    .filter((name) => recorded[name] !== found[name])
    .map((name) => `${name}: ${recorded[name]} in the record, ${found[name]} here`);
