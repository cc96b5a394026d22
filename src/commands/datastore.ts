import { existsSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { serverLeasePrefix } from "../apiserver/kubernetes-service/server-leases.ts";
import { clusterClock, ioClock } from "../machinery/clock.ts";
import { ConfigurationError } from "../machinery/configuration-error.ts";
import { silentLogger } from "../machinery/log.ts";
import { etcdDirectoryOf, isInitialized, putAside } from "../server/etcd/data-directory.ts";
import { migrateCluster } from "../server/migrate-cluster.ts";
import { type DatastoreFiles, describeDatastore, parseDatastoreEndpoint } from "../store/datastore-endpoint.ts";
import { openStore } from "../store/open-store.ts";
import type { Store } from "../store/store.ts";
import { interruptible } from "./interruptible.ts";

type Flags = Record<string, string | undefined>;

/** `k3ts datastore`: moves a cluster from one store to another. @returns the exit code */
export async function datastore(args: readonly string[]): Promise<number> {
  const program = new Command("k3ts datastore").description("Move a cluster's data to another store").exitOverride();
  const migrate = program
    .command("migrate")
    .description("Copy all data of a stopped cluster into an empty store, and compare it at the end")
    .option(
      "--from <endpoint>",
      "the present store, as --datastore-endpoint takes it (default: the data directory's embedded etcd or SQLite)",
    )
    .requiredOption(
      "--to <endpoint>",
      'the new store, as --datastore-endpoint takes it ("sqlite": the data directory\'s)',
    )
    .option("-d, --data-dir <folder>", "the server's data", "/var/lib/rancher/k3s")
    .option("--force", "go on although servers seem to use the present store");
  for (const side of ["from", "to"]) {
    migrate
      .option(`--${side}-cafile <file>`, `authority of the ${side === "from" ? "present" : "new"} store's certificate`)
      .option(`--${side}-certfile <file>`, "client certificate to show it")
      .option(`--${side}-keyfile <file>`, "the certificate's key");
  }
  migrate.action(async (flags: Flags) => {
    const directory = join(flags["dataDir"]!, "server");
    // As for a server: a member's data is where the cluster lives.
    if (flags["from"] === undefined && isInitialized(etcdDirectoryOf(directory))) {
      await moveFromMember(directory, flags);
    } else {
      if (describe(flags["from"]) === describe(flags["to"])) {
        throw new ConfigurationError("--from and --to name the same store");
      }
      const from = await openSide("from", flags);
      try {
        await moveFrom(from, describe(flags["from"]), flags);
      } finally {
        await from.close();
      }
    }
    process.stdout.write(`${whatNow(flags["to"]!)}\n`);
  });
  await program.parseAsync(args, { from: "user" });
  return 0;
}

/** Moves what this server has in embedded etcd, and puts its member's data aside: it would go before any other store. */
async function moveFromMember(directory: string, flags: Flags): Promise<void> {
  const { withMemberData } = await import("../server/etcd/member-data.ts");
  const { forgetMembers } = await import("../server/etcd/forget-members.ts");
  await interruptible((signal) =>
    withMemberData(directory, { logger: silentLogger, signal }, (from) =>
      moveFrom(from, "embedded etcd", flags, forgetMembers),
    ),
  );
  const old = putAside(etcdDirectoryOf(directory), ioClock, "old");
  process.stdout.write(
    `What it had in embedded etcd is in ${old} now. Remove server/db/etcd of the cluster's other servers, too.\n`,
  );
}

/** @param afterwards what the moved cluster needs, before anybody uses it */
async function moveFrom(
  from: Store,
  source: string,
  flags: Flags,
  afterwards?: (to: Store) => Promise<void>,
): Promise<void> {
  if (!flags["force"]) await refuseWhileUsed(from);
  const to = await openSide("to", flags);
  try {
    await move(from, to, source);
    await afterwards?.(to);
  } finally {
    await to.close();
  }
}

function whatNow(to: string): string {
  const endpoint = parseDatastoreEndpoint(to);
  return endpoint.kind === "sqlite" && endpoint.path === undefined
    ? "Start the server without --datastore-endpoint now."
    : `Start the servers with --datastore-endpoint (${describe(to)}) now.`;
}

async function openSide(side: "from" | "to", flags: Flags): Promise<Store> {
  const endpoint = parseDatastoreEndpoint(flags[side] ?? "");
  const [ca, cert, key] = ["Cafile", "Certfile", "Keyfile"].map((name) => flags[`${side}${name}`]);
  const files: DatastoreFiles = { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) };
  const sqlitePath = join(flags["dataDir"]!, "server", "db", "state.db");
  if (side === "from" && endpoint.kind === "sqlite" && !existsSync(endpoint.path ?? sqlitePath)) {
    throw new ConfigurationError(
      `there is no database at ${endpoint.path ?? sqlitePath}; name the present store with --from`,
    );
  }
  return openStore({ endpoint, files, sqlitePath, logger: silentLogger, clock: clusterClock }).catch((error: Error) => {
    throw new Error(`the store given by --${side} cannot be opened: ${error.message}`);
  });
}

async function refuseWhileUsed(store: Store): Promise<void> {
  const { entries } = await store.list(serverLeasePrefix);
  const addresses = entries.map(({ key }) => key.slice(serverLeasePrefix.length));
  if (addresses.length === 0) return;
  throw new Error(
    `servers use the present store: ${addresses.join(", ")}; stop them and wait for 15 s, or give --force when they are gone`,
  );
}

async function move(from: Store, to: Store, source: string): Promise<void> {
  const { entries, revision } = await migrateCluster(from, to, {
    source,
    onProgress: (count) => process.stderr.write(`\r${count} entries moved`),
  });
  process.stderr.write("\n");
  process.stdout.write(`Moved and compared ${entries} entries; the cluster goes on from revision ${revision}.\n`);
}

/** Without the secrets that the endpoint may hold. */
function describe(endpoint = ""): string {
  return describeDatastore(parseDatastoreEndpoint(endpoint));
}
