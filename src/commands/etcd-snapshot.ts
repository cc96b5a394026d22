import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { joinThrough } from "../agent/bootstrap/supervisor-client.ts";
import { printYaml } from "../apiserver/http/yaml-text.ts";
import { ioClock } from "../machinery/clock.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import { parseJson } from "../machinery/json.ts";
import { silentLogger } from "../machinery/log.ts";
import { parseQuantity } from "../machinery/quantity.ts";
import type { SnapshotObject, SnapshotRequest } from "../server/snapshots/snapshot-request.ts";
import type { SnapshotResult } from "../server/snapshots/snapshots.ts";
import { type FlagValues, readFlags } from "./flag-values.ts";
import { snapshotFlags } from "./flags.ts";
import { createLogger } from "./logger.ts";

/** Shorter names that K3s has for the command's own flags; "--s3-…" is short for "--etcd-s3-…", too. */
const aliases: Readonly<Record<string, string>> = {
  "--dir": "--etcd-snapshot-dir",
  "--snapshot-compress": "--etcd-snapshot-compress",
  "--snapshot-retention": "--etcd-snapshot-retention",
  "--server": "--etcd-server",
  "--token": "--etcd-token",
};

const usage = `Usage: k3ts etcd-snapshot <command> [flags]

Commands:
  save            Save a snapshot of the running server's store
  ls, list, l     List snapshots
  delete <name…>  Delete snapshots
  prune           Delete what is more than the newest snapshots of a name

\`k3ts etcd-snapshot <command> --help\` prints the flags. Snapshots lie on the server that made them; they are not
kept in S3 by this version of k3ts.
`;

/** How long a server that does not answer is waited for: it may just be starting. */
const patienceMs = 5000;

/** `k3ts etcd-snapshot`: has the running server save, list, delete and prune snapshots (K3s documentation, "etcd-snapshot"). */
export async function etcdSnapshot(args: readonly string[]): Promise<number> {
  if (["", "help", "--help", "-h"].includes(args[0] ?? "")) {
    process.stdout.write(usage);
    return 0;
  }
  const { operation, output, flags, request } = readSnapshotArguments(args, process.env);
  const reply = await ask(flags, request);
  if (operation === "list") {
    process.stdout.write(printSnapshots(reply as SnapshotList, output));
    return 0;
  }
  const { created = [], deleted = [] } = reply as SnapshotResult;
  const logger = createLogger({ debug: flags.boolean("debug") });
  for (const name of created) logger.info(`Snapshot ${name} saved.`);
  for (const name of deleted) logger.info(`Snapshot ${name} deleted.`);
  const missing = operation === "delete" ? (request.name ?? []).filter((name) => !deleted.includes(name)) : [];
  for (const name of missing) logger.warn(`Snapshot ${name} not found.`);
  return 0;
}

/**
 * Reads the command line; flags may stand before the subcommand, too.
 * @throws ConfigurationError naming what is wrong
 */
export function readSnapshotArguments(args: readonly string[], environment: NodeJS.ProcessEnv) {
  const named = args.map((arg) => {
    const [name = "", ...value] = arg.split("=");
    return [aliases[name] ?? name.replace(/^--s3(?=-|$)/, "--etcd-s3"), ...value].join("=");
  });
  const flags = readFlags("k3ts etcd-snapshot <command>", snapshotFlags, named, environment, () => {}, {
    operands: true,
  });
  const [command = "", ...names] = flags.operands;
  const operation = command === "ls" || command === "l" ? "list" : command;
  if (operation !== "save" && operation !== "list" && operation !== "delete" && operation !== "prune")
    throw new ConfigurationError(`unknown command "${command}" of etcd-snapshot; see k3ts etcd-snapshot --help`);
  const output = flags.string("output")!;
  if (output !== "json" && output !== "yaml" && output !== "table")
    throw new ConfigurationError(`invalid output format: ${output}; use json, yaml or table`);
  return { operation, output, flags, request: requestOf(operation, names, flags) } as const;
}

export interface SnapshotList {
  readonly items: readonly SnapshotObject[];
}

/** @throws ConfigurationError where names are given that the operation takes none of, or none that it needs */
function requestOf(
  operation: SnapshotRequest["operation"],
  names: readonly string[],
  flags: FlagValues,
): SnapshotRequest {
  if (operation === "delete" && names.length === 0) throw new ConfigurationError("no snapshots given for removal");
  if (operation !== "delete" && names.length > 0)
    throw new ConfigurationError(`this command does not take any arguments, got "${names.join(" ")}"`);
  const dir = flags.string("etcd-snapshot-dir");
  // What is not said here is as the server is set.
  const compressed = flags.string("etcd-snapshot-compress") !== undefined;
  const kept = flags.integer("etcd-snapshot-retention");
  return {
    operation,
    ...(operation === "list" ? {} : { name: operation === "delete" ? names : [flags.string("name")!] }),
    ...(dir ? { dir } : {}),
    ...(operation === "save" && compressed ? { compress: flags.boolean("etcd-snapshot-compress") } : {}),
    // Only the schedule removes what is too much unasked.
    ...(operation === "save" ? { retention: 0 } : {}),
    ...(operation === "prune" && kept !== undefined ? { retention: kept } : {}),
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

/** The list as text: what K3s' printers make of it. */
export function printSnapshots(list: SnapshotList, output: "json" | "yaml" | "table"): string {
  if (output === "json") return `${JSON.stringify(list, null, 4)}\n`;
  if (output === "yaml") return printYaml(list);
  const rows = list.items.map(({ spec, status }) => [
    spec.snapshotName,
    spec.location,
    String(parseQuantity(status.size).toUnits()),
    status.creationTime,
  ]);
  const all = [["Name", "Location", "Size", "Created"], ...rows];
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => row[column]!.length)));
  // One space between columns, as K3s prints it.
  return all.map((row) => `${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(" ")}\n`).join("");
}
