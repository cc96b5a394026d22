import { access, constants, readFile } from "node:fs/promises";
import { ConfigurationError } from "../../machinery/configuration-error.ts";
import { cgroupControllers, cgroupVersion, cgroupWritable } from "./cgroup.ts";
import { CommandError, run } from "./command.ts";

/** Something that a node needs and does not find, and what to do about it. */
export interface PreflightProblem {
  readonly thing: string;
  readonly message: string;
  readonly remedy: string;
}

/** The node cannot work on this machine; the message lists every problem with its remedy. */
export class PreflightError extends ConfigurationError {
  override readonly name = "PreflightError";
  readonly problems: readonly PreflightProblem[];

  constructor(problems: readonly PreflightProblem[]) {
    super(problems.map(({ thing, message, remedy }) => `${thing}: ${message}; ${remedy}`).join("\n"));
    this.problems = problems;
  }
}

const neededCapabilities = { CAP_NET_ADMIN: 12, CAP_SYS_CHROOT: 18, CAP_SYS_ADMIN: 21 };
const neededControllers = ["cpu", "cpuset", "memory", "pids"];
const privileged = "start the container with `docker run --privileged`";

/** What this process may do, from the text of /proc/self/status: names of needed capabilities that it lacks. */
export function missingCapabilities(status: string): string[] {
  const effective = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? "0"}`);
  return Object.entries(neededCapabilities)
    .filter(([, bit]) => (effective & (1n << BigInt(bit))) === 0n)
    .map(([name]) => name);
}

/**
 * Finds out whether this process can run a node: privileges, cgroups, and what the kernel must have. Gives every
 * problem found, so that a user mends them in one go.
 */
export async function findProblems(): Promise<PreflightProblem[]> {
  const missing = missingCapabilities(await readFile("/proc/self/status", "utf8"));
  if (missing.length) {
    // Everything below would fail for the same reason and only repeat it.
    return [{ thing: "privileges", message: `this process lacks ${missing.join(", ")}`, remedy: privileged }];
  }
  return (await Promise.all([cgroupProblems(), kernelProblems(), programProblems()])).flat();
}

/** Throws {@link PreflightError} when anything needed is missing. */
export async function preflight(): Promise<void> {
  const problems = await findProblems();
  if (problems.length) throw new PreflightError(problems);
}

async function cgroupProblems(): Promise<PreflightProblem[]> {
  const version = await cgroupVersion();
  if (!version) {
    const message = 'no control groups are mounted at "/sys/fs/cgroup"';
    return [{ thing: "cgroups", message, remedy: `mount cgroup2 there, or ${privileged}` }];
  }
  if (!(await cgroupWritable(version))) {
    const message = `"/sys/fs/cgroup" (cgroup ${version}) is read-only for this process`;
    return [{ thing: "cgroups", message, remedy: privileged }];
  }
  const available = new Set(await cgroupControllers(version));
  return neededControllers
    .filter((controller) => !available.has(controller))
    .map((controller) => ({
      thing: `cgroup controller "${controller}"`,
      message: "the kernel does not offer it",
      remedy: `enable it on the machine (kernel parameter cgroup_enable=${controller})`,
    }));
}

async function kernelProblems(): Promise<PreflightProblem[]> {
  const problems: PreflightProblem[] = [];
  const fileSystems = await readFile("/proc/filesystems", "utf8");
  if (!/\boverlay$/m.test(fileSystems) && !(await loadModule("overlay"))) {
    const remedy = "run `modprobe overlay` on the machine, or choose --snapshotter=native";
    problems.push({ thing: "overlayfs", message: "the kernel does not offer it", remedy });
  }
  try {
    await run("nft", ["list", "tables"]);
  } catch (error) {
    const message = error instanceof CommandError ? error.stderr || error.message : String(error);
    problems.push({ thing: "nftables", message, remedy: "run `modprobe nf_tables` on the machine" });
  }
  return problems;
}

/** Loading needs the machine's modules under /lib/modules, which few containers have; failing is an answer. */
async function loadModule(name: string): Promise<boolean> {
  try {
    await run("modprobe", ["--", name]);
    return true;
  } catch {
    return false;
  }
}

async function programProblems(): Promise<PreflightProblem[]> {
  const path = (process.env["PATH"] ?? "").split(":").filter((folder) => folder !== "");
  const found = async (program: string) => {
    for (const folder of path) {
      try {
        await access(`${folder}/${program}`, constants.X_OK);
        return true;
      } catch {}
    }
    return false;
  };
  const problems: PreflightProblem[] = [];
  for (const [program, debianPackage] of Object.entries(neededPrograms)) {
    if (await found(program)) continue;
    const remedy = `install it (Debian package ${debianPackage})`;
    problems.push({ thing: `program "${program}"`, message: "not found in PATH", remedy });
  }
  return problems;
}

const neededPrograms = { ip: "iproute2", bridge: "iproute2", mount: "mount", umount: "mount", conntrack: "conntrack" };
