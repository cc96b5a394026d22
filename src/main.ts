import { enableCompileCache } from "node:module";
import { basename } from "node:path";
import { formatTime, ioClock } from "./machinery/clock.ts";
import { version } from "./machinery/version.ts";

/**
 * The command line's entry: picks the subcommand and loads only what it needs. The program answers to the names of
 * links to it too (`kubectl`, `ctr`, `crictl`, `k3s-server`, …), as K3s does.
 */

type Command = (args: readonly string[]) => Promise<number>;

interface Subcommand {
  readonly help: string;
  readonly load: () => Promise<Command>;
  readonly hidden?: boolean;
}

const subcommands: Readonly<Record<string, Subcommand>> = {
  server: {
    help: "Run a server: the control plane, and a node",
    load: async () => (await import("./commands/server.ts")).server,
  },
  agent: { help: "Run a node of an existing cluster", load: async () => (await import("./commands/agent.ts")).agent },
  cluster: {
    help: "Create, list, start, stop and delete clusters of containers",
    load: async () => (await import("./commands/cluster.ts")).cluster,
  },
  node: {
    help: "Add, list and delete nodes of clusters of containers",
    load: async () => (await import("./commands/node.ts")).node,
  },
  kubeconfig: {
    help: "Get, merge and write kubeconfigs of clusters of containers",
    load: async () => (await import("./commands/kubeconfig.ts")).kubeconfig,
  },
  image: {
    help: "Import images into the nodes of a cluster",
    load: async () => (await import("./commands/image.ts")).image,
  },
  kubectl: { help: "Run kubectl", load: async () => (await import("./commands/kubectl.ts")).kubectl },
  crictl: { help: "Talk to the container runtime", load: async () => (await import("./commands/crictl.ts")).crictl },
  ctr: { help: "Run containerd's ctr", load: async () => (await import("./commands/ctr.ts")).ctr },
  token: { help: "Manage join tokens", load: async () => (await import("./commands/token.ts")).token },
  datastore: {
    help: "Move a cluster's data to another store",
    load: async () => (await import("./commands/datastore.ts")).datastore,
  },
  "etcd-snapshot": {
    help: "Save, list, delete and prune snapshots of embedded etcd and of SQLite",
    load: async () => (await import("./commands/etcd-snapshot.ts")).etcdSnapshot,
  },
  "check-config": {
    help: "Tell what this machine lacks to run a node",
    load: async () => (await import("./commands/check-config.ts")).checkConfig,
  },
};

function usage(): string {
  const width = Math.max(...Object.keys(subcommands).map((name) => name.length)) + 2;
  const lines = Object.entries(subcommands).map(([name, { help }]) => `  ${name.padEnd(width)}${help}`);
  return `k3ts - Kubernetes in a container, in TypeScript\n\nUsage: k3ts <command> [arguments]\n\nCommands:\n${lines.join("\n")}\n\n  --version   Print the version\n  --help      Print this help; \`k3ts <command> --help\` prints a command's\n`;
}

/** The subcommand that this call is for, and its arguments. */
function dispatch(program: string, args: readonly string[]): { name: string | undefined; rest: readonly string[] } {
  const called = basename(program).replace(/^k3s-/, "");
  if (called !== "k3s" && called !== "k3ts" && called in subcommands) return { name: called, rest: args };
  return { name: args[0], rest: args.slice(1) };
}

async function main(): Promise<number> {
  const { name, rest } = dispatch(process.env["K3TS_ARGV0"] ?? process.argv[1] ?? "k3ts", process.argv.slice(2));
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    process.stdout.write(usage());
    return 0;
  }
  if (name === "--version" || name === "-v" || name === "version") {
    process.stdout.write(`k3s version ${version} (k3ts)\nnode version ${process.version}\n`);
    return 0;
  }
  const subcommand = Object.hasOwn(subcommands, name) ? subcommands[name] : undefined;
  if (!subcommand) {
    process.stderr.write(`k3ts: unknown command "${name}"; see k3ts --help\n`);
    return 64;
  }
  const run = await subcommand.load();
  try {
    return await run(rest);
  } catch (error) {
    const { code, name: kind, message } = error as { code?: string; name?: string; message: string };
    if (code === "commander.helpDisplayed" || code === "commander.help" || code === "commander.version") return 0;
    // Tools that start nodes read the last line of their log in this form; people get a plain one.
    process.stderr.write(
      name === "server" || name === "agent"
        ? `time="${formatTime(ioClock.now())}" level=fatal msg=${JSON.stringify(message)}\n`
        : `k3ts: ${message}\n`,
    );
    if (process.env["K3S_DEBUG"] && (error as Error).stack) process.stderr.write(`${(error as Error).stack}\n`);
    return kind === "ConfigurationError" ? 78 : 1;
  }
}

enableCompileCache();
const exitCode = await main();
// What is left open (idle connections, workers, waits that nobody needs any more) must not keep the process.
process.exit(exitCode);
