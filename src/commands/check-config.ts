import { findProblems } from "../agent/host/preflight.ts";

/** `k3ts check-config`: tells what this machine lacks to run a node. @returns 1 when anything is missing */
export async function checkConfig(): Promise<number> {
  const problems = await findProblems();
  for (const { thing, message, remedy } of problems) process.stdout.write(`- ${thing}: ${message}; ${remedy}\n`);
  process.stdout.write(problems.length === 0 ? "STATUS: pass\n" : `STATUS: ${problems.length} (fail)\n`);
  return problems.length === 0 ? 0 : 1;
}
