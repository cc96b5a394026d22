import { type ChildProcess, spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { namespaces } from "../../../src/api/generated/core-v1.ts";
import { clusterRoleBindings, clusterRoles } from "../../../src/api/generated/rbac-v1.ts";
import { createHttpsClient } from "../../../src/client/https-client.ts";
import { readKubeconfig } from "../../../src/client/kubeconfig.ts";
import { ioClock } from "../../../src/machinery/clock.ts";
import { silentLogger } from "../../../src/machinery/log.ts";
import { generateKey } from "../../../src/server/certificates.ts";
import { signCertificates } from "../../../src/server/signer.ts";
import { eventually } from "../../support/eventually.ts";
import { type ServerProcess, type ServerProcessOptions, startServerProcess } from "../../support/server-process.ts";
import type { RawTarget } from "./raw-connection.ts";

const root = fileURLToPath(new URL("../../../", import.meta.url));
export const bundle = join(root, "dist/k3ts/k3ts.mjs");
const probe = fileURLToPath(new URL("../slow-disk/loop-probe.mjs", import.meta.url));

/** What a server's main thread says of itself. */
export interface Health {
  /** How late its loop was since it was last asked, milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly rssBytes: number;
  /** Processor time of the whole process since its start, microseconds. */
  readonly cpuMicros: number;
}

export interface MeasuredServer extends AsyncDisposable {
  readonly target: RawTarget;
  /** Since when it was last asked. */
  health(): Promise<Health>;
}

export interface OwnServer extends MeasuredServer {
  readonly process: ServerProcess;
  /** Where the files for a bare server beside it stand. */
  readonly directory: string;
}

/** The flags that /bin/k3s starts a server with in its image. */
export function serverFlags(): string[] {
  const script = readFileSync(join(root, "images/warm-cache.sh"), "utf8");
  const young = /server\) young=(\d+)/.exec(script)?.[1];
  const flags = /^flags="(.*)"$/m.exec(script)?.[1];
  if (!young || !flags) throw new Error("images/warm-cache.sh does not say what flags a server is started with");
  return flags.replace("$young", young).split(" ");
}

/** The namespaces that the load goes to. */
export const namespacesOfLoad = ["bench", "watched", "quiet"] as const;

const userName = "bench";

/**
 * Starts the bundled server without a node, as its image does. The load comes from a user with a client certificate whom
 * a ClusterRole allows what it does, as is usual; administrators pass by the roles.
 */
export async function startOwnServer(options: Pick<ServerProcessOptions, "args" | "env"> = {}): Promise<OwnServer> {
  const directory = mkdtempSync(join(tmpdir(), "k3ts-bench-api-"));
  const loop = join(directory, "loop.json");
  const program = [...serverFlags(), `--import=${probe}`, bundle];
  const env = { ...options.env, K3TS_BENCH_LOOP: loop };
  const server = await startServerProcess({ ...options, program, env }).catch((error) => {
    rmSync(directory, { recursive: true, force: true });
    throw error;
  });
  const dispose = async () => {
    await server.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const authorities = join(server.directory, "data/server/tls");
    for (const file of ["crt", "key"]) {
      copyFileSync(join(authorities, `serving-kube-apiserver.${file}`), join(directory, `tls.${file}`));
    }
    const credentials = await clientCertificate(authorities);
    await prepareObjects(server);
    const { hostname, port } = new URL(server.url);
    return {
      process: server,
      directory,
      target: { host: hostname, port: Number(port), ca: server.credentials.ca, ...credentials },
      health: () => askHealth(server.pid, loop),
      [Symbol.asyncDispose]: dispose,
    };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/** Starts the yardstick, with the certificate and the disk of our server. */
export async function startBareServer(own: OwnServer): Promise<MeasuredServer> {
  const loop = join(own.directory, "bare-loop.json");
  const program = fileURLToPath(new URL("./bare-server.ts", import.meta.url));
  const child = spawn(process.execPath, [...serverFlags(), `--import=${probe}`, program, own.directory], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, K3TS_BENCH_LOOP: loop },
  });
  const killNow = () => child.kill("SIGKILL");
  process.once("exit", killNow);
  const port = await listeningPort(child);
  return {
    target: { host: "127.0.0.1", port, ca: own.target.ca },
    health: () => askHealth(child.pid!, loop),
    [Symbol.asyncDispose]: async () => {
      process.off("exit", killNow);
      const ended = new Promise((resolve) => child.once("close", resolve));
      child.kill("SIGKILL");
      await ended;
    },
  };
}

function listeningPort(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.stdout!.on("data", (line: Buffer) => {
      const port = /listening on (\d+)/.exec(line.toString())?.[1];
      if (port) resolve(Number(port));
    });
    child.once("close", (code) => reject(new Error(`the bare server ended with code ${code}`)));
  });
}

async function askHealth(pid: number, file: string): Promise<Health> {
  rmSync(file, { force: true });
  process.kill(pid, "SIGUSR2");
  return eventually(() => JSON.parse(readFileSync(file, "utf8")) as Health);
}

async function clientCertificate(authorities: string): Promise<{ cert: string; key: string }> {
  const read = (file: string) => readFileSync(join(authorities, file), "utf8");
  const key = generateKey();
  const nowMs = ioClock.now();
  const [cert] = await signCertificates([
    {
      id: userName,
      commonName: userName,
      organizations: ["load"],
      dnsNames: [],
      ipAddresses: [],
      extendedKeyUsages: ["clientAuth"],
      notBeforeMs: nowMs - 60_000,
      notAfterMs: nowMs + 24 * 60 * 60 * 1000,
      key,
      issuer: { certificate: read("client-ca.crt"), key: read("client-ca.key") },
    },
  ]);
  return { cert: cert!, key };
}

async function prepareObjects(server: ServerProcess): Promise<void> {
  const client = createHttpsClient({
    ...(await readKubeconfig(server.kubeconfig)),
    userAgent: "bench",
    logger: silentLogger,
  });
  try {
    for (const name of namespacesOfLoad) await client.create(namespaces, { metadata: { name } }, {});
    const rules = [
      {
        apiGroups: [""],
        resources: ["configmaps", "secrets", "pods"],
        verbs: ["get", "list", "watch", "create", "update", "delete"],
      },
    ];
    await client.create(clusterRoles, { metadata: { name: userName }, rules }, {});
    await client.create(
      clusterRoleBindings,
      {
        metadata: { name: userName },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: userName },
        subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "User", name: userName }],
      },
      {},
    );
  } finally {
    client.close();
  }
}
