import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { joinThrough } from "../agent/bootstrap/supervisor-client.ts";
import { ioClock } from "../machinery/clock.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import { parseJson } from "../machinery/json.ts";
import { silentLogger } from "../machinery/log.ts";
import type { SnapshotObject, SnapshotRequest } from "../server/snapshots/snapshot-request.ts";
import type { SnapshotResult } from "../server/snapshots/snapshots.ts";
import { type FlagValues, readFlags } from "./flag-values.ts";
import { snapshotFlags } from "./flags.ts";
import { createLogger } from "./logger.ts";

/** Shorter names that K3s has for the command's own flags. */
const aliases: Readonly<Record<string, string>> = {
  "--dir": "--etcd-snapshot-dir",
  "--snapshot-compress": "--etcd-snapshot-compress",
  "--snapshot-retention": "--etcd-snapshot-retention",
  "--s3": "--etcd-s3",
  "--server": "--etcd-server",
  "--token": "--etcd-token",
};

const usage = `Usage: k3ts etcd-snapshot <command> [flags]

Commands:
  save            Save a snapshot of the running server's store
  ls, list, l     List snapshots
  delete <name…>  Delete snapshots
  prune           Delete what is more than the newest snapshots of a name

\`k3ts etcd-snapshot <command> --help\` prints the flags
`;

/** How long a server that does not answer is waited for: it may just be starting. */
const patienceMs = 5000;

/** `k3ts etcd-snapshot`: has the running server save, list, delete and prune snapshots (K3s documentation, "etcd-snapshot"). */
export async function etcdSnapshot(args: readonly string[]): Promise<number> {
  const [command = "", ...rest] = args;
  if (["", "help", "--help", "-h"].includes(command)) {
    process.stdout.write(usage);
    return 0;
  }
  const operation = command === "ls" || command === "l" ? "list" : command;
  if (operation !== "save" && operation !== "list" && operation !== "delete" && operation !== "prune")
    throw new ConfigurationError(`unknown command "${command}" of etcd-snapshot; see k3ts etcd-snapshot --help`);
  const named = rest.map((arg) => {
    const [name = "", ...value] = arg.split("=");
    return [aliases[name] ?? name, ...value].join("=");
  });
  const flags = readFlags(`k3ts etcd-snapshot ${command}`, snapshotFlags, named, process.env, () => {}, {
    operands: true,
  });
  const output = flags.string("output");
  if (output !== undefined && output !== "json" && output !== "yaml")
    throw new ConfigurationError(`invalid output format: ${output}; use json or yaml`);
  const reply = await ask(flags, requestOf(operation, flags));
  if (operation === "list") {
    process.stdout.write(printed(reply as SnapshotList, output));
    return 0;
  }
  const { created = [], deleted = [] } = reply as SnapshotResult;
  const logger = createLogger({ debug: flags.boolean("debug") });
  for (const name of created) logger.info(`Snapshot ${name} saved.`);
  for (const name of deleted) logger.info(`Snapshot ${name} deleted.`);
  const missing = operation === "delete" ? flags.operands.filter((name) => !deleted.includes(name)) : [];
  for (const name of missing) logger.warn(`Snapshot ${name} not found.`);
  return 0;
}

interface SnapshotList {
  readonly items: readonly SnapshotObject[];
}

/** @throws ConfigurationError where names are given that the operation takes none of, or none that it needs */
function requestOf(operation: SnapshotRequest["operation"], flags: FlagValues): SnapshotRequest {
  const { operands } = flags;
  if (operation === "delete" && operands.length === 0) throw new ConfigurationError("no snapshots given for removal");
  if (operation !== "delete" && operands.length > 0)
    throw new ConfigurationError(`this command does not take any arguments, got "${operands.join(" ")}"`);
  const dir = flags.string("etcd-snapshot-dir");
  const name = operation === "delete" ? operands : [flags.string("name")!];
  return {
    operation,
    ...(operation === "list" ? {} : { name }),
    ...(dir ? { dir } : {}),
    ...(operation === "save" ? { compress: flags.boolean("etcd-snapshot-compress"), retention: 0 } : {}),
    ...(operation === "prune" ? { retention: flags.integer("etcd-snapshot-retention")! } : {}),
  };
}

/** @throws with what the server said, or that it does not answer */
async function ask(flags: FlagValues, request: SnapshotRequest): Promise<unknown> {
  const server = flags.string("etcd-server")!;
  const token = flags.string("etcd-token") ?? ownToken(flags.string("data-dir")!);
  const late = new AbortController();
  const timer = ioClock.after(patienceMs, () =>
    late.abort(new Error(`no server answers at ${server}; start it, or give its address with --etcd-server`)),
  );
  const context = { clock: ioClock, logger: silentLogger, signal: late.signal, user: "server" as const };
  return joinThrough([server], token, context, async (supervisor) => {
    timer.cancel();
    const body = Buffer.from(JSON.stringify(request));
    try {
      return parseJson(await supervisor.post("/db/snapshot", body, { "content-type": "application/json" }));
    } catch (error) {
      // It was reached: asking once more would save once more.
      throw error instanceof ConfigurationError ? error : new ConfigurationError((error as Error).message);
    }
  });
}

function ownToken(dataDir: string): string {
  const file = join(dataDir, "server", "token");
  if (existsSync(file)) return readFileSync(file, "utf8").trim();
  throw new ConfigurationError(
    `there is no server's token at ${file}; run this on a server, name its --data-dir, or give --etcd-token`,
  );
}

function printed(list: SnapshotList, output: string | undefined): string {
  if (output === "json") return `${JSON.stringify(list)}\n`;
  if (output === "yaml") return stringify(list);
  const rows = list.items.map(({ spec, status }) => [
    spec.snapshotName,
    spec.location,
    status.size,
    status.creationTime,
  ]);
  const all = [["Name", "Location", "Size", "Created"], ...rows];
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]!.length)));
  // One space between columns, as K3s prints it.
  return all.map((row) => `${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" ")}\n`).join("");
}
