import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { freePort } from "../../src/cluster/free-port.ts";
import type { RunResult } from "../../tools/run.ts";
import { eventually } from "./eventually.ts";
import {
  helm,
  type KubectlProcess,
  kubectl,
  kubectlJson,
  startKubectl,
  type ToolOptions,
  tryKubectl,
} from "./kubectl.ts";
import { rawRequest } from "./raw-request.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
/** Much more than a start takes, for machines that do other things meanwhile. */
const startTimeoutMs = 120_000;
/** What controllers put into the namespace that comes with a cluster; pods need both. */
const ofDefaultNamespace = ["serviceaccounts/default", "configmaps/kube-root-ca.crt"];

export interface ServerProcessOptions {
  /** Flags of `k3ts server` beyond those that give it its place. */
  args?: readonly string[];
  /** Where an earlier one left its data, with the port in `port`; this one removes it when it stops. */
  directory?: string;
  port?: number;
  /** Node's arguments up to the program, in place of the sources. */
  program?: readonly string[];
  env?: Readonly<Record<string, string>>;
}

type Options = Omit<ToolOptions, "kubeconfig">;

/** A real server without a node, started from the sources as a process of its own. */
export interface ServerProcess {
  pid: number;
  /** Such as https://127.0.0.1:40123. */
  url: string;
  /** Path of the administrator's kubeconfig. */
  kubeconfig: string;
  /** A directory for the test's own files; it goes with the server. */
  directory: string;
  /** The administrator's credentials, as PEM. */
  credentials: { ca: string; cert: string; key: string };
  kubectl(args: readonly string[], options?: Options): Promise<string>;
  tryKubectl(args: readonly string[], options?: Options): Promise<RunResult>;
  kubectlJson<T>(args: readonly string[], options?: Options): Promise<T>;
  startKubectl(args: readonly string[], options?: Options): KubectlProcess;
  helm(args: readonly string[], options?: Options): Promise<string>;
  /** What the server logged so far. */
  log(): string;
  /** Kills the server with SIGKILL and leaves its data, for the next one. */
  kill(): Promise<void>;
  /** Ends the server and removes its data. Throws when it did not end in order. */
  stop(): Promise<void>;
}

/**
 * Starts a server and waits until its API answers for all that comes with a cluster. Give `stop` to `after`; a test run
 * that is interrupted ends the server, too. Throws with the server's log when it does not come up.
 */
export async function startServerProcess(options: ServerProcessOptions = {}): Promise<ServerProcess> {
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), "k3ts-api-"));
  const kubeconfig = join(directory, "kubeconfig.yaml");
  const port = options.port ?? (await freePort("127.0.0.1"));
  const place = ["--data-dir", join(directory, "data"), "--write-kubeconfig", kubeconfig];
  const network = ["--bind-address", "127.0.0.1", "--https-listen-port", String(port)];
  const program = options.program ?? [join(root, "src/main.ts")];
  const child = spawn(
    process.execPath,
    [...program, "server", "--disable-agent", ...place, ...network, ...(options.args ?? [])],
    { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...options.env } },
  );
  const killNow = () => child.kill("SIGKILL");
  process.once("exit", killNow);
  let log = "";
  const ended = new Promise<number>((resolve) => {
    child.once("close", (code, signal) => resolve(code ?? (signal ? 128 : 127)));
    child.once("error", () => resolve(127));
  });
  const stop = async () => {
    child.kill("SIGTERM");
    const code = await ended;
    process.off("exit", killNow);
    rmSync(directory, { recursive: true, force: true });
    if (code !== 0) throw new Error(`the server ended with code ${code}:\n${log}`);
  };
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`it is not ready after ${startTimeoutMs} ms`)), startTimeoutMs);
      const hear = (chunk: Buffer) => {
        log += chunk.toString();
        if (!log.includes("k3s is up and running")) return;
        clearTimeout(timer);
        resolve();
      };
      child.stdout.on("data", hear);
      child.stderr.on("data", hear);
      void ended.then((code) => {
        clearTimeout(timer);
        reject(new Error(`it ended with code ${code}`));
      });
    });
  } catch (error) {
    await stop().catch(() => {});
    throw new Error(`the server did not come up: ${(error as Error).message}\n${log}`);
  }
  const file = parse(readFileSync(kubeconfig, "utf8"));
  const { server: url, "certificate-authority-data": ca } = file.clusters[0].cluster;
  const { "client-certificate-data": cert, "client-key-data": key } = file.users[0].user;
  const pem = (data: string) => Buffer.from(data, "base64").toString();
  const credentials = { ca: pem(ca), cert: pem(cert), key: pem(key) };
  try {
    for (const path of ofDefaultNamespace) {
      await eventually(async () => {
        const { code, text } = await rawRequest({ url, credentials }, `/api/v1/namespaces/default/${path}`);
        if (code !== 200) throw new Error(`${path} answers ${code}: ${text}`);
      }, startTimeoutMs);
    }
  } catch (error) {
    await stop().catch(() => {});
    throw new Error(`the server did not come up: ${(error as Error).message}\n${log}`);
  }
  return {
    pid: child.pid!,
    url,
    kubeconfig,
    directory,
    credentials,
    kubectl: (args, more) => kubectl(args, { ...more, kubeconfig }),
    tryKubectl: (args, more) => tryKubectl(args, { ...more, kubeconfig }),
    kubectlJson: (args, more) => kubectlJson(args, { ...more, kubeconfig }),
    startKubectl: (args, more) => startKubectl(args, { ...more, kubeconfig }),
    helm: (args, more) => helm(args, { ...more, kubeconfig }),
    log: () => log,
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
      process.off("exit", killNow);
    },
    stop,
  };
}
