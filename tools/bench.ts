/**
 * Measures: `npm run bench`. Prints a table with what each figure may be and what a plain thing does in the same run;
 * `--write` puts it into docs/performance.md, too. `npm run bench -- start pods` measures those only. Ends with code 1 when
 * a figure is over its budget.
 */
import { writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatTable } from "../src/commands/print-table.ts";
import { formatTime, ioClock } from "../src/machinery/clock.ts";
import { version } from "../src/machinery/version.ts";
import { api } from "../test/bench/api.ts";
import { idle } from "../test/bench/idle.ts";
import { images } from "../test/bench/images.ts";
import { type Figure, type Measurement, tableOf, within } from "../test/bench/measurement.ts";
import { pods } from "../test/bench/pods.ts";
import { start } from "../test/bench/start.ts";
import { writes } from "../test/bench/writes.ts";
import { engineVersion } from "./engine.ts";
import { bundleTask, imageTasks } from "./images.ts";
import { platforms } from "./platforms.ts";
import { runTasks } from "./tasks.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** One after the other: what runs beside it would be measured, too. */
const measurements: readonly Measurement[] = [images, start, pods, writes, idle, api];

const args = process.argv.slice(2);
const wanted = args.filter((arg) => !arg.startsWith("-"));
const unknown = args.find((arg) => arg !== "--write" && !measurements.some(({ name }) => name === arg));
if (unknown !== undefined) {
  const names = measurements.map(({ name }) => name).join(", ");
  console.error(`Unknown measurement or option "${unknown}"; there are ${names}, and --write.`);
  process.exit(64);
}
if (args.includes("--write") && wanted.length > 0) {
  console.error("--write replaces docs/performance.md: leave out the names of measurements.");
  process.exit(64);
}

const figures: Figure[] = [];
const notes: string[] = [];
const chosen = measurements.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const measured = await runTasks([
  ...(chosen.every(({ needs }) => needs === "bundle") ? [bundleTask] : imageTasks()),
  ...(chosen.some(({ needs }) => needs === "platforms") ? imageTasks(platforms) : []),
  ...chosen.map((measurement) => ({
    title: `Measure ${measurement.name}`,
    task: async (_: unknown, task: { output: string }) => {
      const result = await measurement.run((line) => {
        task.output = line;
      });
      figures.push(...result.figures);
      if (result.notes) notes.push("", ...result.notes);
    },
  })),
]);
if (!measured && figures.length === 0) process.exit();

const [head, ...rows] = tableOf(figures);
console.log(`\n${formatTable(head!, rows)}${notes.join("\n")}`);
if (!figures.every(within)) process.exitCode = 1;
if (measured && args.includes("--write")) {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Docker Engine ${await engineVersion()}`;
  const text = `# Performance

Made by \`npm run bench -- --write\` on ${formatTime(ioClock.now()).slice(0, 10)}, k3ts ${version}. Machine: ${machine}. A figure means little on another
machine; beside it stands what a plain thing took in the same run, and the ratio of the two travels.

${[head!, head!.map(() => "---"), ...rows].map(line).join("\n")}
${notes.join("\n")}
`;
  writeFileSync(join(root, "docs/performance.md"), text);
}
process.exit();
