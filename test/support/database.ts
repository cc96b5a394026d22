import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { freePort } from "../../src/cluster/free-port.ts";
import { type RunOptions, run, tryRun } from "../../tools/run.ts";
import { eventually } from "./eventually.ts";

/** A database that k3ts can keep a cluster in, by the image that the tests have of it. */
export type DatabaseKind = "etcd" | "postgres" | "mariadb";

/** A database in a container that a test has to itself. */
export interface TestDatabase extends AsyncDisposable {
  readonly kind: DatabaseKind;
  /** What `--datastore-endpoint` takes on this machine. */
  readonly endpoint: string;
  /** What `--datastore-endpoint` takes in containers of its network, where it has one. */
  readonly networkEndpoint: string;
  /** The same through a wire that listens on another port of this machine. */
  endpointAt(port: number): string;
  readonly host: string;
  readonly port: number;
  /** The container's name. */
  readonly container: string;
  /** Ends it as a power failure would; its data stays. */
  kill(): Promise<void>;
  /** Starts it again after {@link kill} at the same address, and waits until it answers. */
  start(): Promise<void>;
  /** Stops it in the middle of whatever it does; its connections stay open and say nothing. */
  pause(): Promise<void>;
  unpause(): Promise<void>;
  /** Runs a program in its container and gives what it printed. */
  exec(args: readonly string[], options?: RunOptions): Promise<string>;
  remove(): Promise<void>;
}

interface Facts {
  readonly port: number;
  /** A command in the container that succeeds when the database answers. */
  readonly ping: readonly string[];
  readonly endpoint: (address: string) => string;
}

const facts: Record<DatabaseKind, Facts> = {
  etcd: {
    port: 2379,
    ping: ["etcdctl", "endpoint", "health"],
    endpoint: (address) => `http://${address}`,
  },
  postgres: {
    port: 5432,
    ping: ["/opt/postgresql/pg_isready", "-q", "-h", "127.0.0.1"],
    endpoint: (address) => `postgres://postgres:test@${address}/kubernetes`,
  },
  mariadb: {
    port: 3306,
    ping: ["mariadb-admin", "-h", "127.0.0.1", "-u", "root", "-ptest", "ping"],
    endpoint: (address) => `mysql://root:test@tcp(${address})/kubernetes`,
  },
};

/** How long a busy machine may take to start a container and the database in it. */
const startTimeoutMs = 120_000;

const left = new Set<string>();
process.once("exit", () => {
  if (left.size > 0) spawnSync("docker", ["rm", "-fv", ...left]);
});

/**
 * Starts a database that is empty, and waits until it answers. Its port is published on 127.0.0.1 and stays the same
 * when it is started again. Needs the images of the test stage `store` and a Docker Engine.
 * @param options.args further arguments of the database's own program
 * @param options.script what a shell runs in place of that program, also when the container is started again
 * @param options.network a network that is there already, whose containers reach it by its name
 */
export async function startDatabase(
  kind: DatabaseKind,
  options: { readonly args?: readonly string[]; readonly script?: string; readonly network?: string } = {},
): Promise<TestDatabase> {
  const { port: inside, ping, endpoint } = facts[kind];
  const port = await freePort("127.0.0.1");
  const container = `test-${kind}-${randomBytes(4).toString("hex")}`;
  const docker = (...args: string[]) => run("docker", args).then(() => {});
  const exec = (args: readonly string[], more?: RunOptions) =>
    run("docker", ["exec", ...(more?.input === undefined ? [] : ["-i"]), container, ...args], more);
  const answers = () => eventually(() => exec(ping), startTimeoutMs);
  const remove = async () => {
    await tryRun("docker", ["rm", "-fv", container]);
    left.delete(container);
  };
  left.add(container);
  try {
    await docker(
      ...["run", "-d", "--name", container, "-p", `127.0.0.1:${port}:${inside}`],
      ...(options.network ? ["--network", options.network] : []),
      ...(options.script ? ["--entrypoint", "sh"] : []),
      `k3ts/test-${kind}:1.0`,
      ...(options.script ? ["-c", options.script] : (options.args ?? [])),
    );
    await answers();
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    kind,
    container,
    host: "127.0.0.1",
    port,
    endpoint: endpoint(`127.0.0.1:${port}`),
    endpointAt: (other) => endpoint(`127.0.0.1:${other}`),
    networkEndpoint: endpoint(`${container}:${inside}`),
    kill: () => docker("kill", container),
    async start() {
      await docker("start", container);
      await answers();
    },
    // The kernel may not have stopped all of a busy container in the time that it is given; it lets all go on then.
    pause: () => eventually(() => docker("pause", container)),
    unpause: () => docker("unpause", container),
    exec,
    remove,
    [Symbol.asyncDispose]: remove,
  };
}
