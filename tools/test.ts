/**
 * All checks, from the quick to the slow: `npm test`. Stops at the first stage that fails.
 *
 * `npm test -- unit api` runs the named stages only; the stages are lint, unit, api, fuzz, conformance,
 * store, e2e, several-servers and architectures.
 *
 * A test file that fails is run once more, alone. Where it passes then, the stage passes and the summary names the
 * test as unsteady: it is to be mended, but one race in some thousand tests does not hide what all others say.
 */
import { spawn } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ioClock } from "../src/machinery/clock.ts";
import { type ClusterKindName, clusterKindVariable } from "../test/support/cluster-kind.ts";
import type { FailedTest } from "./failed-tests.ts";
import { databaseImageTasks, imageTasks } from "./images.ts";
import { platforms } from "./platforms.ts";
import { runTasks } from "./tasks.ts";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const bin = (name: string) => join(root, "node_modules/.bin", name);

interface Stage {
  name: string;
  run(): Promise<boolean>;
}

/** Every change of it is seen in the stages' order: what is cheap to find out comes first. */
const stages: Stage[] = [
  {
    name: "lint",
    run: async () => {
      if (!(await command(process.execPath, ["tools/generate.ts"]))) return false;
      const results = await Promise.all([
        command(bin("biome"), ["check", "--error-on-warnings"]),
        command(bin("tsc"), ["--noEmit"]),
        command(process.execPath, ["tools/check-imports.ts"]),
        command(process.execPath, ["tools/conformance.ts", "--check"]),
      ]);
      return results.every(Boolean);
    },
  },
  { name: "unit", run: () => nodeTest("test/unit/**/*.test.ts", { timeoutMs: 120_000 }) },
  { name: "api", run: () => nodeTest("test/api/**/*.test.ts", { timeoutMs: 300_000 }) },
  // A minute of hostile requests, other ones for each commit; what it finds can be repeated by the seed that it prints.
  { name: "fuzz", run: () => command(process.execPath, ["test/fuzz/run.ts"]) },
  {
    // Mostly waiting for controllers: two files at once keep the stage short.
    name: "conformance",
    run: () => nodeTest("test/conformance/**/*.test.ts", { timeoutMs: 300_000, concurrency: 2 }),
  },
  {
    // The stores on real databases, and what they withstand.
    name: "store",
    run: async () => {
      if (!(await runTasks(databaseImageTasks()))) return false;
      return nodeTest("test/store/**/*.test.ts", { timeoutMs: 600_000, concurrency: 2 });
    },
  },
  {
    name: "e2e",
    run: async () => {
      if (!(await runTasks([...imageTasks(), ...databaseImageTasks()]))) return false;
      return nodeTest("test/e2e/**/*.test.ts", onClusters);
    },
  },
  {
    // What works on a cluster of one server works on those of several: the same tests, from the first pod to a lost node.
    name: "several-servers",
    run: async () => {
      if (!(await runTasks([...imageTasks(), ...databaseImageTasks()]))) return false;
      const names = "faults,helm,kubectl,pods,services,workloads";
      const on = (clusterKind: ClusterKindName, names: string) => {
        console.log(`\n# ${clusterKind}`);
        return nodeTest(`test/e2e/{${names}}.test.ts`, { ...onClusters, clusterKind });
      };
      // `test/e2e/servers.test.ts` stops and starts servers with embedded etcd.
      return (await on("three-servers-etcd", names)) && (await on("two-servers-postgres", `${names},restarts`));
    },
  },
  {
    // The images of all architectures, and what of them runs without their machines.
    name: "architectures",
    run: async () => {
      if (!(await runTasks(imageTasks(platforms)))) return false;
      return nodeTest("test/architectures/**/*.test.ts", { timeoutMs: 900_000, concurrency: 1, forceExit: true });
    },
  },
];

function command(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: root,
      stdio: "inherit",
      env: { ...process.env, TESTCONTAINERS_RYUK_DISABLED: "true", ...env },
    });
    child.on("error", (error) => {
      console.error(`${program}: ${error.message}`);
      resolve(false);
    });
    child.on("exit", (code) => resolve(code === 0));
  });
}

interface TestOptions {
  timeoutMs: number;
  concurrency?: number;
  forceExit?: boolean;
  /** The kind of cluster for tests that do not insist on one. */
  clusterKind?: ClusterKindName;
}

/** Clusters of containers share two cores on a small machine: two at a time wait for each other's timers least. */
const onClusters: TestOptions = { timeoutMs: 900_000, concurrency: 2, forceExit: true };

/** More failed files than this are no bad luck: none is run again. */
const maxSecondRuns = 3;

const unsteady: string[] = [];

/** Runs the tests that a pattern finds. No files is a failure: a stage that tests nothing must not pass. */
async function nodeTest(pattern: string, options: TestOptions): Promise<boolean> {
  const files = globSync(pattern, { cwd: root }).sort();
  if (files.length === 0) {
    console.error(`No test file fits ${pattern}.`);
    return false;
  }
  const first = await runFiles(files, options);
  if (first.passed) return true;
  const again = [...new Set(first.failed.map(({ file }) => file))];
  if (again.length === 0 || again.length > maxSecondRuns) return false;
  console.log(`\n# once more: ${again.join(" ")}`);
  const second = await runFiles(again, { ...options, concurrency: 1 });
  const on = options.clusterKind ? ` on ${options.clusterKind}` : "";
  if (second.passed) unsteady.push(...first.failed.map(({ file, name }) => `${file}${on}: ${name}`));
  return second.passed;
}

/** Runs test files; gives the tests that failed, as far as the runner could still tell them. */
async function runFiles(
  files: readonly string[],
  options: TestOptions,
): Promise<{ passed: boolean; failed: FailedTest[] }> {
  const directory = mkdtempSync(join(tmpdir(), "k3ts-test-"));
  const report = join(directory, "failed");
  try {
    const args = [
      "--test",
      `--test-timeout=${options.timeoutMs}`,
      ...(options.concurrency ? [`--test-concurrency=${options.concurrency}`] : []),
      // A cluster that is gone can leave connections half closed; a file ends with its last test all the same.
      ...(options.forceExit ? ["--test-force-exit"] : []),
      "--test-reporter=spec",
      "--test-reporter-destination=stdout",
      "--test-reporter=./tools/failed-tests.ts",
      `--test-reporter-destination=${report}`,
      ...files,
    ];
    const env = options.clusterKind ? { [clusterKindVariable]: options.clusterKind } : {};
    const passed = await command(process.execPath, args, env);
    const lines = readFileSync(report, "utf8").split("\n").filter(Boolean);
    return { passed, failed: lines.map((line) => JSON.parse(line)) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !stages.some((stage) => stage.name === name));
if (unknown.length > 0) {
  console.error(`Unknown stage "${unknown[0]}"; the stages are ${stages.map(({ name }) => name).join(", ")}.`);
  process.exit(64);
}
const summary: string[] = [];
for (const stage of stages.filter(({ name }) => wanted.length === 0 || wanted.includes(name))) {
  console.log(`\n# ${stage.name}`);
  const startedAtMs = ioClock.now();
  const passed = await stage.run();
  summary.push(
    `${stage.name} ${passed ? "passed" : "FAILED"} in ${((ioClock.now() - startedAtMs) / 1000).toFixed(0)} s`,
  );
  if (passed) continue;
  process.exitCode = 1;
  break;
}
for (const test of unsteady) summary.push(`UNSTEADY, failed once: ${test}`);
console.log(`\n${summary.join("\n")}`);
