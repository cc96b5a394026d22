import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync } from "node:fs";
import { mkdir, readFile, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { connect } from "node:http2";
import { createConnection } from "node:net";
import { join } from "node:path";
import { type Clock, ioClock } from "../../machinery/clock.ts";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import type { Logger } from "../../machinery/log.ts";
import { applyConfigTemplate, renderContainerdConfig } from "./containerd-config.ts";
import { type Cri, createCri } from "./cri.ts";
import { importFiles, importImages } from "./image-import.ts";
import { watchImages } from "./image-watcher.ts";
import { readRegistries, registryAuths, renderHosts, writeHosts } from "./registries.ts";

export interface ContainerdOptions {
  /** The agent's directory: /var/lib/rancher/k3s/agent. */
  readonly dataDir: string;
  /** Default /run/k3s/containerd. */
  readonly stateDir?: string;
  readonly cniConfDir: string;
  readonly cniBinDir: string;
  readonly pauseImage: string;
  /** Absent: overlayfs, or native where the data directory cannot carry an overlay. */
  readonly snapshotter?: string | undefined;
  readonly defaultRuntime?: string | undefined;
  /** Default /etc/rancher/k3s/registries.yaml. */
  readonly registriesFile?: string;
  /** Directories whose image archives are imported before the first pod; `<dataDir>/images` always is one. */
  readonly imageDirs?: readonly string[];
  readonly disableDefaultRegistryEndpoint?: boolean;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** Ends the supervision; containerd itself and its containers keep running. */
  readonly signal?: AbortSignal;
}

export interface Containerd {
  readonly cri: Cri;
  readonly socketPath: string;
  /** Calls back each time containerd answers again after it was gone. */
  onRestart(callback: () => void): void;
  /** Ends the supervision; containerd and its containers keep running. */
  stop(): void;
}

/** Where distributions and network add-ons put CNI plugins. */
const usualCniDirs = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];
const startTimeoutMs = 60_000;
const largestLogBytes = 50 * 1024 * 1024;
const overlayMagic = 0x794c7630;
const capSysResource = 24n;

/** Whether this process has a capability, from the text of /proc/self/status. */
export function hasCapability(status: string, bit: bigint): boolean {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  return (effective & (1n << bit)) !== 0n;
}

async function chooseSnapshotter(wanted: string | undefined, rootDir: string, logger: Logger): Promise<string> {
  if (wanted && wanted !== "overlayfs") return wanted;
  if ((await statfs(rootDir)).type !== overlayMagic) return "overlayfs";
  if (wanted)
    throw new ConfigurationError(
      `--snapshotter=overlayfs cannot work in "${rootDir}", which is on an overlay file system itself; ` +
        "mount a volume there, or use --snapshotter=native",
    );
  logger.warn({ path: rootDir }, "Data directory is on an overlay file system; using the slower native snapshotter");
  return "native";
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/** The end of a log file, for error messages. */
async function tailOf(path: string): Promise<string> {
  const text = (await readOptional(path)) ?? "";
  return text.trim().split("\n").slice(-3).join("\n");
}

/**
 * Starts containerd, or finds the one that runs already behind its socket, and returns when it answers. It is started
 * again whenever it goes away, until `stop` is called. Throws when it does not come up within a minute.
 */
export async function startContainerd(options: ContainerdOptions): Promise<Containerd> {
  const { dataDir, logger } = options;
  const clock = options.clock ?? ioClock;
  const stateDir = options.stateDir ?? "/run/k3s/containerd";
  const rootDir = join(dataDir, "containerd");
  const configDir = join(dataDir, "etc/containerd");
  const socketPath = join(stateDir, "containerd.sock");
  const configPath = join(configDir, "config.toml");
  const logPath = join(rootDir, "containerd.log");
  const certsDir = join(configDir, "certs.d");
  for (const path of [rootDir, stateDir, configDir, certsDir]) await mkdir(path, { recursive: true, mode: 0o711 });

  const registries = await readRegistries(options.registriesFile ?? "/etc/rancher/k3s/registries.yaml");
  await writeHosts(
    certsDir,
    renderHosts(registries, { disableDefaultEndpoint: options.disableDefaultRegistryEndpoint ?? false }),
  );
  const base = renderContainerdConfig({
    rootDir,
    stateDir,
    socketPath,
    certsDir,
    cniConfDir: options.cniConfDir,
    cniBinDirs: [options.cniBinDir, ...usualCniDirs].filter(
      (path, index, all) => all.indexOf(path) === index && existsSync(path),
    ),
    snapshotter: await chooseSnapshotter(options.snapshotter, rootDir, logger),
    pauseImage: options.pauseImage,
    restrictOomScoreAdj: !hasCapability(await readFile("/proc/self/status", "utf8"), capSysResource),
    defaultRuntime: options.defaultRuntime ?? "runc",
    disableApparmor: !existsSync("/sys/kernel/security/apparmor"),
    auths: registryAuths(registries),
  });
  const templatePath = join(configDir, "config-v3.toml.tmpl");
  const template = await readOptional(templatePath);
  if (template === undefined && (await readOptional(join(configDir, "config.toml.tmpl"))) !== undefined)
    logger.warn({ path: configDir }, "config.toml.tmpl is for containerd 1; rename it to config-v3.toml.tmpl");
  const text = template === undefined ? base : applyConfigTemplate(template, base, templatePath);
  await writeFile(configPath, text, { mode: 0o600 });

  await writeFile(join(dataDir, "etc/crictl.yaml"), `runtime-endpoint: unix://${socketPath}\n`, { mode: 0o644 });

  const cri = createCri(socketPath, { clock });
  const abort = new AbortController();
  const signal = options.signal ? AbortSignal.any([abort.signal, options.signal]) : abort.signal;
  const listeners = new Set<() => void>();

  const launch = async (): Promise<ChildProcess> => {
    const size = (await stat(logPath).catch(() => undefined))?.size ?? 0;
    if (size > largestLogBytes) await rename(logPath, `${logPath}.1`);
    logger.info(`Logging containerd to ${logPath}`);
    logger.info(`Running containerd -c ${configPath}`);
    await rm(socketPath, { force: true });
    const log = openSync(logPath, "a", 0o600);
    try {
      // A session of its own: signals to ours do not reach it, and it outlives us.
      const child = spawn("containerd", ["-c", configPath], { detached: true, stdio: ["ignore", log, log] });
      child.unref();
      return child;
    } finally {
      closeSync(log);
    }
  };

  /** Resolves once the CRI answers; throws when the process ended or the time is up. */
  const bringUp = async (): Promise<void> => {
    if (await answers(cri)) {
      logger.info({ socket: socketPath }, "Found containerd running");
    } else {
      const child = await launch();
      let ended: string | undefined;
      child.on("error", (error) => {
        const missing = (error as NodeJS.ErrnoException).code === "ENOENT";
        ended = missing ? "containerd is not in PATH" : error.message;
      });
      child.on("exit", (code, killedBy) => {
        ended = `containerd ended with ${killedBy ?? `exit code ${code}`}`;
      });
      const deadlineMs = clock.now() + startTimeoutMs;
      for (let delayMs = 10; !(await answers(cri)); delayMs = Math.min(200, delayMs * 1.5)) {
        if (ended) throw new Error(`${ended}; the end of ${logPath}:\n${await tailOf(logPath)}`);
        if (clock.now() > deadlineMs)
          throw new Error(`containerd does not answer after ${startTimeoutMs / 1000} s; see ${logPath}`);
        await clock.sleep(delayMs, signal);
      }
    }
    logger.info("Containerd is now running");
  };

  await bringUp();
  const importing = { statePath: join(rootDir, "imported-images.json"), socketPath, cri, logger };
  const imageDir = join(dataDir, "images");
  await mkdir(imageDir, { recursive: true });
  const imported = importImages({ ...importing, directories: [...(options.imageDirs ?? []), imageDir] });
  // From the start, so that nothing is missed; what comes later waits for its turn.
  const take = (files: readonly string[]) => imported.then(() => importFiles(files, importing));
  watchImages(imageDir, take, { clock, logger, signal });
  await imported;
  const supervise = async (): Promise<void> => {
    let failures = 0;
    while (!signal.aborted) {
      await connectionEnd(socketPath, signal);
      while (!signal.aborted) {
        try {
          logger.warn("Containerd is gone; it is started again");
          await bringUp();
          failures = 0;
          for (const listener of listeners) listener();
          break;
        } catch (error) {
          if (signal.aborted) return;
          logger.error({ error: (error as Error).message }, "Containerd could not be started");
          await clock.sleep(Math.min(30_000, 1000 * 2 ** failures++), signal);
        }
      }
    }
  };
  supervise().catch((error) => {
    if (!signal.aborted) logger.error({ error: (error as Error).message }, "Supervision of containerd ended");
  });

  return {
    cri,
    socketPath,
    onRestart: (callback) => void listeners.add(callback),
    stop: () => {
      abort.abort();
      cri.close();
    },
  };
}

async function answers(cri: Cri): Promise<boolean> {
  try {
    await cri.version();
    return true;
  } catch {
    return false;
  }
}

/** Holds an idle connection and resolves when it ends: the cheapest way to hear of the end of a process. */
function connectionEnd(socketPath: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const session = connect("http://localhost", { createConnection: () => createConnection({ path: socketPath }) });
    const end = () => {
      signal.removeEventListener("abort", end);
      session.destroy();
      resolve();
    };
    session.on("error", () => {});
    session.on("close", end);
    session.on("goaway", end);
    signal.addEventListener("abort", end, { once: true });
  });
}
