/**
 * Makes sure that a Docker Engine answers, with its client, buildx and compose. Where none is there and this is root on
 * Debian or Ubuntu, one is installed and started; elsewhere the error says what to install.
 *
 * `node tools/engine.ts` runs it by hand.
 */
import { spawn } from "node:child_process";
import { existsSync, openSync, readFileSync } from "node:fs";
import { ioClock } from "../src/machinery/clock.ts";
import { installEngine } from "./engine-packages.ts";
import { tryRun } from "./run.ts";

const engineLog = "/var/log/k3ts-dockerd.log";
const startTimeoutMs = 60_000;

export interface EngineOptions {
  /** Told in whole lines what is being done. */
  say(line: string): void;
}

/** The engine's version, or undefined when no engine answers at DOCKER_HOST or the default socket. */
export async function engineVersion(): Promise<string | undefined> {
  const { code, stdout } = await tryRun("docker", ["version", "--format", "{{.Server.Version}}"]);
  return code === 0 && stdout.trim() !== "" ? stdout.trim() : undefined;
}

/**
 * Gives back the version of a Docker Engine that answers and can build images, after installing and starting one where
 * that is possible. Throws an error that names the remedy where it is not.
 */
export async function ensureEngine({ say }: EngineOptions): Promise<string> {
  let version = await engineVersion();
  if (!version) {
    if (process.env["DOCKER_HOST"]) {
      throw new Error(
        `Start the Docker Engine that DOCKER_HOST names ("${process.env["DOCKER_HOST"]}"): it does not answer. Or unset DOCKER_HOST to use this machine's own.`,
      );
    }
    if (!(await hasProgram("dockerd"))) {
      say("No Docker Engine on this machine.");
      await installHere(say, ["engine", "buildx", "compose"]);
      version = await engineVersion();
    }
    version ??= await startEngine(say);
  }
  const missing: ("buildx" | "compose")[] = [];
  if ((await tryRun("docker", ["buildx", "version"])).code !== 0) missing.push("buildx");
  if ((await tryRun("docker", ["compose", "version"])).code !== 0) missing.push("compose");
  if (missing.length > 0) {
    say(`Docker's ${missing.join(" and ")} ${missing.length > 1 ? "plugins are" : "plugin is"} not on this machine.`);
    await installHere(say, missing);
  }
  return version;
}

async function installHere(say: (line: string) => void, parts: readonly ("engine" | "buildx" | "compose")[]) {
  const wanted = parts.includes("engine")
    ? "Docker Engine 23 or newer with its buildx and compose plugins"
    : `Docker's ${parts.join(" and ")} plugin`;
  const remedy = `Install ${wanted} (docs.docker.com/engine/install) and run this again.`;
  if (process.platform !== "linux")
    throw new Error(`${remedy} On ${process.platform}, Docker Desktop brings all of it.`);
  const release = readRelease();
  if (release.id !== "debian" && release.id !== "ubuntu") {
    throw new Error(`${remedy} Only on Debian and Ubuntu is it installed from here; this is "${release.id}".`);
  }
  if (process.getuid?.() !== 0) throw new Error(`${remedy} As root (sudo) it is installed from here.`);
  await installEngine({ say, release, parts });
}

/** Starts dockerd in a session of its own, so that it outlives this program, and waits until it answers. */
async function startEngine(say: (line: string) => void): Promise<string> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new Error('Start the Docker Engine ("sudo systemctl start docker", or Docker Desktop) and run this again.');
  }
  const startedAtMs = ioClock.now();
  if (existsSync("/run/systemd/system")) {
    say("Starting the Docker Engine: systemctl start docker");
    await tryRun("systemctl", ["start", "docker"]);
  } else {
    say(`Starting the Docker Engine: dockerd, in the background, its log in ${engineLog}`);
    const log = openSync(engineLog, "a");
    spawn("dockerd", [], { detached: true, stdio: ["ignore", log, log], cwd: "/" }).unref();
  }
  while (ioClock.now() - startedAtMs < startTimeoutMs) {
    const version = await engineVersion();
    if (version) {
      say(`Docker Engine ${version} answers after ${((ioClock.now() - startedAtMs) / 1000).toFixed(1)} s.`);
      return version;
    }
    await ioClock.sleep(250);
  }
  throw new Error(`Look into ${engineLog}: dockerd was started and does not answer after ${startTimeoutMs / 1000} s.`);
}

async function hasProgram(name: string): Promise<boolean> {
  return (await tryRun("sh", ["-c", `command -v ${name}`])).code === 0;
}

function readRelease(): { id: string; codename: string } {
  const fields = new Map<string, string>();
  if (existsSync("/etc/os-release")) {
    for (const line of readFileSync("/etc/os-release", "utf8").split("\n")) {
      const [, name, value] = /^([A-Z_]+)="?(.*?)"?$/.exec(line) ?? [];
      if (name !== undefined) fields.set(name, value ?? "");
    }
  }
  return { id: fields.get("ID") ?? "unknown", codename: fields.get("VERSION_CODENAME") ?? "" };
}

if (import.meta.main) {
  try {
    const version = await ensureEngine({ say: (line) => console.log(line) });
    console.log(`Docker Engine ${version} is there.`);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
