import { readdirSync, readFileSync } from "node:fs";

/** An embedded etcd that runs on this machine, as a server started it. */
export interface RunningEtcd {
  readonly pid: number;
  readonly configFile: string;
}

/** All embedded etcds of this machine's servers. */
export function runningEtcds(): RunningEtcd[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      const [program, option, configFile] = argumentsOf(pid);
      return program === "etcd" && option === "--config-file" && configFile ? [{ pid: Number(pid), configFile }] : [];
    });
}

function argumentsOf(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    // It has ended meanwhile.
    return [];
  }
}
