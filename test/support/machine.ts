import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { type RunOptions, type RunResult, run, tryRun } from "../../tools/run.ts";
import { eventually } from "./eventually.ts";

/**
 * A Debian machine with a Docker Engine and a network of its own, in a privileged container: what a test installs there
 * meets nothing of other tests, and its files, interfaces and firewall can be listed as a whole.
 */
export interface TestMachine extends AsyncDisposable {
  /** Of the machine and of the container that it is. */
  readonly name: string;
  /** Runs a shell script as root; throws when it fails. @param options.env what the script finds exported */
  sh(script: string, options?: ScriptOptions): Promise<string>;
  trySh(script: string, options?: ScriptOptions): Promise<RunResult>;
  /** Its IPv4 address, which other machines of its network reach. */
  address(): Promise<string>;
  /** As if it was switched off and on: processes, interfaces and rules are gone, files stay. */
  reboot(): Promise<void>;
  remove(): Promise<void>;
}

interface ScriptOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

const image = "k3ts/test-machine:1.0";
const context = join(import.meta.dirname, "../../images/test-machine");
/** Debian's packages of an engine are fetched when the image is built for the first time. */
const engineTimeoutMs = 120_000;

const left = new Set<string>();
process.once("exit", () => {
  if (left.size > 0) spawnSync("docker", ["rm", "-fv", ...left]);
});

/** Builds the image that machines start from; soon done when it was built before. */
export async function buildMachineImage(): Promise<void> {
  await run("docker", ["build", "-q", "-t", image, context], { env: { DOCKER_BUILDKIT: "1" } });
}

/**
 * Starts a machine and waits until its engine answers. Needs {@link buildMachineImage}.
 * @param options.shared a folder of this computer that the machine sees, read-only, as /share
 */
export async function startMachine(options: {
  readonly network: string;
  readonly shared: string;
}): Promise<TestMachine> {
  const name = `test-machine-${randomBytes(4).toString("hex")}`;
  const environment = (env: ScriptOptions["env"] = {}) =>
    Object.entries(env).flatMap(([key, value]) => ["-e", `${key}=${value}`]);
  const script = (text: string, { env, input }: ScriptOptions): [string[], RunOptions] => [
    ["exec", "-i", ...environment(env), name, "sh", "-c", text],
    { input: input ?? "" },
  ];
  const machine: TestMachine = {
    name,
    sh: (text, more = {}) => run("docker", ...script(text, more)),
    trySh: (text, more = {}) => tryRun("docker", ...script(text, more)),
    address: () => run("docker", ["inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name]),
    async reboot() {
      await run("docker", ["restart", "-t", "5", name]);
      await answers();
    },
    async remove() {
      await tryRun("docker", ["rm", "-fv", name]);
      left.delete(name);
    },
    [Symbol.asyncDispose]: () => machine.remove(),
  };
  const answers = () => eventually(() => machine.sh("docker version"), engineTimeoutMs);
  left.add(name);
  try {
    await run("docker", [
      ...["run", "-d", "--privileged", "--name", name, "--hostname", name, "--network", options.network],
      ...["-v", `${options.shared}:/share:ro`, image],
    ]);
    await answers();
  } catch (error) {
    await machine.remove();
    throw error;
  }
  return machine;
}
