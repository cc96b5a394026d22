import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { run } from "../../tools/run.ts";

/**
 * Puts etcd's programs, out of the image that the tests have of it, first in this process' PATH.
 * @returns removes them
 */
export async function provideEtcd(): Promise<() => void> {
  const directory = mkdtempSync(join(tmpdir(), "k3ts-etcd-"));
  const path = process.env["PATH"] ?? "";
  const container = (await run("docker", ["create", "k3ts/test-etcd:1.0"])).trim();
  try {
    for (const program of ["etcd", "etcdutl"]) {
      await run("docker", ["cp", "-q", `${container}:/usr/bin/${program}`, directory]);
      chmodSync(join(directory, program), 0o755);
    }
  } finally {
    await run("docker", ["rm", container]);
  }
  process.env["PATH"] = directory + delimiter + path;
  return () => {
    process.env["PATH"] = path;
    rmSync(directory, { recursive: true, force: true });
  };
}

/** A part of the loopback network that no other test uses at the same time: "127.83.14" before the last number. */
export function loopbackNetwork(): string {
  const random = () => 1 + Math.floor(Math.random() * 250);
  return `127.${random()}.${random()}`;
}
