/**
 * Measures: `npm run bench`. Prints a table with what each figure may be and what a plain thing does in the same run;
 * `--write` puts it into docs/performance.md, too, each measurement into its own section. `npm run bench -- start pods`
 * measures those only. Ends with code 1 when a figure is over its budget.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatTable } from "../src/commands/print-table.ts";
import { formatTime, ioClock } from "../src/machinery/clock.ts";
import { version } from "../src/machinery/version.ts";
import { api } from "../test/bench/api.ts";
import { checker } from "../test/bench/checker.ts";
import { idle } from "../test/bench/idle.ts";
import { images } from "../test/bench/images.ts";
import { type Measured, type Measurement, type Need, tableOf, within } from "../test/bench/measurement.ts";
import { pods } from "../test/bench/pods.ts";
import { servers } from "../test/bench/servers.ts";
import { start } from "../test/bench/start.ts";
import { stores } from "../test/bench/stores.ts";
import { writes } from "../test/bench/writes.ts";
import { replaceSection } from "./document-section.ts";
import { engineVersion } from "./engine.ts";
import { bundleTask, databaseImageTasks, imageTasks } from "./images.ts";
import { platforms } from "./platforms.ts";
import { runTasks } from "./tasks.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** One after the other: what runs beside it would be measured, too. */
const measurements: readonly Measurement[] = [images, start, pods, writes, idle, api, stores, servers, checker];

const args = process.argv.slice(2);
const wanted = args.filter((arg) => !arg.startsWith("-"));
const unknown = args.find((arg) => arg !== "--write" && !measurements.some(({ name }) => name === arg));
if (unknown !== undefined) {
  const names = measurements.map(({ name }) => name).join(", ");
  console.error(`Unknown measurement or option "${unknown}"; there are ${names}, and --write.`);
  process.exit(64);
}

const chosen = measurements.filter(({ name, onlyWhenNamed }) =>
  wanted.length === 0 ? !onlyWhenNamed : wanted.includes(name),
);
// What a measurement started ends with this process, also when it is interrupted.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => process.exit(130));
const needs = new Set<Need>(chosen.flatMap(({ needs = ["images"] }) => needs));
const results: { readonly name: string; readonly measured: Measured }[] = [];
const done = await runTasks([
  ...(needs.has("images") || needs.has("platforms") ? imageTasks() : [bundleTask]),
  ...(needs.has("platforms") ? imageTasks(platforms) : []),
  ...(needs.has("databases") ? databaseImageTasks() : []),
  ...chosen.map((measurement) => ({
    title: `Measure ${measurement.name}`,
    task: async (_: unknown, task: { output: string }) => {
      const measured = await measurement.run((line) => {
        task.output = line;
      });
      results.push({ name: measurement.name, measured });
      // At once: what comes after it may fail or be cut off.
      if (args.includes("--write")) await write(measurement.name, measured);
    },
  })),
]);
const figures = results.flatMap(({ measured }) => measured.figures);
if (figures.length > 0) {
  const [head, ...rows] = tableOf(figures);
  const notes = results.flatMap(({ measured: { notes } }) => (notes ? ["", ...notes] : []));
  console.log(`\n${formatTable(head!, rows)}${notes.join("\n")}`);
}
process.exit(done && figures.every(within) ? 0 : 1);

/** Puts what was measured into its section of the page, with what it was measured on. */
async function write(name: string, { figures, notes = [], section }: Measured): Promise<void> {
  const [head, ...rows] = tableOf(figures);
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? "unknown"}, ${Math.round(totalmem() / 2 ** 30)} GiB, Docker Engine ${await engineVersion()}`;
  const made = `Measured on ${formatTime(ioClock.now()).slice(0, 10)}, k3ts ${version}, ${machine}.`;
  const table = [head!, head!.map(() => "---"), ...rows].map(line).join("\n");
  replaceIn("performance.md", name, [`## ${name}`, made, table, notes.join("\n")].join("\n\n"));
  if (section) replaceIn(section.file, section.name, `${section.text.trim()}\n\n${made}`);
}

function replaceIn(file: string, name: string, text: string): void {
  const path = join(root, "docs", file);
  writeFileSync(path, replaceSection(existsSync(path) ? readFileSync(path, "utf8") : "", name, text));
}
