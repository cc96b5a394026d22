/**
 * Sends random and mutated requests to a real server and holds every answer, and the server, to what must always be:
 * `node test/fuzz/run.ts [--seed N] [--seconds N] [--only N]`. The seed is the commit's unless it is given. A finding comes with the seed and the smallest request
 * that shows it; `--only` sends one request of a seed alone.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";
import { eventually } from "../support/eventually.ts";
import { startServerProcess } from "../support/server-process.ts";
import { checkDatabase, checkObjects } from "./afterwards.ts";
import { Connection } from "./connection.ts";
import { type Corpus, namespaces, readCorpus, seedIn, seedName } from "./corpus.ts";
import { complaintOf } from "./judge.ts";
import { type FuzzRequest, requestOf, urlOf } from "./requests.ts";
import { widgetDefinition } from "./seeds.ts";
import { shrink } from "./shrink.ts";

const { values: options } = parseArgs({
  options: {
    seed: { type: "string", default: seedOfCommit() },
    seconds: { type: "string", default: "60" },
    only: { type: "string" },
  },
});
const seed = Number(options.seed);
const seconds = Number(options.seconds);
const only = options.only === undefined ? undefined : Number(options.only);

/** Every commit is asked other things, and the same one the same things again. */
function seedOfCommit(): string {
  const { stdout, status } = spawnSync("git", ["rev-parse", "HEAD"], { encoding: "utf8" });
  return String(status === 0 ? Number.parseInt(stdout.slice(0, 7), 16) : Date.now() % 2 ** 31);
}

const workers = 8;
/** No request takes this long, also on a slow and busy machine. */
const answerTimeoutMs = 30_000;
/** Health is answered in between, whatever else is asked. */
const healthTimeoutMs = 30_000;
const maxResidentMb = 900;
const maxFindings = 10;

interface Finding {
  readonly what: string;
  readonly number: number;
  readonly request: FuzzRequest;
}

const findings = new Map<string, Finding>();
const counts = new Map<number, number>();
let done = 0;
let slowest = { tookMs: 0, number: 0 };

console.log(`fuzz: seed ${seed}, ${seconds} s`);
let server = await startServerProcess();
let connection = new Connection(server, answerTimeoutMs);
let failed = false;

function fault(text: string): void {
  failed = true;
  console.error(`\nfuzz: FOUND (seed ${seed}): ${text}`);
}

async function complaint(request: FuzzRequest, through = connection): Promise<string | undefined> {
  try {
    const reply = await through.send(request);
    counts.set(reply.code, (counts.get(reply.code) ?? 0) + 1);
    return complaintOf(request, reply);
  } catch (error) {
    return `no answer: ${(error as NodeJS.ErrnoException).code ?? (error as Error).message}`;
  }
}

async function json(method: string, path: string, body?: object, accept = "application/json"): Promise<unknown> {
  const reply = await connection.send({
    method,
    path,
    query: [],
    headers: { accept, "content-type": "application/json" },
    http: "1.1",
    ...(body ? { body: Buffer.from(JSON.stringify(body)) } : {}),
  });
  if (reply.code >= 300) throw new Error(`${method} ${path} answers ${reply.code}: ${reply.body}`);
  return JSON.parse(reply.body.toString());
}

/** The namespaces, a custom resource, and every seed once: the run starts from objects that are really valid. */
async function prepare(): Promise<Corpus> {
  for (const name of namespaces) {
    await json("POST", "/api/v1/namespaces", { metadata: { name } });
    // Made by a controller; pods are refused without it.
    await eventually(() => json("GET", `/api/v1/namespaces/${name}/serviceaccounts/default`));
  }
  await json("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", widgetDefinition);
  const corpus = await eventually(async () => {
    const found = await readCorpus((path, accept) => json("GET", path, undefined, accept));
    if (!found.targets.some(({ resource }) => resource === "widgets")) throw new Error("widgets are not served yet");
    return found;
  });
  for (const target of corpus.targets) {
    if (!target.seed) continue;
    const name = seedName(target);
    const isReview = !target.verbs.includes("list");
    const farReaching = /^(admission|apiext|apireg)/.test(target.group);
    for (const namespace of target.namespaced ? namespaces.slice(0, isReview ? 1 : undefined) : [""]) {
      const inside = namespace ? `/namespaces/${namespace}` : "";
      const path = `${target.root}${inside}/${target.resource}?fieldValidation=Strict${farReaching ? "&dryRun=All" : ""}`;
      const seed = seedIn(target, namespace);
      const metadata = isReview ? {} : { labels: { app: "fuzz" }, name, ...(seed["metadata"] as object) };
      // Two versions of one resource, and what another kind has made already.
      await json("POST", path, { ...seed, metadata }).catch((error: Error) => {
        if (!error.message.includes("AlreadyExists")) throw new Error(`A seed is not valid: ${error.message}`);
      });
    }
  }
  return corpus;
}

async function work(corpus: Corpus, numbers: () => number | undefined): Promise<void> {
  const own = new Connection(server, answerTimeoutMs);
  for (let number = numbers(); number !== undefined; number = numbers()) {
    const request = requestOf(seed, number, corpus);
    const startMs = performance.now();
    const what = await complaint(request, own);
    const tookMs = performance.now() - startMs;
    if (tookMs > slowest.tookMs) slowest = { tookMs, number };
    done++;
    if (what !== undefined && !findings.has(what)) findings.set(what, { what, number, request });
  }
  own.close();
}

function residentMb(): number {
  const status = readFileSync(`/proc/${server.pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}

/** Watches health and memory until `signal` aborts. */
async function watchOver(signal: AbortSignal): Promise<{ maxMb: number; maxHealthMs: number }> {
  const own = new Connection(server, healthTimeoutMs);
  let maxMb = 0;
  let maxHealthMs = 0;
  while (!signal.aborted) {
    const startMs = performance.now();
    const reply = await own
      .send({ method: "GET", path: "/livez", query: [], headers: {}, http: "1.1" })
      .catch((error: Error) => error);
    const tookMs = performance.now() - startMs;
    if (reply instanceof Error || reply.code !== 200) {
      fault(`/livez gives no good answer: ${reply instanceof Error ? reply.message : reply.code}`);
      break;
    }
    maxHealthMs = Math.max(maxHealthMs, tookMs);
    maxMb = Math.max(maxMb, residentMb());
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  own.close();
  if (maxMb > maxResidentMb) fault(`the server grew to ${maxMb.toFixed(0)} MB`);
  return { maxMb, maxHealthMs };
}

async function report({ what, number, request }: Finding): Promise<void> {
  const isAlone = (await complaint(request)) === what;
  const shown = isAlone ? await shrink(request, async (less) => (await complaint(less)) === what, 150) : request;
  const alone = isAlone ? "" : " (not when sent again)";
  fault(`${what}${alone}; request ${number}, alone: node test/fuzz/run.ts --seed ${seed} --only ${number}`);
  console.error(`  ${shown.method} ${urlOf(shown)} (HTTP/${shown.http}) ${JSON.stringify(shown.headers)}`);
  if (shown.body) console.error(`  ${printable(shown.body).slice(0, 2000)}`);
}

function printable(bytes: Buffer): string {
  const text = bytes.toString("utf8");
  return Buffer.from(text).equals(bytes) ? text : `base64: ${bytes.toString("base64")}`;
}

try {
  const corpus = await prepare();
  const end = new AbortController();
  const over = watchOver(end.signal);
  const endMs = performance.now() + seconds * 1000;
  let next = only ?? 0;
  const numbers = () => {
    if (only !== undefined) return next++ === only ? only : undefined;
    return performance.now() < endMs && findings.size < maxFindings && !failed ? next++ : undefined;
  };
  await Promise.all(Array.from({ length: workers }, () => work(corpus, numbers)));
  end.abort();
  const { maxMb, maxHealthMs } = await over;
  for (const finding of findings.values()) await report(finding);
  const { count, faults } = await checkObjects(connection, corpus);
  for (const text of faults.slice(0, maxFindings)) fault(text);
  if (faults.length > maxFindings) console.error(`  and ${faults.length - maxFindings} more`);
  // The error handler logs what it did not expect; so does Node.
  const wrong = /^.*(A request failed|Uncaught|Unhandled|FATAL).*$/m.exec(server.log());
  if (wrong) fault(`the server logged: ${server.log().slice(wrong.index, wrong.index + 1500)}`);
  const { directory, kubeconfig } = server;
  const port = Number(new URL(server.url).port);
  connection.close();
  await server.kill();
  for (const text of checkDatabase(directory)) fault(`the database: ${text}`);
  rmSync(kubeconfig);
  server = await startServerProcess({ directory, port });
  connection = new Connection(server, answerTimeoutMs);
  const again = await checkObjects(connection, corpus);
  for (const text of again.faults.slice(0, maxFindings)) fault(`after a kill and a new start: ${text}`);
  const codes = [...counts].sort(([a], [b]) => a - b).map(([code, times]) => `${code}: ${times}`);
  console.log(`fuzz: ${done} requests over ${corpus.targets.length} resources (${codes.join(", ")})`);
  console.log(`fuzz: the slowest was request ${slowest.number}, ${slowest.tookMs.toFixed(0)} ms`);
  console.log(
    `fuzz: ${count} objects read and written back; at most ${maxMb.toFixed(0)} MB, /livez within ${maxHealthMs.toFixed(0)} ms`,
  );
} catch (error) {
  fault((error as Error).stack ?? String(error));
} finally {
  connection.close();
  await server.stop().catch((error: Error) => fault(error.message));
}
process.exitCode = failed ? 1 : 0;
